"""What the fast way through the boundary takes for certain: never more than pydantic would take."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any

import polars as pl
import pytest

import headwater as hw
from headwater.flows.boundary import boundary_of
from headwater.flows.certain import MICROS, certain_times, certain_values
from headwater.flows.fieldtypes import field_types
from headwater.flows.validation import LONGEST

HOUR = 3_600_000_000
LONGEST_US = LONGEST // timedelta(microseconds=1)
ENDS = [0, MICROS[0], MICROS[0] + HOUR, MICROS[1] - HOUR, MICROS[1], MICROS[0] - 1, MICROS[1] + 1]


class Row(hw.Event):
    moment: time
    span: timedelta
    at: datetime
    rome: Annotated[datetime, hw.Zone("Europe/Rome")]
    count: Annotated[datetime, hw.Unit("ms"), hw.Zone("America/New_York")]
    share: Annotated[Decimal, hw.Field(max_digits=2, decimal_places=2)]


def sure(name: str, column: pl.Series) -> list[Any]:
    """Return the values that are certain, as their columns keep them."""
    values, found = certain_values(field_types(Row)[name], column)
    kept = values.filter(found)
    return (kept.to_physical() if kept.dtype.is_temporal() else kept).to_list()


def test_times_have_microseconds() -> None:
    found = pl.Series([0, 1, 999, 1000, 86_399_999_999_999]).cast(pl.Time)
    assert [0, 1000] == sure("moment", found)


def test_durations_are_as_long_as_a_field_takes() -> None:
    found = pl.Series([0, LONGEST_US, -LONGEST_US, LONGEST_US + 1, -LONGEST_US - 1, -(1 << 63)])
    assert [0, LONGEST_US, -LONGEST_US] == sure("span", found.cast(pl.Duration("us")))


def test_the_ends_of_the_years_are_certain_in_utc_alone() -> None:
    utc = pl.Series(ENDS).cast(pl.Datetime("us", "UTC"))
    assert ENDS[:5] == sure("at", utc)
    assert [0] == sure("rome", utc)
    assert [0] == sure("at", utc.dt.convert_time_zone("Asia/Tokyo"))
    assert [0] == sure("count", pl.Series(ENDS) // 1000)


@pytest.mark.parametrize("unit", ["us", "ms"])
def test_what_is_certain_can_be_told_by_python(unit: Any) -> None:
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        dtype = pl.Datetime(unit, zone)
        for micros in certain_times(dtype):
            value = pl.Series([micros]).cast(pl.Datetime("us", "UTC")).cast(dtype).item()
            away = abs(value - datetime.fromtimestamp(0, UTC) - timedelta(microseconds=micros))
            assert away < timedelta(milliseconds=1)


def test_a_share_without_digits_before_the_point_is_for_pydantic() -> None:
    assert [] == sure("share", pl.Series(["0", "0.5", "-0", "1"]))


def test_a_row_is_the_same_whatever_stands_beside_it() -> None:
    class Two(hw.Event):
        share: Annotated[Decimal, hw.Field(max_digits=2, decimal_places=2)]
        n: int

    texts = pl.DataFrame({"share": ["0", "0.5", "0"], "n": ["1", "1", " 1"]})
    found = boundary_of(Two).columns(texts)
    assert [Decimal("0.5")] == found.rows["share"].to_list()
    assert [0, 2] == [one.index for one in found.bad]
