"""A source that slices a frame, and a sink that counts and sums: so the engine alone is timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import polars as pl

import headwater as hw
from headwater.flows.connector import Chunk, Reader, Signal, SinkContext, SourceContext, Writer

from .work import Totals

__all__ = ["Frame", "Sums"]


@dataclass(frozen=True, slots=True, eq=False)
class Frame(hw.Source[Any]):
    """The rows of a frame that is in memory: as many at a time as are asked for, at most `rows`."""

    frame: pl.DataFrame
    rows: int | None = None
    offsets: pl.Series = field(init=False, repr=False)

    def __post_init__(self) -> None:
        numbers = pl.int_range(self.frame.height, dtype=pl.Int64, eager=True)
        object.__setattr__(self, "offsets", numbers)

    def partitions(self) -> Sequence[str]:
        return ["memory"]

    def open(self, partition: str, context: SourceContext) -> Reader:
        return _FrameReader(self)


class _FrameReader(Reader):
    def __init__(self, source: Frame) -> None:
        self._frame = source.frame
        self._rows = source.rows
        self._offsets = source.offsets
        self._at = 0

    def read(self, limit: int) -> Chunk | Signal:
        start, rows = self._at, limit if self._rows is None else min(limit, self._rows)
        if start >= self._frame.height:
            return Signal.END
        self._at += rows
        return Chunk(self._frame.slice(start, rows), self._offsets.slice(start, rows))

    def close(self) -> None:
        """Nothing to let go of."""

    def progress(self) -> float | None:
        return min(1.0, self._at / max(1, self._frame.height))


@dataclass(frozen=True, slots=True)
class Sums(hw.Sink):
    """Adds what it gets to `totals`."""

    upsert: ClassVar[bool] = True

    totals: Totals

    def open(self, context: SinkContext) -> Writer:
        return _SumsWriter(self.totals)


class _SumsWriter(Writer):
    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def write(self, rows: pl.DataFrame) -> None:
        self._totals.add(rows)

    def close(self) -> None:
        """Nothing to complete."""

    def abort(self) -> None:
        """Nothing to undo."""
