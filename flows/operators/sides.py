"""The two inputs of a join: each is held back until the watermarks of both have passed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

import polars as pl

from ..batch import END, ORIGIN, START, WATERMARK, Batch, DeadRow, Output, visible
from ..snapshot import Tables, part_of, scalars, scalars_in, with_parts
from .ordered import GROUP, OrderedBuffer, microseconds_of

__all__ = ["LEFT", "RIGHT", "TwoSided", "behind", "late_rows"]

LEFT: Final = 0
"""The input whose rows come out."""
RIGHT: Final = 1
"""The input they are joined with."""

_SEQUENCE = "_hw_sequence"


def behind(watermark: int, hold: int) -> int:
    """Return the watermark held back by `hold` µs; before the first row and at the end, itself."""
    return watermark if watermark in (START, END) else watermark - hold


class TwoSided:
    """Takes the batches of two inputs and releases their rows in event-time order.

    Late rows of the left input go to `Output.late`; those of the right, which has another schema,
    to `Output.dead`. With `versions`, right rows of the same time leave in the order they came and
    not by their columns: in an upsert stream the later one replaces the earlier.
    """

    __slots__ = ("_buffers", "_operator", "_right_time", "_sequence", "_versions", "_watermarks")

    def __init__(
        self,
        operator: str,
        left_time: str,
        right_time: str,
        left_keys: tuple[str, ...] = (),
        versions: bool = False,
    ) -> None:
        self._operator = operator
        self._right_time = right_time
        self._versions = versions
        self._sequence = 0
        self._buffers = (OrderedBuffer(left_time, left_keys), OrderedBuffer(right_time, ()))
        self._watermarks = [START, START]

    @property
    def held_rows(self) -> int:
        """Rows that no watermark has passed yet."""
        return sum(buffer.held_rows for buffer in self._buffers)

    def take(self, port: int, batch: Batch, output: Output) -> int:
        """Take a batch on an input; return the lower of the two watermarks."""
        if batch.rows is not None and batch.rows.height:
            if port == LEFT:
                late = self._buffers[LEFT].add(batch.rows)
                if late is not None:
                    output.late.append(late)
            else:
                late = self._buffers[RIGHT].add(self._numbered(batch.rows))
                if late is not None:
                    late = late.drop(_SEQUENCE, strict=False)
                    output.dead.extend(late_rows(self._operator, late, self._right_time))
        self._watermarks[port] = max(self._watermarks[port], batch.watermark)
        return min(self._watermarks)

    def release(self, port: int, watermark: int) -> pl.DataFrame | None:
        """Return an input's rows with an event time before `watermark`, in order."""
        rows = self._buffers[port].release(watermark)
        return None if rows is None else rows.drop(GROUP, _SEQUENCE, strict=False)

    def snapshot(self) -> Tables:
        """Return the rows that wait, as ``left.rows`` and ``right.rows``, and both watermarks."""
        left, right = self._buffers
        reached = scalars(
            left_watermark=self._watermarks[LEFT],
            right_watermark=self._watermarks[RIGHT],
            sequence=self._sequence,
        )
        return with_parts(left=left.snapshot(), right=right.snapshot()) | reached

    def restore(self, tables: Tables) -> None:
        """Take back what `snapshot` gave."""
        found = scalars_in(tables)
        self._watermarks = [found["left_watermark"], found["right_watermark"]]
        self._sequence = found["sequence"]
        for buffer, part in zip(self._buffers, ("left", "right"), strict=True):
            buffer.restore(part_of(tables, part))

    def _numbered(self, rows: pl.DataFrame) -> pl.DataFrame:
        if not self._versions:
            return rows
        start, self._sequence = self._sequence, self._sequence + rows.height
        numbers = pl.int_range(start, self._sequence, dtype=pl.Int64).alias(_SEQUENCE)
        return rows.select(numbers, pl.all())


def late_rows(operator: str, rows: pl.DataFrame, time_column: str) -> Iterator[DeadRow]:
    """Yield late rows as dead letters, with the row as JSON."""
    times = rows.select(microseconds_of(time_column)).to_series()
    for row, micros, watermark, origin in zip(
        visible(rows).iter_rows(named=True), times, rows[WATERMARK], rows[ORIGIN], strict=True
    ):
        raw = json.dumps(row, default=_text, ensure_ascii=False).encode()
        reason = f"late: {_utc(micros)} is before the watermark {_utc(watermark)}"
        yield DeadRow(operator, raw, reason, origin, watermark)


def _utc(micros: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).isoformat()


def _text(value: object) -> str:
    if isinstance(value, date | time):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)
