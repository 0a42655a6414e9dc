from types import ModuleType

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from . import components

MICROS = st.integers(-(2**61), 2**61)


@pytest.fixture(scope="module", params=components.KINDS)
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """The twin, then the compiled kernel."""
    return components.kernel("marking", request.param)


@given(st.lists(MICROS, max_size=30), MICROS, st.integers(0, 2**60), st.integers(0, 30))
def test_a_mark_is_the_newest_time_before_the_row_less_the_disorder(
    twin: ModuleType, times: list[int], before: int, disorder: int, skipped: int
) -> None:
    column = pl.Series(times, dtype=pl.Int64)[skipped:]
    marks, newest = twin.watermarks(column, before, disorder)
    seen = times[skipped:]
    assert [max([before, *seen[:n]]) - disorder for n in range(len(seen))] == marks.to_pylist()
    assert max([before, *seen]) == newest


def test_times_may_be_datetimes_of_any_zone(twin: ModuleType) -> None:
    for dtype in (pl.Datetime("us"), pl.Datetime("us", "UTC"), pl.Datetime("us", "Europe/Rome")):
        marks, newest = twin.watermarks(pl.Series([5, 9, 7]).cast(dtype), 6, 1)
        assert ([5, 5, 8], 9) == (marks.to_pylist(), newest)


def test_what_cannot_be_read_is_refused(twin: ModuleType) -> None:
    with pytest.raises(TypeError, match="Float64"):
        twin.watermarks(pl.Series([1.5]), 0, 0)
    with pytest.raises(TypeError, match="ms"):
        twin.watermarks(pl.Series([1]).cast(pl.Datetime("ms")), 0, 0)
    with pytest.raises(ValueError, match="1 nulls"):
        twin.watermarks(pl.Series([1, None]), 0, 0)
    with pytest.raises(ValueError, match="rechunk"):
        twin.watermarks(pl.Series([1]).append(pl.Series([2])), 0, 0)
