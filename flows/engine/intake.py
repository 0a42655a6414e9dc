"""Takes in what a source's readers give: watermarks, origins, and the partitions as one stream."""

from __future__ import annotations

from typing import Final

import polars as pl

from ...ext import watermarks
from ..batch import END, START, WATERMARK, Batch, DeadRow, origin_of, origins
from ..connector import Chunk
from ..merge import Merge
from ..snapshot import Tables, part_of, with_parts

__all__ = ["Intake"]

_START_MARK: Final = pl.Series([START], dtype=pl.Int64)


class Intake:
    """A source's partitions: a state machine from chunks to batches in canonical order.

    A partition's watermark is its newest event time so far minus the disorder allowed; a row
    carries the watermark from just before it. `first` is the flow-wide number of partition 0.
    """

    __slots__ = ("_disorder", "_ended", "_first", "_merge", "_newest", "_operator", "_time")

    def __init__(
        self, operator: str, time: str | None, disorder: int, partitions: int, first: int
    ) -> None:
        self._operator: Final = operator
        self._time: Final = time
        self._disorder: Final = disorder
        self._first: Final = first
        self._newest = [START + disorder] * partitions
        self._ended = [False] * partitions
        self._merge = Merge(partitions, in_order=time is not None)

    @property
    def timed(self) -> bool:
        """Whether rows have event time."""
        return self._time is not None

    @property
    def held_rows(self) -> int:
        """Rows that wait for other partitions."""
        return self._merge.held_rows

    @property
    def watermark(self) -> int:
        """The watermark of the partitions together."""
        return self._merge.watermark

    @property
    def ended(self) -> bool:
        """Whether every partition has ended."""
        return all(self._ended)

    def frontier(self, partition: int) -> int:
        """Return a partition's own watermark."""
        return self._merge.frontier(partition)

    def receive(self, partition: int, chunk: Chunk) -> tuple[Batch, list[DeadRow]]:
        """Take what a reader gave; return what may move on, and dead letters."""
        number = self._first + partition
        dead = [
            DeadRow(self._operator, d.raw, d.reason, origin_of(number, d.offset))
            for d in chunk.dead
        ]
        rows = chunk.rows
        if not rows.height:
            return self._merge.receive(partition, Batch(None, self.frontier(partition))), dead
        hidden = origins(number, chunk.offsets)
        if self._time is None:
            marks, watermark = _START_MARK.new_from_index(0, rows.height), START
        else:
            marks, watermark = self._marks(partition, rows.get_column(self._time))
        marked = rows.hstack([marks.alias(WATERMARK), hidden])
        return self._merge.receive(partition, Batch(marked, watermark)), dead

    def _marks(self, partition: int, times: pl.Series) -> tuple[pl.Series, int]:
        """Return the watermark before each row, and the one after all of them."""
        newest, disorder = self._newest[partition], self._disorder
        marks, newest = watermarks(times.rechunk(), newest, disorder)
        self._newest[partition] = newest
        return pl.Series(marks), newest - disorder

    def end(self, partition: int) -> Batch:
        """A partition has ended."""
        self._ended[partition] = True
        return self._merge.receive(partition, Batch(None, END))

    def idle(self, partition: int) -> Batch:
        """A partition has been silent for so long that the others go on without it."""
        return self._merge.idle(partition)

    def follow(self, watermark: int) -> Batch:
        """All partitions are silent; go along with the other sources up to `watermark`."""
        return self._merge.follow(watermark)

    def snapshot(self) -> Tables:
        """Return how far each partition is, as ``partitions``, and what the merge holds."""
        newest = pl.Series(self._newest, dtype=pl.Int64)
        ended = pl.Series(self._ended, dtype=pl.Boolean)
        partitions = pl.DataFrame({"newest": newest, "ended": ended})
        return {"partitions": partitions} | with_parts(merge=self._merge.snapshot())

    def restore(self, tables: Tables) -> None:
        """Take back what `snapshot` gave; the partitions are the same."""
        self._newest = tables["partitions"]["newest"].to_list()
        self._ended = tables["partitions"]["ended"].to_list()
        self._merge.restore(part_of(tables, "merge"))
