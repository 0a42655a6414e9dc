"""What the right side of an as-of join remembers: the newest row per key, and those still needed.

Rows are added in event-time order. As the time of the rows that are yet to be matched moves on,
what none of them can match is forgotten; this is done in bulk, so that a table costs time
proportional to what changes in it, and at most twice its memory.
"""

from __future__ import annotations

from typing import Final, Literal

import polars as pl

from ..batch import DELETED, END, START, concatenated
from ..snapshot import Tables, scalars, scalars_in
from .ordered import microseconds_of

__all__ = ["Strategy", "Versions"]

Strategy = Literal["backward", "forward", "nearest"]

_TIME: Final = "_hw_time"
_ROW: Final = "_hw_row"
_CHUNKS: Final = 64


class Versions:
    """The rows of a changing table that a row may still be matched with.

    Of rows of the same key and time the last counts. A row whose `DELETED` is true takes its key
    out of the table from its time on.
    """

    __slots__ = ("_fresh", "_keys", "_moved", "_rows", "_settled", "_strategy", "_time", "_within")

    def __init__(
        self,
        empty: pl.DataFrame,
        keys: tuple[str, ...],
        time: str,
        strategy: Strategy,
        tolerance: int | None,
    ) -> None:
        self._keys = keys
        self._time = time
        self._strategy = strategy
        self._within = tolerance
        self._rows = empty.with_columns(pl.lit(None, pl.Int64).alias(_TIME))
        self._settled = 0
        self._fresh = 0
        self._moved = START

    @property
    def rows(self) -> pl.DataFrame:
        """The rows that `match` counts."""
        return self._rows

    def add(self, rows: pl.DataFrame) -> None:
        """Take in rows that are later than all before; rows with a null key never match."""
        if self._keys:
            rows = rows.drop_nulls(self._keys)
        rows = rows.with_columns(microseconds_of(self._time).alias(_TIME)).unique(
            [*self._keys, _TIME], keep="last", maintain_order=True
        )
        if not rows.height:
            return
        self._fresh += rows.height
        self._rows = pl.concat([self._rows, rows])
        if self._rows.n_chunks() > _CHUNKS:
            self._rows = self._rows.rechunk()

    def match(self, left: pl.DataFrame, keys: tuple[str, ...], time: str) -> pl.Series:
        """Return, for each row of `left`, the number in `rows` of what it matches, or null.

        `left` is in the order of its event time, the column `time`.
        """
        by = [f"key{number}" for number in range(len(keys))]
        asked = left.select(
            microseconds_of(time).alias(_TIME),
            *(pl.col(key).alias(name) for key, name in zip(keys, by, strict=True)),
        )
        table = self._rows.select(
            pl.int_range(pl.len(), dtype=pl.Int64).alias(_ROW),
            pl.col(_TIME),
            *(pl.col(key).alias(name) for key, name in zip(self._keys, by, strict=True)),
        )
        if by and table.height > 4 * asked.height:
            table = table.join(asked, on=by, how="semi", maintain_order="left")
        found = asked.join_asof(
            table,
            on=_TIME,
            by=by or None,
            strategy=self._strategy,
            tolerance=self._within,
            check_sortedness=False,
        )[_ROW]
        if DELETED not in self._rows.columns:
            return found
        gone = self._rows[DELETED].gather(found)
        return pl.select(pl.when(~gone).then(found)).to_series().alias(_ROW)

    def forget(self, time: int) -> None:
        """No row before `time` (µs) will be matched any more: drop what cannot match."""
        stale = self._within is not None and time - self._moved > self._within
        if not self._rows.height or not (self._fresh > self._settled or stale or time == END):
            return
        early = self._rows[_TIME] < time
        past = self._rows.filter(early)
        if self._strategy == "forward" or time == END:
            past = past.clear()
        elif self._keys:
            past = past.unique(self._keys, keep="last", maintain_order=True)
        else:
            past = past.tail(1)
        if self._within is not None:
            past = past.filter(pl.col(_TIME) >= time - self._within)
        if DELETED in past.columns:
            past = past.filter(~pl.col(DELETED))
        self._rows = concatenated([past, self._rows.filter(~early)])
        self._settled = self._rows.height
        self._fresh = 0
        self._moved = time

    def snapshot(self) -> Tables:
        """Return the table ``rows``, if there are any, and when to forget some of them."""
        tables = scalars(fresh=self._fresh, settled=self._settled, moved=self._moved)
        if self._rows.height:
            tables["rows"] = self._rows
        return tables

    def restore(self, tables: Tables) -> None:
        """Take back what `snapshot` gave."""
        found = scalars_in(tables)
        self._fresh, self._settled = found["fresh"], found["settled"]
        self._moved = found["moved"]
        if "rows" in tables:
            self._rows = tables["rows"].rechunk()
