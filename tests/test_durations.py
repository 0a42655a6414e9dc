"""Durations as text."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.flows.durations import microseconds, spelled


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("500us", timedelta(microseconds=500)),
        ("250ms", timedelta(milliseconds=250)),
        ("10s", timedelta(seconds=10)),
        ("1m", timedelta(minutes=1)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("1w", timedelta(weeks=1)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1m500ms", timedelta(minutes=1, milliseconds=500)),
        (" 0s ", timedelta(0)),
    ],
)
def test_text(text: str, expected: timedelta) -> None:
    assert expected == timedelta(microseconds=microseconds(text))


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10**8)))
def test_timedelta(duration: timedelta) -> None:
    assert duration == timedelta(microseconds=microseconds(duration))


@pytest.mark.parametrize("bad", ["", "10", "s", "1.5s", "-1s", "1 h", "1y", "1M", "１s", 10, None])
def test_error_lists_the_units(bad: object) -> None:
    with pytest.raises(ValueError, match=r"us, ms, s, m \(minutes\), h, d"):
        microseconds(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [timedelta(seconds=-1), "99999999999999w"])
def test_out_of_range(bad: str | timedelta) -> None:
    with pytest.raises(ValueError, match="out of range"):
        microseconds(bad)


@given(st.integers(0, 2**62))
def test_what_is_spelled_is_read_again(duration: int) -> None:
    assert duration == microseconds(spelled(duration))


def test_durations_are_spelled_as_people_do() -> None:
    assert ["10s", "1h30m", "250ms", "2d", "0s"] == [
        spelled(d) for d in (10_000_000, 5_400_000_000, 250_000, 172_800_000_000, 0)
    ]
