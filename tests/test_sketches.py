"""Sketches, held against the exact answer; any order of adding and merging gives the same bytes."""

from __future__ import annotations

import math
import pickle
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.flows.sketches import DistinctSketch, QuantileSketch, canonical_bytes

NUMBERS = st.floats(1e-9, 1e12) | st.floats(-1e12, -1e-9) | st.just(0.0)
QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0)


def _quantiles(values: list[float]) -> QuantileSketch:
    sketch = QuantileSketch()
    for value in values:
        sketch.add(value)
    return sketch


def _distinct(values: list[object]) -> DistinctSketch:
    sketch = DistinctSketch()
    for value in values:
        sketch.add(value)
    return sketch


@settings(max_examples=100, deadline=None)
@given(values=st.lists(NUMBERS, min_size=1, max_size=60))
def test_quantiles_are_within_one_percent(values: list[float]) -> None:
    sketch = _quantiles(values)
    ordered = sorted(values)
    for q in QUANTILES:
        exact = ordered[math.floor(q * (len(values) - 1))]
        found = sketch.quantile(q)
        assert found is not None
        assert abs(exact - found) <= 0.01 * abs(exact)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40),
    cut=st.integers(0, 40),
    seed=st.integers(0, 99),
)
def test_order_and_cuts_change_no_byte(values: list[float], cut: int, seed: int) -> None:
    whole = _quantiles(values)
    shuffled = random.Random(seed).sample(values, len(values))
    merged = _quantiles(shuffled[:cut])
    merged.merge(_quantiles(shuffled[cut:]))
    assert whole.to_bytes() == merged.to_bytes()


def test_nothing_nan_and_infinities() -> None:
    assert QuantileSketch().quantile(0.5) is None
    assert _quantiles([math.nan]).quantile(0.5) is None
    sketch = _quantiles([-math.inf, 1.0, math.inf])
    assert [-math.inf, 1.0, math.inf] == [sketch.quantile(q) for q in (0, 0.5, 1)]
    with pytest.raises(ValueError, match="between 0 and 1"):
        sketch.quantile(1.1)


def test_the_extremes_of_a_float_are_bounded() -> None:
    sketch = _quantiles([math.ldexp(1.0, power) for power in range(-1070, 1023)])
    assert len(sketch.to_bytes()) < 4096 * 12 + 100
    assert len(sketch) == 2093
    assert sketch.quantile(1) == math.ldexp(1.0, 1022)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.integers() | st.text() | st.none(), max_size=50), cut=st.integers(0, 50))
def test_few_distinct_values_are_counted_exactly(values: list[object], cut: int) -> None:
    merged = _distinct(values[:cut])
    merged.merge(_distinct(values[cut:]))
    assert len(set(values)) == merged.estimate()
    assert _distinct(list(reversed(values))).to_bytes() == merged.to_bytes()


@pytest.mark.parametrize("distinct", [1024, 1025, 3000, 20_000, 60_000])
def test_many_distinct_values_within_four_standard_errors(distinct: int) -> None:
    found = _distinct(list(range(distinct))).estimate()
    assert abs(found - distinct) <= 4 * 0.0081 * distinct


def test_dense_merge_is_the_whole_in_any_order() -> None:
    left, right = list(range(3000)), list(range(2000, 6000))
    whole = _distinct([*left, *right])
    for first, second in ((left, right), (right, left), (left, [1, 2]), ([1, 2], left)):
        merged = _distinct(list(first))
        merged.merge(_distinct(list(second)))
        assert _distinct([*first, *second]).to_bytes() == merged.to_bytes()
    assert len(whole.to_bytes()) == 1 + (1 << 14)


def test_the_hash_is_the_same_on_every_machine() -> None:
    assert "01bd8ac0e6e7681d63" == _distinct(["edge"]).to_bytes().hex()
    assert canonical_bytes("a") == b"sa"
    assert canonical_bytes(0.0) == canonical_bytes(-0.0)
    assert canonical_bytes(math.nan) == canonical_bytes(-math.nan)
    assert canonical_bytes(Decimal("1.50")) == canonical_bytes(Decimal("1.5"))


def test_values_of_a_column_have_their_own_bytes() -> None:
    at = datetime(2020, 1, 1, tzinfo=UTC)
    values: list[object] = [
        None, True, 1, 1.0, "1", b"1", [1], ["1"], {"a": 1}, at, at + timedelta(microseconds=1),
        date(2020, 1, 1), timedelta(1), Decimal("1"), ["1", "2"], ["12"],
    ]  # fmt: skip
    assert len(values) == len({canonical_bytes(value) for value in values})
    with pytest.raises(TypeError, match="cannot be counted"):
        canonical_bytes(object())


@pytest.mark.parametrize(
    "sketch",
    [
        QuantileSketch(), _quantiles([1.0, -2.0, 0.0, math.inf]), DistinctSketch(),
        _distinct([1, 2]), _distinct(list(range(2000))),
    ],
    ids=["q0", "q4", "d0", "d2", "dense"],
)  # fmt: skip
def test_bytes_round_trip_and_truncation(sketch: QuantileSketch | DistinctSketch) -> None:
    data = sketch.to_bytes()
    assert sketch == type(sketch).from_bytes(data)
    assert sketch == pickle.loads(pickle.dumps(sketch))
    with pytest.raises(ValueError, match="sketch"):
        type(sketch).from_bytes(b"\x09" + data)
    for end in range(min(len(data), 64)):
        if isinstance(sketch, DistinctSketch) and end % 8 == 1 and data[0] == 1:
            continue
        with pytest.raises(ValueError, match="sketch"):
            type(sketch).from_bytes(data[:end])
