"""Folds: the state of one part of an aggregate, over all slots.

A fold takes rows strictly in their order. The engine's kernels fold numbers into flat arrays;
first and last reduce each batch to one row a slot; the rest are folds in Python.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol

import polars as pl
import pyarrow as pa

from ...ext import fold_count, fold_max, fold_min, fold_moments, fold_sum
from ..aggregates import Part
from ..pythonfolds import PythonFold, fold_of

__all__ = ["SLOT", "Fold", "fold_for", "running_fold_for"]

SLOT: Final = "_hw_slot"
_VALUE: Final = "_hw_value"
_TIME: Final = "_hw_time"
_ARROW: Final = {"q": pa.int64(), "d": pa.float64()}


class Fold(Protocol):
    """The state of one part of one aggregate, over all slots."""

    def grow(self, slots: int) -> None:
        """Make room for so many slots."""
        ...

    def add(self, slots: pa.Array, values: pl.Series | None, rows: pl.DataFrame) -> None:
        """Fold values (None to count rows) into their slots."""
        ...

    def running(self, slots: pa.Array, values: pl.Series | None) -> pl.Series:
        """Fold, and return for each row what its slot gives after it."""
        ...

    def values(self, slots: Sequence[int]) -> pl.Series:
        """Return what the slots give."""
        ...

    def reset(self, slots: Sequence[int]) -> None:
        """Make slots as if they had had no row."""
        ...


def fold_for(part: Part, time: str | None) -> Fold:
    """Return the fold of a part; `time` orders first and last, None for the order of arrival."""
    if part.compiled:
        return _kernel(part)
    if part.kind in ("first", "last"):
        return _Ends(part, time)
    return _PerRow(part)


def running_fold_for(part: Part) -> Fold:
    """Return the fold of a part that gives a value for each row."""
    return _kernel(part) if part.compiled else _PerRow(part)


def _kernel(part: Part) -> Fold:
    match part.kind:
        case "len" | "count":
            return _Count(part)
        case "sum":
            return _Sum(part)
        case "mean":
            return _Mean(part)
        case "min" | "max":
            return _Extreme(part)
        case _:
            return _Moments(part)


def _code(part: Part) -> Literal["q", "d"]:
    return "d" if part.encoded is not None and part.encoded.is_float() else "q"


def _numbers(values: pl.Series | None) -> pa.Array:
    assert values is not None
    return values.to_arrow()


def _trace(code: str, rows: int) -> array[Any]:
    return array(code, bytes(8 * rows))


def _grow(slots: int, *states: array[Any]) -> None:
    for state in states:
        if len(state) < slots:
            state.frombytes(bytes(state.itemsize * (slots - len(state))))


def _reset(slots: Sequence[int], *states: array[Any]) -> None:
    for state in states:
        for slot in slots:
            state[slot] = 0


def _read(state: array[Any], slots: Sequence[int] | None = None) -> pl.Series:
    """Return the state of slots as a column, or all of it; of slots it is a copy."""
    kind = _ARROW[state.typecode]
    column = pa.Array.from_buffers(kind, len(state), [None, pa.py_buffer(state)])
    return pl.Series(column if slots is None else column.take(pa.array(slots, pa.int64())))


class _Count:
    __slots__ = ("_counts", "_part")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._counts = array("q")

    def grow(self, slots: int) -> None:
        _grow(slots, self._counts)

    def add(self, slots: pa.Array, values: pl.Series | None, rows: pl.DataFrame) -> None:
        fold_count(slots, None if values is None else values.to_arrow(), self._counts)

    def running(self, slots: pa.Array, values: pl.Series | None) -> pl.Series:
        trace = _trace("q", len(slots))
        fold_count(slots, None if values is None else values.to_arrow(), self._counts, trace)
        return self._part.column("", _read(trace))

    def values(self, slots: Sequence[int]) -> pl.Series:
        return self._part.column("", _read(self._counts, slots))

    def reset(self, slots: Sequence[int]) -> None:
        _reset(slots, self._counts)


class _Sum:
    __slots__ = ("_part", "_sums")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._sums: array[Any] = array(_code(part))

    def grow(self, slots: int) -> None:
        _grow(slots, self._sums)

    def add(self, slots: pa.Array, values: pl.Series | None, rows: pl.DataFrame) -> None:
        fold_sum(slots, _numbers(values), self._sums)

    def running(self, slots: pa.Array, values: pl.Series | None) -> pl.Series:
        trace = _trace(self._sums.typecode, len(slots))
        fold_sum(slots, _numbers(values), self._sums, trace)
        return self._part.column("", _read(trace))

    def values(self, slots: Sequence[int]) -> pl.Series:
        return self._part.column("", _read(self._sums, slots))

    def reset(self, slots: Sequence[int]) -> None:
        _reset(slots, self._sums)


class _Mean:
    """The mean as sum over count."""

    __slots__ = ("_counts", "_part", "_sums")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._sums = array("d")
        self._counts = array("q")

    def grow(self, slots: int) -> None:
        _grow(slots, self._sums, self._counts)

    def add(self, slots: pa.Array, values: pl.Series | None, rows: pl.DataFrame) -> None:
        numbers = _numbers(values)
        fold_sum(slots, numbers, self._sums)
        fold_count(slots, numbers, self._counts)

    def running(self, slots: pa.Array, values: pl.Series | None) -> pl.Series:
        numbers, sums, counts = _numbers(values), _trace("d", len(slots)), _trace("q", len(slots))
        fold_sum(slots, numbers, self._sums, sums)
        fold_count(slots, numbers, self._counts, counts)
        return self._finished(_read(sums), _read(counts))

    def values(self, slots: Sequence[int]) -> pl.Series:
        return self._finished(_read(self._sums, slots), _read(self._counts, slots))

    def _finished(self, sums: pl.Series, counts: pl.Series) -> pl.Series:
        means = pl.select(pl.when(counts > 0).then(sums / counts)).to_series()
        return self._part.column("", means)

    def reset(self, slots: Sequence[int]) -> None:
        _reset(slots, self._sums, self._counts)


class _Extreme:
    """The least or greatest value; null until there is one."""

    __slots__ = ("_best", "_counts", "_fold", "_part", "_seen")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._fold = fold_min if part.kind == "min" else fold_max
        self._best: array[Any] = array(_code(part))
        self._seen = array("b")
        self._counts = array("q")

    def grow(self, slots: int) -> None:
        _grow(slots, self._best, self._seen, self._counts)

    def add(self, slots: pa.Array, values: pl.Series | None, rows: pl.DataFrame) -> None:
        numbers = _numbers(values)
        self._fold(slots, numbers, self._best, self._seen)
        fold_count(slots, numbers, self._counts)

    def running(self, slots: pa.Array, values: pl.Series | None) -> pl.Series:
        numbers, rows = _numbers(values), len(slots)
        best, counts = _trace(self._best.typecode, rows), _trace("q", rows)
        self._fold(slots, numbers, self._best, self._seen, best)
        fold_count(slots, numbers, self._counts, counts)
        return self._finished(_read(best), _read(counts))

    def values(self, slots: Sequence[int]) -> pl.Series:
        return self._finished(_read(self._best, slots), _read(self._counts, slots))

    def _finished(self, best: pl.Series, counts: pl.Series) -> pl.Series:
        return self._part.column("", pl.select(pl.when(counts > 0).then(best)).to_series())

    def reset(self, slots: Sequence[int]) -> None:
        _reset(slots, self._best, self._seen, self._counts)


class _Moments:
    """Variance and standard deviation, by Welford's recurrence."""

    __slots__ = ("_counts", "_means", "_part", "_seen", "_squares")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._counts = array("q")
        self._seen = array("q")
        self._means = array("d")
        self._squares = array("d")

    def grow(self, slots: int) -> None:
        _grow(slots, self._counts, self._seen, self._means, self._squares)

    def add(self, slots: pa.Array, values: pl.Series | None, rows: pl.DataFrame) -> None:
        fold_moments(slots, _numbers(values), self._counts, self._means, self._squares)

    def running(self, slots: pa.Array, values: pl.Series | None) -> pl.Series:
        numbers, rows = _numbers(values), len(slots)
        means, squares, counts = _trace("d", rows), _trace("d", rows), _trace("q", rows)
        state = self._counts, self._means, self._squares
        fold_moments(slots, numbers, *state, (means, squares))
        fold_count(slots, numbers, self._seen, counts)
        return self._finished(_read(squares), _read(counts))

    def values(self, slots: Sequence[int]) -> pl.Series:
        return self._finished(_read(self._squares, slots), _read(self._counts, slots))

    def _finished(self, squares: pl.Series, counts: pl.Series) -> pl.Series:
        ddof = int(self._part.parameters[0])
        variances = pl.select(pl.when(counts > ddof).then(squares / (counts - ddof))).to_series()
        return self._part.column("", variances.sqrt() if self._part.kind == "std" else variances)

    def reset(self, slots: Sequence[int]) -> None:
        _reset(slots, self._counts, self._seen, self._means, self._squares)


class _PerRow:
    """A fold in Python, one call a row: sketches, custom aggregates, extremes of text."""

    __slots__ = ("_fold", "_part", "_rows", "_states")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._fold: PythonFold[Any] = fold_of(part)
        self._states: dict[int, Any] = {}
        self._rows = 0

    def grow(self, slots: int) -> None:
        """States are made when their first row comes."""

    def add(self, slots: pa.Array, values: pl.Series | None, rows: pl.DataFrame) -> None:
        assert values is not None
        states, fold = self._states, self._fold
        for row, (slot, value) in enumerate(
            zip(slots.to_pylist(), values.to_list(), strict=True), self._rows
        ):
            state = states[slot] if slot in states else fold.init()
            states[slot] = fold.add(state, row, value)
        self._rows += len(slots)

    def running(self, slots: pa.Array, values: pl.Series | None) -> pl.Series:
        assert values is not None
        states, fold = self._states, self._fold
        found = []
        for row, (slot, value) in enumerate(
            zip(slots.to_pylist(), values.to_list(), strict=True), self._rows
        ):
            state = states[slot] if slot in states else fold.init()
            states[slot] = state = fold.add(state, row, value)
            found.append(fold.result(state))
        self._rows += len(slots)
        return self._part.column("", found)

    def values(self, slots: Sequence[int]) -> pl.Series:
        fold, states = self._fold, self._states
        found = [fold.result(states[s] if s in states else fold.init()) for s in slots]
        return self._part.column("", found)

    def reset(self, slots: Sequence[int]) -> None:
        for slot in slots:
            self._states.pop(slot, None)


class _Ends:
    """First and last: the value of the row that stands first or last by (time, value).

    A null is the least value. Every batch leaves one row a slot; these are reduced again when they
    have become as many as there were.
    """

    __slots__ = ("_base", "_keep", "_part", "_pending", "_skip_nulls", "_time", "_waiting")

    def __init__(self, part: Part, time: str | None) -> None:
        self._part = part
        self._time = time
        self._keep: Literal["first", "last"] = "last" if part.kind == "last" else "first"
        self._skip_nulls = part.parameters == (True,)
        self._pending: list[pl.DataFrame] = []
        self._base = 0
        self._waiting = 0

    def grow(self, slots: int) -> None:
        """Rows are kept, not slots."""

    def add(self, slots: pa.Array, values: pl.Series | None, rows: pl.DataFrame) -> None:
        assert values is not None
        columns = [pl.Series(SLOT, slots), values.alias(_VALUE)]
        if self._time is not None:
            columns.append(rows[self._time].alias(_TIME))
        frame = pl.DataFrame(columns)
        if self._skip_nulls:
            frame = frame.filter(pl.col(_VALUE).is_not_null())
        frame = self._reduced(frame)
        self._pending.append(frame)
        self._waiting += frame.height
        if self._waiting > self._base + 1000:
            self._compact()

    def running(self, slots: pa.Array, values: pl.Series | None) -> pl.Series:
        raise NotImplementedError("a running first or last is folded per row")  # pragma: no cover

    def values(self, slots: Sequence[int]) -> pl.Series:
        wanted = pl.DataFrame(pl.Series(SLOT, slots, dtype=pl.Int64))
        if not self._pending:
            return self._part.column("", [None] * len(slots))
        self._compact()
        kept = self._pending[0].select(SLOT, _VALUE)
        found = wanted.join(kept, on=SLOT, how="left", maintain_order="left")
        return self._part.column("", found[_VALUE])

    def reset(self, slots: Sequence[int]) -> None:
        gone = pl.Series(slots, dtype=pl.Int64).implode()
        kept = (frame.filter(~pl.col(SLOT).is_in(gone)) for frame in self._pending)
        self._pending = [frame for frame in kept if frame.height]
        self._base = self._waiting = sum(frame.height for frame in self._pending)

    def _compact(self) -> None:
        if len(self._pending) > 1:
            self._pending = [self._reduced(pl.concat(self._pending))]
        self._base = self._waiting = self._pending[0].height

    def _reduced(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self._time is not None:
            by = [pl.col(_TIME), pl.col(_VALUE)]
            if frame.schema[_VALUE].is_float():
                by.append(1 / pl.col(_VALUE))  # tells -0.0 from 0.0
            frame = frame.sort(by, maintain_order=True)
        return frame.unique(SLOT, keep=self._keep, maintain_order=True)
