"""A run that is recorded: what its sources gave, and what left the operators that are tapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ..batch import START, Batch
from ..connector import Chunk
from ..graph import Edge, Graph
from ..rewiring import Rewiring, tap_of
from ..snapshot import Tables
from .executor import Executor, Local
from .options import Options
from .progress import SourceState
from .record import Record, Taken
from .runner import Runner
from .shard import Counts, Delivery, Step

__all__ = ["Recorder", "Tape"]


class Tape(Protocol):
    """Where a run is recorded. Channels are numbered: first the taps, then all partitions."""

    def begin(self, sources: Sequence[SourceState]) -> None:
        """Learn of the sources, before anything is recorded; their channels follow the taps'."""
        ...

    def took(self, record: Record) -> None:
        """Record what a step is about to take; raises `ConnectorError`, `JournalError`."""
        ...

    def gave(self, tap: int, now: int, batch: Batch) -> None:
        """Record what left the operator of a tap at `now`."""
        ...


class Recorder(Runner):
    """A runner that records the streams of the operators in `at`, and otherwise does the same."""

    def __init__(
        self,
        graph: Graph,
        clock: Any,
        options: Options,
        bury: Any,
        executor: Executor | None = None,
        *,
        tape: Tape,
        at: Sequence[str],
        **others: Any,
    ) -> None:
        """`executor` runs the graph with taps, as `Rewiring(tapped=...)` makes it."""
        sources = {node.id for node in graph.sources()}
        taps = [name for name in at if name not in sources]
        inner = executor or Local(Rewiring(tapped=tuple(taps)).apply(graph), options)
        numbers = {tap_of(name): number for number, name in enumerate(taps)}
        tapped = _Tapped(inner, numbers, tape.gave) if taps else inner
        super().__init__(graph, clock, options, bury, tapped, **others)
        self._tape = tape
        self._first = len(taps)
        self._at = sources & set(at)
        self._begun = False

    def begin(self) -> None:
        super().begin()
        self._tape.begin([s for s in self._inputs.sources if s.node.id in self._at])

    def _do(
        self,
        source: SourceState | None,
        partition: int,
        chunk: Chunk | None,
        now: int,
        idle: Sequence[int],
    ) -> None:
        taken: Taken | None = None
        if source is not None and source.node.id in self._at:
            found = self._inputs.taken(source, partition, chunk)
            taken = replace(found, channel=found.channel + self._first)
        silent = tuple(c + self._first for c in idle if self._inputs.of(c)[0].node.id in self._at)
        if taken is not None or silent or self._executor.ticks:
            # Before it is done: what makes a flow fail is worth having.
            kept = chunk if taken is not None else None
            self._tape.took(Record(max(now, self._now), taken, silent, kept))
        super()._do(source, partition, chunk, now, idle)


class _Tapped:
    """Hands what comes to taps to `gave`, and the rest on."""

    def __init__(
        self,
        inner: Executor,
        taps: Mapping[str, int],
        gave: Callable[[int, int, Batch], None],
    ) -> None:
        self._inner = inner
        self._taps = taps
        self._gave = gave
        self._now = 0
        self._watermarks = dict.fromkeys(taps, START)

    def feed(self, edge: Edge, batch: Batch) -> Step:
        return self._sifted(self._inner.feed(edge, batch))

    def tick(self, now: int) -> Step:
        self._now = now
        return self._sifted(self._inner.tick(now))

    def settle(self) -> Step:
        return self._sifted(self._inner.settle())

    def _sifted(self, step: Step) -> Step:
        left: list[Delivery] = []
        for delivery in step.deliveries:
            tap = self._taps.get(delivery.node)
            if tap is None:
                left.append(delivery)
                continue
            batch = delivery.batch
            if batch.rows is not None or batch.watermark > self._watermarks[delivery.node]:
                self._watermarks[delivery.node] = batch.watermark
                self._gave(tap, self._now, batch)
        return Step(left, step.dead)

    @property
    def ticks(self) -> bool:
        return self._inner.ticks

    @property
    def workers(self) -> int:
        return self._inner.workers

    def counts(self) -> dict[str, Counts]:
        return self._inner.counts()

    def snapshot(self) -> Mapping[str, Tables]:
        return self._inner.snapshot()

    def restore(self, tables: Mapping[str, Tables]) -> None:
        self._inner.restore(tables)

    def close(self) -> None:
        self._inner.close()
