"""Folds without a kernel: in Python row by row, and the first and last rows of slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import polars as pl
import pyarrow as pa

from ..aggregates import Part
from ..pythonfolds import PythonFold, encoding_of, fold_of
from ..snapshot import Tables, scalars, scalars_in

__all__ = ["SLOT", "Ends", "PerRow"]

SLOT: Final = "_hw_slot"
_VALUE: Final = "_hw_value"
_TIME: Final = "_hw_time"
_STATE: Final = "state"


class PerRow:
    """A fold in Python, one call a row: sketches, custom aggregates, extremes of text."""

    __slots__ = ("_encoding", "_fold", "_part", "_rows", "_states")

    def __init__(self, part: Part, owner: str) -> None:
        self._part = part
        self._fold: PythonFold[Any] = fold_of(part)
        self._encoding = encoding_of(part, owner)
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

    def snapshot(self, live: pl.Series) -> Tables:
        """Return how many rows came, and of each slot that had one the state, as ``states``."""
        slots = pl.Series(SLOT, list(self._states), dtype=pl.Int64)
        states = self._encoding.column(_STATE, list(self._states.values()))
        return scalars(rows=self._rows) | {"states": pl.DataFrame([slots, states])}

    def restore(self, tables: Tables, size: int) -> None:
        states = tables["states"]
        found = self._encoding.values(states[_STATE])
        self._states = dict(zip(states[SLOT].to_list(), found, strict=True))
        self._rows = scalars_in(tables)["rows"]


class Ends:
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

    def snapshot(self, live: pl.Series) -> Tables:
        """Return the row of each slot, as ``rows``, if there are any."""
        if self._pending:
            self._compact()
        return {"rows": self._pending[0]} if self._pending else {}

    def restore(self, tables: Tables, size: int) -> None:
        if "rows" in tables:
            self._pending = [tables["rows"]]
            self._compact()

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
