"""Folds: the state of one part of an aggregate, over all slots.

A fold takes rows strictly in their order. The engine's kernels fold numbers into flat arrays;
first and last reduce each batch to one row a slot; the rest are folds in Python (`rowfolds`).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal, Protocol

import polars as pl
import pyarrow as pa

from ...ext import fold_count, fold_max, fold_min, fold_moments, fold_sum
from ..aggregates import Part
from ..snapshot import Tables
from .rowfolds import SLOT, Ends, PerRow

__all__ = ["SLOT", "Fold", "fold_for", "running_fold_for"]

_ARROW: Final = {"b": pa.int8(), "q": pa.int64(), "d": pa.float64()}


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

    def snapshot(self, live: pl.Series) -> Tables:
        """Return the state of the slots `live`, which rise; no other slot has had a row."""
        ...

    def restore(self, tables: Tables, size: int) -> None:
        """Take back what `snapshot` gave; all slots were below `size`."""
        ...


def fold_for(part: Part, time: str | None, owner: str) -> Fold:
    """Return the fold of a part; `time` orders first and last, None for the order of arrival.

    `owner` is whose it is, for errors.
    """
    if part.compiled:
        return _kernel(part)
    if part.kind in ("first", "last"):
        return Ends(part, time)
    return PerRow(part, owner)


def running_fold_for(part: Part, owner: str) -> Fold:
    """Return the fold of a part that gives a value for each row."""
    return _kernel(part) if part.compiled else PerRow(part, owner)


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


def _read(state: array[Any], slots: Sequence[int] | pl.Series | None = None) -> pl.Series:
    """Return the state of slots as a column, or all of it; of slots it is a copy."""
    kind = _ARROW[state.typecode]
    column = pa.Array.from_buffers(kind, len(state), [None, pa.py_buffer(state)])
    if slots is None:
        return pl.Series(column)
    chosen = slots.to_arrow() if isinstance(slots, pl.Series) else pa.array(slots, pa.int64())
    return pl.Series(column.take(chosen))


def _write(state: array[Any], slots: pl.Series, values: pl.Series, size: int) -> None:
    """Make the state of `size` slots: these values in these slots, zeros in all others."""
    column = pl.repeat(0, size, dtype=values.dtype, eager=True).scatter(slots, values)
    data = column.rechunk().to_arrow()
    begin = data.offset * state.itemsize
    del state[:]
    state.frombytes(memoryview(data.buffers()[1])[begin : begin + size * state.itemsize])


class _Flat:
    """A fold of a kernel: flat arrays, in which each slot has a place; zeros before its first row.

    `arrays` are their names, which are those of attributes and of columns.
    """

    __slots__ = ()
    arrays: ClassVar[tuple[str, ...]]

    def _states(self) -> list[array[Any]]:
        return [getattr(self, f"_{name}") for name in self.arrays]

    def grow(self, slots: int) -> None:
        for state in self._states():
            if len(state) < slots:
                state.frombytes(bytes(state.itemsize * (slots - len(state))))

    def reset(self, slots: Sequence[int]) -> None:
        for state in self._states():
            for slot in slots:
                state[slot] = 0

    def snapshot(self, live: pl.Series) -> Tables:
        """Return a row for each slot, as ``slots``."""
        states = zip(self.arrays, self._states(), strict=True)
        columns = [_read(state, live).alias(name) for name, state in states]
        return {"slots": pl.DataFrame([live, *columns])}

    def restore(self, tables: Tables, size: int) -> None:
        slots = tables["slots"]
        for name, state in zip(self.arrays, self._states(), strict=True):
            _write(state, slots[SLOT], slots[name], size)


class _Count(_Flat):
    __slots__ = ("_counts", "_part")
    arrays = ("counts",)

    def __init__(self, part: Part) -> None:
        self._part = part
        self._counts = array("q")

    def add(self, slots: pa.Array, values: pl.Series | None, rows: pl.DataFrame) -> None:
        fold_count(slots, None if values is None else values.to_arrow(), self._counts)

    def running(self, slots: pa.Array, values: pl.Series | None) -> pl.Series:
        trace = _trace("q", len(slots))
        fold_count(slots, None if values is None else values.to_arrow(), self._counts, trace)
        return self._part.column("", _read(trace))

    def values(self, slots: Sequence[int]) -> pl.Series:
        return self._part.column("", _read(self._counts, slots))


class _Sum(_Flat):
    __slots__ = ("_part", "_sums")
    arrays = ("sums",)

    def __init__(self, part: Part) -> None:
        self._part = part
        self._sums: array[Any] = array(_code(part))

    def add(self, slots: pa.Array, values: pl.Series | None, rows: pl.DataFrame) -> None:
        fold_sum(slots, _numbers(values), self._sums)

    def running(self, slots: pa.Array, values: pl.Series | None) -> pl.Series:
        trace = _trace(self._sums.typecode, len(slots))
        fold_sum(slots, _numbers(values), self._sums, trace)
        return self._part.column("", _read(trace))

    def values(self, slots: Sequence[int]) -> pl.Series:
        return self._part.column("", _read(self._sums, slots))


class _Mean(_Flat):
    """The mean as sum over count."""

    __slots__ = ("_counts", "_part", "_sums")
    arrays = ("sums", "counts")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._sums = array("d")
        self._counts = array("q")

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


class _Extreme(_Flat):
    """The least or greatest value; null until there is one."""

    __slots__ = ("_best", "_counts", "_fold", "_part", "_seen")
    arrays = ("best", "seen", "counts")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._fold = fold_min if part.kind == "min" else fold_max
        self._best: array[Any] = array(_code(part))
        self._seen = array("b")
        self._counts = array("q")

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


class _Moments(_Flat):
    """Variance and standard deviation, by Welford's recurrence."""

    __slots__ = ("_counts", "_means", "_part", "_seen", "_squares")
    arrays = ("counts", "seen", "means", "squares")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._counts = array("q")
        self._seen = array("q")
        self._means = array("d")
        self._squares = array("d")

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
