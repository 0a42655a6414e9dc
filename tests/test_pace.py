"""Batches grow under load and stay within the latency allowed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.flows.engine.pace import Pace


@given(st.integers(1, 100_000), st.integers(1, 2_000), st.integers(1_000, 1_000_000))
def test_a_steady_cost_settles_below_the_latency(most: int, cost: int, latency: int) -> None:
    pace = Pace(most, latency)
    for _ in range(60):
        rows = pace.limit
        assert 1 <= rows <= most
        pace.took(rows, rows * cost)
    # As large as fits, within a factor of two, unless the least batch is too long already.
    fits = latency // cost
    assert min(most, 16) <= pace.limit or pace.limit == most
    assert pace.limit <= max(fits, 16)
    assert pace.limit >= min(most, max(fits // 4, 1))


def test_batches_that_are_not_full_do_not_make_the_next_larger() -> None:
    pace = Pace(65_536, 50_000)
    before = pace.limit
    for _ in range(10):
        pace.took(3, 20)
    assert before == pace.limit
