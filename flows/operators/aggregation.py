"""Aggregates in the making: one slot a group, folded row by row in processing order.

Folding never merges partial sums of batches, so how a stream was cut into batches changes no bit
of a float. What has no incremental form keeps its rows until the slot is read.
"""

from __future__ import annotations

import io
from array import array
from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol

import polars as pl
import pyarrow as pa

from ...ext import fold_count, fold_max, fold_min, fold_moments, fold_sum
from ..aggregates import Buffered, Incremental, Part, PythonFold, fold_of
from .ordered import canonical

__all__ = ["Aggregation"]

SLOT: Final = "_hw_slot"


class _Fold(Protocol):
    """The state of one part of one aggregate, over all slots."""

    def grow(self, slots: int) -> None: ...

    def add(self, slots: pa.Array, values: pl.Series, rows: pl.DataFrame) -> None: ...

    def values(self, slots: Sequence[int]) -> pl.Series: ...

    def reset(self, slot: int) -> None: ...


class Aggregation:
    """All aggregates of an operator, over slots that come and go."""

    __slots__ = ("_buffered", "_finish", "_folds", "_free", "_inputs", "_kept", "_size", "_time")

    def __init__(self, aggregates: Sequence[Incremental | Buffered], time: str | None) -> None:
        self._time = time
        self._folds: list[_Fold] = []
        self._inputs: list[pl.Expr] = []
        self._finish: list[pl.Expr] = []
        self._buffered = [a.expr.alias(a.name) for a in aggregates if isinstance(a, Buffered)]
        for aggregate in aggregates:
            if isinstance(aggregate, Buffered):
                self._finish.append(pl.col(aggregate.name))
                continue
            names = {}
            for number, part in enumerate(aggregate.parts):
                names[f"__{number}"] = f"_hw_{len(self._folds)}"
                self._inputs.append(_input(part).alias(f"_hw_{len(self._folds)}"))
                self._folds.append(_fold(part, time))
            self._finish.append(_renamed(aggregate.finish, names).alias(aggregate.name))
        self._kept: list[pl.DataFrame] = []
        self._free: list[int] = []
        self._size = 0

    @property
    def live(self) -> int:
        """Slots in use."""
        return self._size - len(self._free)

    def new_slot(self) -> int:
        """Return a fresh slot."""
        if self._free:
            return self._free.pop()
        self._size += 1
        if self._size > 1 and self._size & (self._size - 1) == 0 or self._size == 1:
            for fold in self._folds:
                fold.grow(max(16, self._size * 2))
        return self._size - 1

    def add(self, slots: pa.Array, rows: pl.DataFrame) -> None:
        """Fold rows into their slots (Int64, one a row)."""
        if self._folds:
            values = rows.select(self._inputs)
            for fold, column in zip(self._folds, values.iter_columns(), strict=True):
                fold.add(slots, column, rows)
        if self._buffered:
            self._kept.append(rows.with_columns(pl.Series(SLOT, slots)))

    def result(self, slots: Sequence[int]) -> pl.DataFrame:
        """Return the aggregates of the slots, one row each, in their order."""
        columns = [
            fold.values(slots).alias(f"_hw_{number}") for number, fold in enumerate(self._folds)
        ]
        frame = pl.DataFrame([pl.Series(SLOT, slots, dtype=pl.Int64), *columns])
        if self._buffered:
            frame = frame.join(self._evaluated(frame[SLOT]), on=SLOT, how="left")
        return frame.select(self._finish)

    def release(self, slots: Sequence[int]) -> None:
        """Give the slots back."""
        for fold in self._folds:
            for slot in slots:
                fold.reset(slot)
        self._free.extend(slots)
        if self._kept and slots:
            gone = pl.Series(slots, dtype=pl.Int64)
            kept = (frame.filter(~pl.col(SLOT).is_in(gone.implode())) for frame in self._kept)
            self._kept = [frame for frame in kept if frame.height]

    def _evaluated(self, slots: pl.Series) -> pl.DataFrame:
        rows = pl.concat(self._kept)
        rows = rows.filter(pl.col(SLOT).is_in(slots.implode()))
        if self._time is None:
            rows = rows.sort(SLOT, maintain_order=True)
        else:
            rows = canonical(rows, [SLOT, self._time])
        self._kept = [pl.concat(self._kept)]
        return rows.group_by(SLOT, maintain_order=True).agg(self._buffered)


def _input(part: Part) -> pl.Expr:
    return pl.lit(0, pl.Int8) if part.input is None else part.input


def _renamed(finish: pl.Expr, names: dict[str, str]) -> pl.Expr:
    """Point the placeholders of one aggregate at the columns of all of them."""
    if not names:
        return finish
    text = finish.meta.serialize(format="json")
    for old, new in names.items():
        text = text.replace(f'{{"Column":"{old}"}}', f'{{"Column":"{new}"}}')
    return pl.Expr.deserialize(io.StringIO(text), format="json")


def _fold(part: Part, time: str | None) -> _Fold:
    if part.kind in {"len", "count"}:
        return _Count(part)
    numeric = part.dtype_in is not None and (
        part.dtype_in.is_integer()
        or part.dtype_in.is_float()
        or part.dtype_in == pl.Boolean
        or (part.dtype_in.is_temporal() and part.kind in {"min", "max"})
    ) and part.dtype_in not in (pl.UInt64, pl.Int128)
    if numeric and part.kind in {"sum", "mean"}:
        return _Sum(part)
    if numeric and part.kind in {"min", "max"}:
        return _Extreme(part)
    if numeric and part.kind in {"var", "std"}:
        return _Moments(part)
    if part.kind in {"first", "last", "min", "max"}:
        return _Reduced(part, time)
    return _PerRow(part)


def _number(values: pl.Series) -> pa.Array:
    """Return a column as Int64 or Float64."""
    if values.dtype.is_float():
        return values.cast(pl.Float64).to_arrow()
    return values.to_physical().cast(pl.Int64).to_arrow()


def _grow(state: array[Any], slots: int) -> None:
    if len(state) < slots:
        state.frombytes(bytes(state.itemsize * (slots - len(state))))


class _Count:
    __slots__ = ("_counts", "_part")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._counts = array("q")

    def grow(self, slots: int) -> None:
        _grow(self._counts, slots)

    def add(self, slots: pa.Array, values: pl.Series, rows: pl.DataFrame) -> None:
        column = None
        if self._part.input is not None and values.null_count():
            # The kernel asks only whether a value is there.
            there = pl.select(pl.when(values.is_not_null()).then(0)).to_series().cast(pl.Int64)
            column = there.to_arrow()
        fold_count(slots, column, self._counts)

    def values(self, slots: Sequence[int]) -> pl.Series:
        return pl.Series([self._counts[s] for s in slots], dtype=pl.Int64).cast(
            self._part.dtype_out
        )

    def reset(self, slot: int) -> None:
        self._counts[slot] = 0


class _Sum:
    """Sum, and mean as sum over count."""

    __slots__ = ("_counts", "_part", "_sums")

    def __init__(self, part: Part) -> None:
        self._part = part
        assert part.dtype_in is not None
        self._sums: array[Any] = array("d" if part.dtype_in.is_float() else "q")
        self._counts = array("q")

    def grow(self, slots: int) -> None:
        _grow(self._sums, slots)
        _grow(self._counts, slots)

    def add(self, slots: pa.Array, values: pl.Series, rows: pl.DataFrame) -> None:
        column = _number(values)
        fold_sum(slots, column, self._sums)
        if self._part.kind == "mean":
            fold_count(slots, column, self._counts)

    def values(self, slots: Sequence[int]) -> pl.Series:
        if self._part.kind == "sum":
            dtype = pl.Float64 if self._sums.typecode == "d" else pl.Int64
            found: list[float | None] = [self._sums[s] for s in slots]
            return pl.Series(found, dtype=dtype).cast(self._part.dtype_out)
        means = [self._sums[s] / self._counts[s] if self._counts[s] else None for s in slots]
        return pl.Series(means, dtype=pl.Float64).cast(self._part.dtype_out)

    def reset(self, slot: int) -> None:
        self._sums[slot] = 0
        self._counts[slot] = 0


class _Extreme:
    __slots__ = ("_best", "_part", "_seen")

    def __init__(self, part: Part) -> None:
        self._part = part
        assert part.dtype_in is not None
        self._best: array[Any] = array("d" if part.dtype_in.is_float() else "q")
        self._seen = array("b")

    def grow(self, slots: int) -> None:
        _grow(self._best, slots)
        _grow(self._seen, slots)

    def add(self, slots: pa.Array, values: pl.Series, rows: pl.DataFrame) -> None:
        fold = fold_min if self._part.kind == "min" else fold_max
        fold(slots, _number(values), self._best, self._seen)

    def values(self, slots: Sequence[int]) -> pl.Series:
        dtype = pl.Float64 if self._best.typecode == "d" else pl.Int64
        best = [self._best[s] if self._seen[s] else None for s in slots]
        out, column = self._part.dtype_out, pl.Series(best, dtype=dtype)
        if out.is_temporal() and out in (pl.Date, pl.Time):
            column = column.cast(pl.Int32 if out == pl.Date else pl.Int64)
        return column.cast(out)

    def reset(self, slot: int) -> None:
        self._seen[slot] = 0
        self._best[slot] = 0


class _Moments:
    """Variance and standard deviation, by Welford's recurrence."""

    __slots__ = ("_counts", "_means", "_part", "_squares")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._counts = array("q")
        self._means = array("d")
        self._squares = array("d")

    def grow(self, slots: int) -> None:
        for state in (self._counts, self._means, self._squares):
            _grow(state, slots)

    def add(self, slots: pa.Array, values: pl.Series, rows: pl.DataFrame) -> None:
        column = values.cast(pl.Float64).to_arrow()
        fold_moments(slots, column, self._counts, self._means, self._squares)

    def values(self, slots: Sequence[int]) -> pl.Series:
        ddof = int(self._part.parameters[0])
        found = [
            self._squares[s] / (self._counts[s] - ddof) if self._counts[s] > ddof else None
            for s in slots
        ]
        column = pl.Series(found, dtype=pl.Float64)
        return (column.sqrt() if self._part.kind == "std" else column).cast(self._part.dtype_out)

    def reset(self, slot: int) -> None:
        self._counts[slot] = 0
        self._means[slot] = 0.0
        self._squares[slot] = 0.0


class _PerRow:
    """A fold in Python, one call a row: sketches and custom aggregates."""

    __slots__ = ("_fold", "_part", "_states")

    def __init__(self, part: Part) -> None:
        self._part = part
        self._fold: PythonFold = fold_of(part)
        self._states: dict[int, Any] = {}

    def grow(self, slots: int) -> None:
        """States are made when their first row comes."""

    def add(self, slots: pa.Array, values: pl.Series, rows: pl.DataFrame) -> None:
        self._fold_in(slots.to_pylist(), [()] * len(slots), values.to_list())

    def _fold_in(self, slots: list[int], order: Sequence[Any], values: list[Any]) -> None:
        states, fold = self._states, self._fold
        for slot, key, value in zip(slots, order, values, strict=True):
            state = states[slot] if slot in states else fold.init()
            states[slot] = fold.add(state, key, value)

    def values(self, slots: Sequence[int]) -> pl.Series:
        fold, states = self._fold, self._states
        found = [fold.result(states[s] if s in states else fold.init()) for s in slots]
        return pl.Series(found, dtype=self._part.dtype_out)

    def reset(self, slot: int) -> None:
        self._states.pop(slot, None)


class _Reduced(_PerRow):
    """First, last, least and greatest: a batch is reduced to one candidate a slot before.

    First and last go by (event time, all columns), or without event time by arrival.
    """

    __slots__ = ("_rows", "_time")

    def __init__(self, part: Part, time: str | None) -> None:
        super().__init__(part)
        self._time = time
        self._rows = 0

    def add(self, slots: pa.Array, values: pl.Series, rows: pl.DataFrame) -> None:
        slot = pl.Series(SLOT, slots)
        if self._part.kind in {"min", "max"}:
            best = getattr(pl.col("v"), self._part.kind)()
            found = (
                pl.DataFrame([slot, values.alias("v")])
                .group_by(SLOT, maintain_order=True)
                .agg(best)
            )
            states = found[SLOT].to_list()
            self._fold_in(states, [()] * len(states), found["v"].to_list())
            return
        numbered = rows.with_columns(slot, values.alias("_hw_value"))
        side: Literal["first", "last"] = "first" if self._part.kind == "first" else "last"
        if self._time is None:
            counted = numbered.with_row_index("_hw_row", self._rows)
            self._rows += rows.height
            found = counted.unique(SLOT, keep=side, maintain_order=True)
            keys: list[Any] = found.select("_hw_row").rows()
        else:
            ordered = canonical(numbered, [SLOT, self._time])
            found = ordered.unique(SLOT, keep=side, maintain_order=True)
            names = [c for c in rows.columns if not c.startswith("_hw_") and c != self._time]
            found_keys = found.select(self._time, *names).rows()
            keys = [tuple((v is not None, v) for v in row) for row in found_keys]
        self._fold_in(found[SLOT].to_list(), keys, found["_hw_value"].to_list())
