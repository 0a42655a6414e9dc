"""Aggregates in the making: one slot a group, folded row by row in processing order.

Folding never merges partial sums of batches, so how a stream was cut into batches changes no bit
of a float. What has no incremental form keeps its rows until the slot is read.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import polars as pl
import pyarrow as pa

from ..aggregates import Part
from ..batch import HIDDEN
from ..decompose import Buffered, Incremental
from ..snapshot import Tables, part_of, with_parts
from .folds import SLOT, Fold, fold_for, running_fold_for
from .ordered import GROUP, canonical
from .rowwise import RowWise

__all__ = ["Aggregation", "RunningAggregation", "part_names", "parts_of"]


class _Slots:
    """Numbers that are given out and taken back; `live` is how many are out."""

    __slots__ = ("_capacity", "_finish", "_folds", "_free", "_inputs", "_named", "_size")

    def __init__(
        self,
        aggregates: Sequence[Incremental | Buffered],
        make: Callable[[Part, str], Fold],
        operator: str,
    ) -> None:
        finish, parts = parts_of(aggregates)
        inputs = _inputs(parts)
        self._finish = RowWise(finish)
        self._inputs = RowWise(inputs) if inputs else None
        self._named: dict[str, Fold] = {}
        """Each fold by its aggregate and its place among the parts of it."""
        for aggregate in aggregates:
            owner = f"operator {operator!r}, aggregate {aggregate.name!r}"
            found = () if isinstance(aggregate, Buffered) else aggregate.parts
            for place, part in enumerate(found):
                self._named[f"{aggregate.name}[{place}]"] = make(part, owner)
        self._folds = list(self._named.values())
        self._free: list[int] = []
        self._size = 0
        self._capacity = 0

    @property
    def live(self) -> int:
        """Slots in use."""
        return self._size - len(self._free)

    def new_slot(self) -> int:
        """Return a fresh slot."""
        if self._free:
            return self._free.pop()
        self._size += 1
        self._grow()
        return self._size - 1

    def release(self, slots: Sequence[int]) -> None:
        """Give slots back."""
        if not slots:
            return
        for fold in self._folds:
            fold.reset(slots)
        self._free.extend(slots)

    def snapshot(self) -> Tables:
        """Return the slots in use, as ``slots``, and under the name of each fold its state."""
        if not self.live:
            return {}
        slots = pl.int_range(self._size, eager=True)
        free = pl.Series(self._free, dtype=pl.Int64)
        live = slots.filter(~slots.is_in(free.implode())).alias(SLOT)
        folds = {name: fold.snapshot(live) for name, fold in self._named.items()}
        return {"slots": pl.DataFrame(live)} | with_parts(**folds)

    def restore(self, tables: Tables) -> None:
        """Take back what `snapshot` gave; slots keep their numbers."""
        if not tables:
            return
        live = tables["slots"][SLOT]
        self._size = live[-1] + 1
        slots = pl.int_range(self._size, eager=True)
        self._free = slots.filter(~slots.is_in(live.implode())).to_list()
        for name, fold in self._named.items():
            fold.restore(part_of(tables, name), self._size)
        self._grow()

    def _grow(self) -> None:
        if self._size > self._capacity:
            self._capacity = max(16, 2 * self._size)
            for fold in self._folds:
                fold.grow(self._capacity)

    def _columns(self, rows: pl.DataFrame) -> list[pl.Series | None]:
        """Return what each fold takes of the rows; None where it counts them."""
        if self._inputs is None:
            return [None] * len(self._folds)
        found = {column.name: column for column in self._inputs.columns(rows)}
        return [found.get(name) for name in part_names(len(self._folds))]


class Aggregation(_Slots):
    """All aggregates of an operator, over slots that come and go.

    `time` is the event-time column by which first, last and buffered rows are ordered; None if
    rows come in order. `operator` is whose aggregates they are.
    """

    __slots__ = ("_buffered", "_kept", "_time")

    def __init__(
        self, aggregates: Sequence[Incremental | Buffered], time: str | None, operator: str
    ) -> None:
        super().__init__(aggregates, lambda part, owner: fold_for(part, time, owner), operator)
        self._time = time
        self._buffered = [a.expr.alias(a.name) for a in aggregates if isinstance(a, Buffered)]
        self._kept: list[pl.DataFrame] = []

    def new_slots(self, count: int) -> range:
        """Return `count` slots in a row, never given out before."""
        self._size += count
        self._grow()
        return range(self._size - count, self._size)

    def add(self, slots: pa.Array, rows: pl.DataFrame) -> None:
        """Fold rows into their slots (Int64, one a row)."""
        for fold, values in zip(self._folds, self._columns(rows), strict=True):
            fold.add(slots, values, rows)
        if self._buffered:
            self._kept.append(rows.with_columns(pl.Series(SLOT, slots)))

    def result(self, slots: Sequence[int]) -> pl.DataFrame:
        """Return the aggregates of the slots, one row each, in their order."""
        columns = [
            fold.values(slots).alias(name)
            for name, fold in zip(part_names(len(self._folds)), self._folds, strict=True)
        ]
        frame = pl.DataFrame([pl.Series(SLOT, slots, dtype=pl.Int64), *columns])
        if self._buffered:
            evaluated = self._evaluated(frame[SLOT])
            frame = frame.join(evaluated, on=SLOT, how="left", maintain_order="left")
        return self._finish.over(frame)

    def release(self, slots: Sequence[int]) -> None:
        """Give slots back, with the rows kept for them."""
        super().release(slots)
        if self._kept and slots:
            gone = pl.Series(slots, dtype=pl.Int64).implode()
            kept = (frame.filter(~pl.col(SLOT).is_in(gone)) for frame in self._kept)
            self._kept = [frame for frame in kept if frame.height]

    def snapshot(self) -> Tables:
        """Return the slots, as `restore` takes them, and the rows kept for them, as ``rows``."""
        if self._kept:
            self._kept = [pl.concat(self._kept)]
        return super().snapshot() | ({"rows": self._kept[0]} if self._kept else {})

    def restore(self, tables: Tables) -> None:
        """Take back what `snapshot` gave."""
        super().restore(tables)
        if "rows" in tables:
            self._kept = [tables["rows"]]

    def _evaluated(self, slots: pl.Series) -> pl.DataFrame:
        self._kept = [pl.concat(self._kept)]
        rows = self._kept[0].filter(pl.col(SLOT).is_in(slots.implode()))
        if self._time is None:
            rows = rows.sort(SLOT, maintain_order=True)
        else:
            rows = canonical(rows, [SLOT, self._time])
        rows = rows.drop(*HIDDEN, GROUP, strict=False)
        if rows.height and rows[SLOT][0] == rows[SLOT][-1]:  # as two groups: see `rowwise`
            rows = pl.concat([rows, rows.with_columns(pl.lit(-1, pl.Int64).alias(SLOT))])
        return rows.rechunk().group_by(SLOT, maintain_order=True).agg(self._buffered)


class RunningAggregation(_Slots):
    """Aggregates that are read after every row; all are incremental."""

    __slots__ = ()

    def __init__(self, aggregates: Sequence[Incremental], operator: str) -> None:
        super().__init__(aggregates, running_fold_for, operator)

    def add(self, slots: pa.Array, rows: pl.DataFrame) -> pl.DataFrame:
        """Fold rows into their slots; return the aggregates as of and with each row."""
        folded = zip(self._folds, self._columns(rows), strict=True)
        found = [fold.running(slots, values) for fold, values in folded]
        named = zip(part_names(len(found)), found, strict=True)
        frame = pl.DataFrame([column.alias(name) for name, column in named])
        return self._finish.over(frame)


def part_names(count: int) -> list[str]:
    """Return the names of the columns that parts give."""
    return [f"_hw_part_{number}" for number in range(count)]


def parts_of(aggregates: Sequence[Incremental | Buffered]) -> tuple[list[pl.Expr], list[Part]]:
    """Return the finishing expression of every aggregate, and the parts of all of them."""
    finish: list[pl.Expr] = []
    parts: list[Part] = []
    for aggregate in aggregates:
        if isinstance(aggregate, Buffered):
            finish.append(pl.col(aggregate.name))
            continue
        places = range(len(parts), len(parts) + len(aggregate.parts))
        names = {f"__{i}": f"_hw_part_{place}" for i, place in enumerate(places)}
        finish.append(_renamed(aggregate.finish, names).alias(aggregate.name))
        parts.extend(aggregate.parts)
    return finish, parts


def _inputs(parts: Sequence[Part]) -> list[pl.Expr]:
    named = zip(part_names(len(parts)), (part.encoded_input() for part in parts), strict=True)
    return [expr.alias(name) for name, expr in named if expr is not None]


def _renamed(finish: pl.Expr, names: dict[str, str]) -> pl.Expr:
    """Point the placeholders of one aggregate at the columns of all of them."""
    text = finish.meta.serialize(format="json")
    for old, new in names.items():
        text = text.replace(f'{{"Column":"{old}"}}', f'{{"Column":"{new}"}}')
    return pl.Expr.deserialize(io.StringIO(text), format="json")
