"""Rows in event-time order: what ordered operators and event-time joins receive.

Rows wait until the watermark has passed them, then leave sorted by (event time, key group, all
columns). The order they leave in depends on their content alone, not on the order they came in,
how they were cut into batches, or how many shards share the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from ...ext import key_groups
from ..batch import HIDDEN, KEY_GROUPS, START, WATERMARK, concatenated
from ..snapshot import Tables, scalars, scalars_in

__all__ = ["GROUP", "OrderedBuffer", "canonical", "microseconds_of", "with_group"]

_MOST_BATCHES: Final = 64
"""Batches that are held before they are made one."""
GROUP: Final = "_hw_group"
"""The column (Int32) that holds a row's key group while an operator sorts."""


def microseconds_of(column: str) -> pl.Expr:
    """Return an event-time column as Int64 µs since 1970."""
    return pl.col(column).to_physical()


def with_group(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return `rows` with the column `GROUP`; without keys, every row is in group 0."""
    if not keys:
        return rows.with_columns(pl.lit(0, pl.Int32).alias(GROUP))
    groups = key_groups([rows[key].rechunk() for key in keys], KEY_GROUPS)
    return rows.with_columns(pl.Series(GROUP, groups))


def canonical(rows: pl.DataFrame, first: Sequence[str]) -> pl.DataFrame:
    """Sort by `first`, and where that leaves a tie, by all other columns that are not hidden."""
    if rows.height < 2:
        return rows
    rows = rows.sort(first, maintain_order=True)
    keys = rows.select(first)
    tied = keys.select(
        pl.all_horizontal([pl.col(c).eq_missing(pl.col(c).shift(1)) for c in first]).slice(1).any()
    ).item()
    if not tied:
        return rows
    others = [c for c in rows.columns if c not in HIDDEN and c not in first]
    return rows.sort([*first, *others, *HIDDEN], maintain_order=True)


class OrderedBuffer:
    """Holds rows back until a watermark has passed them.

    `time` is the event-time column, or None for a stream without one, whose rows leave in the
    order they came. Batches are kept sorted, so that a release takes the front of each and does
    not look at the rows that stay.
    """

    __slots__ = ("_held", "_keys", "_released", "_time", "held_rows")

    def __init__(self, time: str | None, keys: Sequence[str]) -> None:
        self._time = time
        self._keys = tuple(keys)
        self._held: list[tuple[int, pl.DataFrame]] = []
        """Batches, each with its earliest event time."""
        self._released = START
        self.held_rows = 0

    def add(self, rows: pl.DataFrame, lateness: int = 0) -> pl.DataFrame | None:
        """Take rows in; return those that are late by their own partition's watermark."""
        late = None
        earliest = START
        if self._time is not None:
            is_late = rows[self._time].to_physical() + lateness < rows[WATERMARK]
            if is_late.any():
                late = rows.filter(is_late)
                rows = rows.filter(~is_late)
            if rows.height:
                rows, earliest = self._sorted(rows)
        if rows.height:
            self._held.append((earliest, rows))
            self.held_rows += rows.height
            if len(self._held) > _MOST_BATCHES:
                self._held = [self._join(self._held)]
        return late

    def release(self, watermark: int) -> pl.DataFrame | None:
        """Return the rows with an event time before `watermark`, in order, with `GROUP`."""
        if not self._held:
            return None
        if self._time is None:
            rows = concatenated([batch for _, batch in self._held])
            self._held = []
            self.held_rows = 0
            return with_group(rows, self._keys)
        if watermark <= self._released:
            return None
        self._released = watermark
        parts: list[pl.DataFrame] = []
        kept: list[tuple[int, pl.DataFrame]] = []
        for earliest, batch in self._held:
            if earliest >= watermark:
                kept.append((earliest, batch))
                continue
            times = batch[self._time].to_physical()
            due = int(times.search_sorted(watermark))
            parts.append(batch[:due])
            if due < batch.height:
                kept.append((times[due], batch[due:]))
        if not parts:
            return None
        self._held = kept
        rows = concatenated(parts)
        self.held_rows -= rows.height
        return canonical(with_group(rows, self._keys), [self._time, GROUP])

    def snapshot(self) -> Tables:
        """Return the held rows as the table ``rows``, if there are any, and how far it came."""
        tables = scalars(released=self._released)
        if self._held:
            tables["rows"] = pl.concat([batch for _, batch in self._held])
        return tables

    def restore(self, tables: Tables) -> None:
        """Take back what `snapshot` gave."""
        self._released = scalars_in(tables)["released"]
        if "rows" in tables:
            self._held = [self._join([(START, tables["rows"])])]
            self.held_rows = tables["rows"].height

    def _sorted(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """Return rows sorted by event time, and the earliest."""
        assert self._time is not None
        times = rows[self._time].to_physical()
        if not times.is_sorted():
            rows = rows.sort(self._time, maintain_order=True)
            times = rows[self._time].to_physical()
        return rows, times[0]

    def _join(self, held: list[tuple[int, pl.DataFrame]]) -> tuple[int, pl.DataFrame]:
        rows = concatenated([batch for _, batch in held])
        if self._time is None:
            return START, rows
        rows, earliest = self._sorted(rows)
        return earliest, rows
