"""Parsed rows and dead letters that a reader has not handed out yet."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import polars as pl

from ..flows.connector import Chunk, Dead

__all__ = ["Pending"]


class Pending:
    """One parsed block, handed out in offset order, never more than asked for.

    `put` replaces what is held, so a reader calls it only once `take` has given everything.
    """

    __slots__ = ("_at", "_dead", "_offsets", "_places", "_rows", "_size")

    def __init__(self) -> None:
        self._rows = pl.DataFrame()
        self._offsets = pl.Series([], dtype=pl.Int64)
        self._dead: Sequence[Dead] = ()
        self._places: list[int] = []
        self._size = 0
        self._at = 0

    def __len__(self) -> int:
        return self._size - self._at

    def put(self, chunk: Chunk, above: int | None = None) -> None:
        """Hold `chunk`, without what is at or below the offset `above`."""
        rows, offsets, dead = chunk.rows, chunk.offsets, chunk.dead
        if above is not None:
            first = int(offsets.search_sorted(above, side="right"))
            rows, offsets = rows.slice(first), offsets.slice(first)
            dead = [one for one in dead if one.offset > above]
        self._rows, self._offsets, self._dead = rows, offsets, dead
        self._places = [
            int(offsets.search_sorted(one.offset)) + index for index, one in enumerate(dead)
        ]
        self._size = len(rows) + len(dead)
        self._at = 0

    def take(self, limit: int) -> Chunk:
        """Return the next rows and dead letters, at most `limit` together."""
        start, end = self._at, min(self._at + limit, self._size)
        first, last = bisect_left(self._places, start), bisect_left(self._places, end)
        row, rows = start - first, (end - start) - (last - first)
        self._at = end
        chunk = Chunk(
            self._rows.slice(row, rows),
            self._offsets.slice(row, rows),
            tuple(self._dead[first:last]),
        )
        if end == self._size:
            self._rows, self._offsets = self._rows.clear(), self._offsets.clear()
            self._dead, self._places = (), []
            self._size = self._at = 0
        return chunk
