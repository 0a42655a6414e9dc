"""A run whose steps are those of a recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from ..batch import END, ORIGIN, START, Batch, origins
from ..clock import ManualClock
from ..connector import Chunk
from ..graph import Graph
from .executor import Executor
from .options import Options
from .progress import SourceState
from .runner import Did, Runner

__all__ = ["Arrival", "Given", "Place", "Replayer"]

Place = tuple[str, str]
"""An operator and one of its partitions."""


@dataclass(frozen=True, slots=True)
class Given:
    """What left an operator: a batch, with the offset of its first row in the recording."""

    batch: Batch
    first: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """One step: at `now` (µs), what came of a partition, and which were set aside as silent.

    Without a `place` only time moves; without `content` the partition has ended.
    """

    now: int
    place: Place | None = None
    content: Chunk | Given | None = None
    idle: tuple[Place, ...] = ()


class Replayer(Runner):
    """A runner that does what `arrivals` say, in their order and at their time.

    Sources that are not fed (see `Rewiring`) are read as ever, as far as event time has come. An
    arrival of None is a moment in which nothing comes. `clock` goes by the arrivals. With a log,
    what sources gave can be replayed, and `arrivals` begin after the steps that the log has.
    """

    def __init__(
        self,
        graph: Graph,
        clock: ManualClock,
        options: Options,
        bury: Any,
        executor: Executor | None = None,
        *,
        arrivals: Iterator[Arrival | None],
        fed: frozenset[str],
        **others: Any,
    ) -> None:
        super().__init__(graph, clock, options, bury, executor, **others)
        self._virtual = clock
        self._arrivals = arrivals
        self._fed = fed
        self._next: Arrival | None = None
        self._over = False
        self._read_untimed = False
        self._places: dict[Place, tuple[SourceState, int]] = {}

    def begin(self) -> None:
        self._advance()
        if self._next is not None:
            self._virtual.advance(max(0, self._next.now - self._virtual.now()))
        super().begin()
        for source in self._inputs.sources:
            if source.node.id in self._fed:
                source.waiting[:] = [True] * len(source.waiting)  # so that nothing reads it
                for partition, name in enumerate(source.names):
                    self._places[source.node.id, name] = source, partition

    def step(self) -> Did:
        if self._stopping or self._finished:
            return Did.END
        if self._next is None and not self._over:
            self._advance()
        if self._live_first():
            return super().step()
        arrival = self._next
        if arrival is None:
            if self._over:
                return Did.END
            self._outputs.flush()
            return Did.SOMETHING
        self._virtual.advance(max(0, arrival.now - self._virtual.now()))
        self._next, self._read_untimed = None, False
        self._arrive(arrival)
        return Did.SOMETHING

    def _advance(self) -> None:
        try:
            self._next = next(self._arrivals)
        except StopIteration:
            self._over = True

    def _live_first(self) -> bool:
        """Whether a source that is no part of the recording is to be read now."""
        arrival = self._next
        place = self._inputs.choose()
        if place is None:
            return self._over and any(self._unread(s) for s in self._inputs.sources)
        source, partition = place
        if self._over:
            return self._unread(source)
        if arrival is None:
            return False
        if not source.intake.timed:
            first, self._read_untimed = not self._read_untimed, True
            return first
        if arrival.place is None:
            return False
        fed, part = self._places[arrival.place]
        reached = fed.intake.frontier(part)
        if isinstance(arrival.content, Given):
            reached = fed.counts.watermark
        return reached > START and source.intake.frontier(partition) <= reached

    def _unread(self, source: SourceState) -> bool:
        """Whether a source that has an end, and is no part of the recording, is not there yet."""
        return source.node.id not in self._fed and source.pace is None and not all(source.ended)

    def _arrive(self, arrival: Arrival) -> None:
        idle = [_channel(*self._places[place]) for place in arrival.idle]
        if arrival.place is None:
            self._do(None, 0, None, arrival.now, idle)
            return
        source, partition = self._places[arrival.place]
        content = arrival.content
        if not isinstance(content, Given):
            self._do(source, partition, content, arrival.now, idle)
            return
        self._perform(None, 0, None, arrival.now, idle)
        batch = content.batch
        if batch.rows is not None:
            source.counts.rows_in += batch.rows.height
            offsets = batch.rows.select(ORIGIN).with_row_index(offset=content.first)["index"]
            numbers = origins(_channel(source, partition), offsets.cast(pl.Int64))
            batch = Batch(batch.rows.with_columns(numbers), batch.watermark)
        source.ended[partition] = batch.watermark >= END
        self._take(source, batch)


def _channel(source: SourceState, partition: int) -> int:
    return source.first + partition
