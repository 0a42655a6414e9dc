"""Runs whole flows on rows given by hand, through the public API and the real engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import polars as pl

import headwater as hw
from headwater.flows.clock import Clock, ManualClock
from headwater.flows.connector import (
    Chunk,
    Dead,
    Reader,
    Signal,
    Sink,
    SinkContext,
    Source,
    SourceContext,
    Writer,
)
from headwater.flows.engine.runner import Options, Progress, Runner
from headwater.flows.schema import schema_of

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """Return a time so many seconds after 2026."""
    return EPOCH + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Rows(Source[Any]):
    """A source of partitions that are lists of dicts; a string among them is a dead letter."""

    given: Mapping[str, Sequence[Any]]
    sizes: tuple[int, ...] = ()
    """How many rows each read gives at most, in turn; as many as asked for if empty."""

    def partitions(self) -> list[str]:
        return list(self.given)

    def open(self, partition: str, context: SourceContext) -> Reader:
        return _RowsReader(self.given[partition], self.sizes, context)


class _RowsReader(Reader):
    def __init__(self, rows: Sequence[Any], sizes: tuple[int, ...], context: SourceContext) -> None:
        self._rows = rows
        self._sizes = sizes
        self._reads = 0
        self._next = 0
        self._schema = schema_of(context.event).polars()

    def read(self, limit: int) -> Chunk | Signal:
        if self._next >= len(self._rows):
            return Signal.END
        size = min(limit, self._sizes[self._reads % len(self._sizes)]) if self._sizes else limit
        self._reads += 1
        first, self._next = self._next, min(self._next + size, len(self._rows))
        good: list[dict[str, Any]] = []
        offsets: list[int] = []
        dead: list[Dead] = []
        for offset in range(first, self._next):
            row = self._rows[offset]
            if isinstance(row, str):
                dead.append(Dead(offset, row.encode(), "not a row"))
            else:
                good.append(row)
                offsets.append(offset)
        frame = pl.DataFrame(good, schema=self._schema, orient="row")
        return Chunk(frame, pl.Series(offsets, dtype=pl.Int64), dead)

    def close(self) -> None:
        pass

    def describe(self, offset: int) -> str:
        return f"row {offset}"

    def progress(self) -> float:
        return self._next / max(1, len(self._rows))


@dataclass(frozen=True)
class Kept(Sink):
    """A sink that keeps what is written."""

    upsert: ClassVar[bool] = True
    frames: list[pl.DataFrame] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    def open(self, context: SinkContext) -> Writer:
        return _KeptWriter(self)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every row, in the order it was written."""
        return [row for frame in self.frames for row in frame.to_dicts()]


class _KeptWriter(Writer):
    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    def write(self, rows: pl.DataFrame) -> None:
        self._kept.frames.append(rows)

    def close(self) -> None:
        self._kept.ends.append("closed")

    def abort(self) -> None:
        self._kept.ends.append("aborted")


@dataclass
class Ran:
    """What a run gave."""

    progress: Progress
    buried: list[dict[str, Any]]


def run(
    flow: hw.Flow, *, batch_rows: int = 65_536, clock: Clock | None = None, settings: Any = None
) -> Ran:
    """Run a flow to its end, in this thread."""
    buried: list[dict[str, Any]] = []
    options = Options(batch_rows=batch_rows, leaf=Kept(), settings=settings)
    runner = Runner(
        flow.graph(),
        clock or ManualClock(),
        options,
        lambda frame: buried.extend(frame.to_dicts()),
    )
    return Ran(runner.run(), buried)
