"""Row functions that chance writes, on rows that chance draws: columns give what rows give."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.vectorized.nodes import Refused

from .rowgrammar import Grammar, Row, function_of, rows_of
from .twoways import both_ways, spec_of

_HEIGHTS = (1, 2, 3, 8, 30)


def compared(seed: int) -> tuple[int, int]:
    """Compare the two ways for one function; return how many batches went by columns, by rows."""
    random = Random(seed)
    text, output = Grammar(random).function()
    function = function_of(text)
    try:
        spec = spec_of(function, Row, output, optional=random.random() < 0.8)
    except Refused:
        return 0, 0
    ways = [0, 0]
    for wild in (0.0, 0.1):
        height, nulls = random.choice(_HEIGHTS), random.choice([0.0, 0.0, 0.3])
        rows = rows_of(random, height, wild, nulls)
        columns, loop = both_ways(spec, rows)
        assert loop.result == columns.result, text
        ways[0 if columns.by_columns else 1] += 1
    return ways[0], ways[1]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_columns_give_what_rows_give(seed: int) -> None:
    compared(seed)


def test_most_functions_run_on_columns() -> None:
    ways = [compared(seed) for seed in range(100)]
    assert sum(by_columns for by_columns, _ in ways) > 100
    assert sum(by_rows for _, by_rows in ways) > 20
