"""The rows of one side of a join that later rows of the other may still match."""

from __future__ import annotations

from typing import Final

import polars as pl

from ..snapshot import Tables
from .ordered import microseconds_of

__all__ = ["TIME", "Stored"]

TIME: Final = "_hw_time"
"""The column (Int64, µs) that holds a stored row's event time."""

_MATCHED: Final = "_hw_matched"
_CHUNKS: Final = 64


class Stored:
    """Rows in event-time order, from which the oldest are dropped.

    Rows with a null key match nothing and are kept only if `outer`; then it is also noted which
    rows have been matched.
    """

    __slots__ = ("_keys", "_outer", "_time", "rows")

    def __init__(self, empty: pl.DataFrame, time: str, keys: tuple[str, ...], outer: bool) -> None:
        self._time = time
        self._keys = keys
        self._outer = outer
        self.rows = self._prepared(empty)

    def _prepared(self, rows: pl.DataFrame) -> pl.DataFrame:
        rows = rows.with_columns(microseconds_of(self._time).alias(TIME))
        if self._outer:
            return rows.with_columns(pl.lit(False).alias(_MATCHED))
        return rows.drop_nulls(self._keys) if self._keys else rows

    def add(self, rows: pl.DataFrame | None) -> int:
        """Append rows later than all before; return the number of the first of them."""
        before = self.rows.height
        if rows is not None:
            self.rows = pl.concat([self.rows, self._prepared(rows)])
            if self.rows.n_chunks() > _CHUNKS:
                self.rows = self.rows.rechunk()
        return before

    def numbers(self, start: int, end: int) -> tuple[int, int]:
        """Return the first number and the count of the rows with start <= time < end (µs)."""
        times = self.rows[TIME]
        first = int(times.search_sorted(start, "left"))
        return first, max(int(times.search_sorted(end, "left")) - first, 0)

    def matched(self, numbers: pl.Series) -> None:
        """Note that the rows of these numbers have been matched."""
        if self._outer and numbers.len():
            marks = self.rows[_MATCHED].scatter(numbers, True)
            self.rows = self.rows.with_columns(marks)

    def drop_before(self, time: int) -> pl.DataFrame | None:
        """Drop the rows before `time` (µs); if `outer`, return those that were never matched."""
        _, count = self.numbers(-(2**63), time)
        if not count:
            return None
        gone = self.rows.head(count)
        self.rows = self.rows.tail(self.rows.height - count)
        if not self._outer:
            return None
        alone = gone.filter(~pl.col(_MATCHED))
        return alone if alone.height else None

    def snapshot(self) -> Tables:
        """Return the table ``rows``, if there are any."""
        return {"rows": self.rows} if self.rows.height else {}

    def restore(self, tables: Tables) -> None:
        """Take back what `snapshot` gave."""
        if "rows" in tables:
            self.rows = tables["rows"].rechunk()
