"""Incremental aggregates: both kernels against polars and against plain loops."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable
from itertools import pairwise
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SLOTS = 5
INTS = st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9)
FLOATS = st.floats() | st.integers(-3, 3).map(float)
Rows = tuple[list[int], list[Any]]


def rows_of(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Rows]:
    row = st.tuples(st.integers(0, SLOTS - 1), st.none() | values)
    return st.lists(row, max_size=30).map(
        lambda rows: ([slot for slot, _ in rows], [value for _, value in rows])
    )


def slots_of(slots: list[int]) -> pa.Array:
    return pa.array(slots, pa.int64())


def bits(state: array[Any]) -> bytes:
    return state.tobytes()


def by_slot(rows: Rows, kind: Any, expression: pl.Expr) -> dict[int, Any]:
    """What polars' group_by finds for each slot."""
    frame = pl.DataFrame({"slot": rows[0], "v": rows[1]}, schema={"slot": pl.Int64, "v": kind})
    return dict(frame.group_by("slot").agg(expression).rows())


def same(expected: float, actual: float) -> bool:
    return expected == actual or (expected != expected and actual != actual)


@settings(max_examples=60, deadline=None)
@given(rows=rows_of(INTS))
def test_sum_of_ints_wraps_as_polars_does(folding: ModuleType, rows: Rows) -> None:
    sums = array("q", [0] * SLOTS)
    running = array("q", [0] * len(rows[0]))
    folding.fold_sum(slots_of(rows[0]), pa.array(rows[1], pa.int64()), sums, running)
    expected = by_slot(rows, pl.Int64, pl.col("v").sum())
    assert [expected.get(slot, 0) for slot in range(SLOTS)] == sums.tolist()
    frame = pl.DataFrame({"s": rows[0], "v": rows[1]}, schema={"s": pl.Int64, "v": pl.Int64})
    filled = pl.col("v").fill_null(0).cum_sum().over("s")
    assert frame.select(filled).to_series().to_list() == running.tolist()


@settings(max_examples=60, deadline=None)
@given(rows=rows_of(FLOATS))
def test_sum_of_floats_adds_one_at_a_time(folding: ModuleType, rows: Rows) -> None:
    sums = array("d", [0.0] * SLOTS)
    running = array("d", [0.0] * len(rows[0]))
    folding.fold_sum(slots_of(rows[0]), pa.array(rows[1], pa.float64()), sums, running)
    expected = [0.0] * SLOTS
    steps = []
    for slot, value in zip(*rows, strict=True):
        expected[slot] = expected[slot] if value is None else expected[slot] + value
        steps.append(expected[slot])
    assert all(map(same, expected, sums))
    assert all(map(same, steps, running))
    assert list(map(math.copysign, [1.0] * SLOTS, expected)) == (
        list(map(math.copysign, [1.0] * SLOTS, sums))
    ) or any(math.isnan(value) for value in expected)


@settings(max_examples=60, deadline=None)
@given(rows=rows_of(st.text(max_size=2)))
def test_count(folding: ModuleType, rows: Rows) -> None:
    every, present = array("q", [0] * SLOTS), array("q", [0] * SLOTS)
    running = array("q", [0] * len(rows[0]))
    folding.fold_count(slots_of(rows[0]), None, every)
    folding.fold_count(slots_of(rows[0]), pa.array(rows[1], pa.string()), present, running)
    lengths = by_slot(rows, pl.String, pl.len())
    counts = by_slot(rows, pl.String, pl.col("v").count())
    assert [lengths.get(slot, 0) for slot in range(SLOTS)] == every.tolist()
    assert [counts.get(slot, 0) for slot in range(SLOTS)] == present.tolist()
    seen = [
        sum(s == slot and v is not None for s, v in list(zip(*rows, strict=True))[: row + 1])
        for row, slot in enumerate(rows[0])
    ]
    assert seen == running.tolist()


@pytest.mark.parametrize(
    "values",
    [
        pa.array([None, [1], None]),
        pa.array(["a", None, "b"]).dictionary_encode(),
        pa.array([True, None, None]),
        pa.nulls(3),
        pa.array([{"a": 1}, None, None]),
    ],
    ids=lambda values: str(values.type),
)
def test_count_takes_any_type(folding: ModuleType, values: pa.Array) -> None:
    counts = array("q", [0, 0])
    folding.fold_count(slots_of([1, 1, 1]), values, counts)
    assert [0, len(values) - values.null_count] == counts.tolist()
    folding.fold_count(slots_of([0, 0]), values[1:], counts)
    assert len(values[1:]) - values[1:].null_count == counts[0]


@settings(max_examples=60, deadline=None)
@given(rows=rows_of(INTS))
def test_bounds_of_ints(folding: ModuleType, rows: Rows) -> None:
    slots, values = slots_of(rows[0]), pa.array(rows[1], pa.int64())
    for fold, expression in (
        (folding.fold_min, pl.col("v").min()),
        (folding.fold_max, pl.col("v").max()),
    ):
        best, seen = array("q", [0] * SLOTS), array("b", [0] * SLOTS)
        fold(slots, values, best, seen)
        found = by_slot(rows, pl.Int64, expression)
        expected = [found.get(slot) for slot in range(SLOTS)]
        assert expected == [b if s else None for b, s in zip(best, seen, strict=True)]


@settings(max_examples=60, deadline=None)
@given(rows=rows_of(FLOATS | st.just(math.nan)))
def test_bounds_of_floats_ignore_nan_as_polars_does(folding: ModuleType, rows: Rows) -> None:
    slots, values = slots_of(rows[0]), pa.array(rows[1], pa.float64())
    for fold, expression in (
        (folding.fold_min, pl.col("v").min()),
        (folding.fold_max, pl.col("v").max()),
    ):
        best, seen = array("d", [0.0] * SLOTS), array("b", [0] * SLOTS)
        fold(slots, values, best, seen)
        found = by_slot(rows, pl.Float64, expression)
        for slot in range(SLOTS):
            expected = found.get(slot)
            assert (expected is not None) == bool(seen[slot])
            assert expected is None or same(expected, best[slot])


def test_running_bounds(folding: ModuleType) -> None:
    slots = slots_of([0, 0, 1, 0, 0, 1])
    values = pa.array([None, math.nan, 4.0, 2.0, math.nan, 3.0])
    least, seen, running = array("d", [-7.0] * 2), array("b", [0, 0]), array("d", [0.0] * 6)
    folding.fold_min(slots, values, least, seen, running)
    assert [-7.0, 4.0, 2.0, 2.0, 3.0] == [running[row] for row in (0, 2, 3, 4, 5)]
    assert math.isnan(running[1])
    greatest, seen = array("d", [-7.0] * 2), array("b", [0, 0])
    folding.fold_max(slots, values, greatest, seen, running)
    assert [-7.0, 4.0, 2.0, 2.0, 4.0] == [running[row] for row in (0, 2, 3, 4, 5)]


def test_the_last_of_equal_zeros_stays(folding: ModuleType) -> None:
    for fold in (folding.fold_min, folding.fold_max):
        best, seen = array("d", [0.0] * 2), array("b", [0] * 2)
        fold(slots_of([0, 0, 1, 1]), pa.array([-0.0, 0.0, 0.0, -0.0]), best, seen)
        assert ["0.0", "-0.0"] == [str(value) for value in best]


@settings(max_examples=60, deadline=None)
@given(rows=rows_of(st.floats(-1e6, 1e6)), as_ints=st.booleans())
def test_moments(folding: ModuleType, rows: Rows, as_ints: bool) -> None:
    slots, values = rows
    if as_ints:
        values = [value if value is None else int(value) for value in values]
    kind = pa.int64() if as_ints else pa.float64()
    counts = array("q", [0] * SLOTS)
    means, squares = array("d", [0.0] * SLOTS), array("d", [0.0] * SLOTS)
    running = array("d", slots), array("d", slots)
    folding.fold_moments(slots_of(slots), pa.array(values, kind), counts, means, squares, running)
    expected = [(0, 0.0, 0.0)] * SLOTS
    steps = []
    for slot, value in zip(slots, values, strict=True):
        if value is not None:
            n, mean, square = expected[slot]
            moved = mean + (value - mean) / (n + 1)
            expected[slot] = n + 1, moved, square + (value - mean) * (value - moved)
        steps.append(expected[slot][1:])
    assert expected == list(zip(counts, means, squares, strict=True))
    assert steps == list(zip(*running, strict=True))
    variances = by_slot((slots, values), pl.Float64, pl.col("v").var())
    for slot, variance in variances.items():
        if variance is not None:
            assert pytest.approx(variance, rel=1e-9, abs=1e-3) == squares[slot] / (counts[slot] - 1)


def folds(folding: ModuleType) -> dict[str, Callable[[pa.Array, pa.Array], list[array[Any]]]]:
    """Every fold of floats, as a function that goes on from the state it left."""
    states: dict[str, list[array[Any]]] = {
        "sum": [array("d", [0.0] * SLOTS)],
        "count": [array("q", [0] * SLOTS)],
        "min": [array("d", [0.0] * SLOTS), array("b", [0] * SLOTS)],
        "max": [array("d", [0.0] * SLOTS), array("b", [0] * SLOTS)],
        "moments": [array("q", [0] * SLOTS), array("d", [0.0] * SLOTS), array("d", [0.0] * SLOTS)],
    }

    def bound(name: str, state: list[array[Any]]) -> Callable[[pa.Array, pa.Array], Any]:
        def fold(slots: pa.Array, values: pa.Array) -> list[array[Any]]:
            getattr(folding, f"fold_{name}")(slots, values, *state)
            return state

        return fold

    return {name: bound(name, state) for name, state in states.items()}


@settings(max_examples=40, deadline=None)
@given(rows=rows_of(FLOATS), data=st.data())
def test_how_rows_are_cut_changes_no_bit(
    folding: ModuleType, rows: Rows, data: st.DataObject
) -> None:
    slots, values = slots_of(rows[0]), pa.array(rows[1], pa.float64())
    cuts = data.draw(st.lists(st.integers(0, len(slots)), max_size=4).map(sorted))
    edges = [0, *cuts, len(slots)]
    whole, pieces = folds(folding), folds(folding)
    for name, fold in whole.items():
        expected = [bits(state) for state in fold(slots, values)]
        found: list[array[Any]] = []
        for begin, end in pairwise(edges):
            found = pieces[name](slots[begin:end], values[begin:end])
        assert expected == [bits(state) for state in found], name


@settings(max_examples=60, deadline=None)
@given(rows=rows_of(FLOATS))
def test_twins_agree_in_every_bit(folding: ModuleType, rows: Rows) -> None:
    from headwater.ext import folding as twin

    slots, values = slots_of(rows[0]), pa.array(rows[1], pa.float64())
    twins = folds(twin)
    for name, fold in folds(folding).items():
        expected = [plain(state) for state in twins[name](slots, values)]
        assert expected == [plain(state) for state in fold(slots, values)], name


def plain(state: array[Any]) -> list[bytes]:
    """The elements as bytes, every NaN alike: its payload is the processor's choice."""
    return [b"nan" if item != item else struct.pack(f"={state.typecode}", item) for item in state]


def test_nothing_to_fold(folding: ModuleType) -> None:
    none = slots_of([])
    empty = {code: array(code) for code in "qdb"}
    folding.fold_count(none, None, empty["q"], empty["q"])
    folding.fold_count(none, pa.array([], pa.string()), empty["q"])
    folding.fold_moments(none, pa.array([], pa.int64()), empty["q"], empty["d"], empty["d"])
    for kind, code in ((pa.int64(), "q"), (pa.float64(), "d")):
        values = pa.array([], kind)
        folding.fold_sum(none, values, empty[code], empty[code])
        folding.fold_min(none, values, empty[code], empty["b"])
        folding.fold_max(none, values, empty[code], empty["b"])


@pytest.mark.parametrize("slot", [-1, 3, 2**62, -(2**63)])
def test_a_slot_outside_changes_nothing(folding: ModuleType, slot: int) -> None:
    slots, values = slots_of([0, slot, 1]), pa.array([1.0, None, 2.0])
    counts, sums, seen = array("q", [0] * 3), array("d", [0.0] * 3), array("b", [0] * 3)
    squares, running = array("d", [0.0] * 3), array("d", [9.0] * 3)
    with pytest.raises(IndexError, match=f"slot {slot} is outside counts, which has 3"):
        folding.fold_count(slots, None, counts)
    with pytest.raises(IndexError, match=f"slot {slot} is outside sums"):
        folding.fold_sum(slots, values, sums, running)
    for fold in (folding.fold_min, folding.fold_max):
        with pytest.raises(IndexError, match=f"slot {slot} is outside best"):
            fold(slots, values, sums, seen, running)
    with pytest.raises(IndexError, match=f"slot {slot} is outside"):
        folding.fold_moments(slots, values, counts, sums, squares, (running, running))
    assert [[0, 0, 0]] * 4 == [state.tolist() for state in (counts, sums, seen, squares)]
    assert [9.0] * 3 == running.tolist()


def test_every_state_is_long_enough(folding: ModuleType) -> None:
    slots, values = slots_of([2]), pa.array([1.0])
    long, short = array("d", [0.0] * 3), array("d", [0.0] * 2)
    with pytest.raises(IndexError, match="slot 2 is outside seen, which has 2 slots"):
        folding.fold_min(slots, values, long, array("b", [0] * 2))
    with pytest.raises(IndexError, match="slot 2 is outside means"):
        folding.fold_moments(slots, values, array("q", [0] * 3), short, long)
    with pytest.raises(IndexError, match="slot 2 is outside squares"):
        folding.fold_moments(slots, values, array("q", [0] * 3), long, short)
    assert [0.0] * 3 == long.tolist()


def test_lengths_that_differ(folding: ModuleType) -> None:
    sums = array("d", [0.0])
    for values in (pa.array([1.0]), pa.array([1.0] * 3)):
        with pytest.raises(ValueError, match="there are 2 slots"):
            folding.fold_sum(slots_of([0, 0]), values, sums)
        with pytest.raises(ValueError, match="there are 2 slots"):
            folding.fold_count(slots_of([0, 0]), values, array("q", [0]))
    for rows in (1, 3):
        with pytest.raises(ValueError, match=f"running holds {rows} rows, slots 2"):
            folding.fold_sum(slots_of([0, 0]), pa.array([1.0, 2.0]), sums, array("d", [0] * rows))
    assert [0.0] == sums.tolist()


def test_wrong_kinds(folding: ModuleType) -> None:
    one, ints, floats = slots_of([0]), array("q", [0]), array("d", [0.0])
    with pytest.raises(TypeError, match="slots are int64, not int32"):
        folding.fold_count(pa.array([0], pa.int32()), None, ints)
    with pytest.raises(TypeError, match=r"slots is a pyarrow\.Array, not list"):
        folding.fold_count([0], None, ints)
    with pytest.raises(ValueError, match="slots hold 1 nulls"):
        folding.fold_count(pa.array([None], pa.int64()), None, ints)
    with pytest.raises(TypeError, match="values are int64 or float64, not string"):
        folding.fold_sum(one, pa.array(["a"]), floats)
    with pytest.raises(TypeError, match="values is a pyarrow.Array or None, not list"):
        folding.fold_count(one, [1], ints)
    with pytest.raises(TypeError, match="values is a pyarrow.Array, not NoneType"):
        folding.fold_sum(one, None, ints)
    with pytest.raises(TypeError, match=r"sums must be an array.array\('d'\), not 'q'"):
        folding.fold_sum(one, pa.array([1.0]), ints)
    with pytest.raises(TypeError, match=r"sums must be an array.array\('q'\), not 'd'"):
        folding.fold_sum(one, pa.array([1]), floats)
    with pytest.raises(TypeError, match=r"counts is an array.array\('q'\), not list"):
        folding.fold_count(one, None, [0])
    with pytest.raises(TypeError, match=r"running must be an array.array\('q'\), not 'd'"):
        folding.fold_count(one, None, ints, floats)
    for wrong in (floats, (floats, None), (floats,)):
        with pytest.raises(TypeError, match="running is a pair"):
            folding.fold_moments(one, pa.array([1]), ints, floats, floats, wrong)
    assert ([0], [0.0]) == (ints.tolist(), floats.tolist())


def test_truncated_at_every_byte(folding: ModuleType) -> None:
    whole = pa.array([1.0, None, 3.0])
    validity, data = whole.buffers()
    for size in range(24):
        cut = pa.py_buffer(data.to_pybytes()[:size])
        with pytest.raises(ValueError, match="[Bb]uffer"):
            folding.fold_sum(
                slots_of([0, 0, 0]),
                pa.Array.from_buffers(pa.float64(), 3, [validity, cut]),
                array("d", [0.0]),
            )
