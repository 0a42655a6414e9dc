"""Runs a flow: reads its sources in step, feeds the operators, writes its sinks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final

import polars as pl

from ..batch import DELETED, END, START, Batch, DeadRow, hide, partition_and_offset, visible
from ..boundary import boundary_of
from ..clock import Clock
from ..connector import Chunk, Reader, Signal, Sink, SinkContext, Source, SourceContext, Writer
from ..errors import FlowError, Problem
from ..generated import GeneratedSource
from ..graph import DEAD_LETTER, Edge, Graph, Node, SinkSpec, SourceSpec
from .executor import Executor, Local
from .intake import Intake
from .options import BATCH_ROWS, Options
from .pace import Pace
from .progress import Progress, SourceState
from .shard import Step

__all__ = ["BATCH_ROWS", "Executor", "Options", "Progress", "Runner", "SourceState"]

_MAX_WAIT: Final = 0.2
"""Seconds after which a runner with nothing to read looks at the clock again."""


class Runner:
    """Runs one flow from its sources to its sinks, in one thread.

    `bury` takes the dead letters that no operator of the flow reads.
    """

    def __init__(
        self,
        graph: Graph,
        clock: Clock,
        options: Options,
        bury: Callable[[pl.DataFrame], None],
        executor: Executor | None = None,
    ) -> None:
        self.graph = graph
        self._clock = clock
        self._options = options
        self._bury = bury
        self._executor: Executor = executor or Local(graph, options)
        self._woken = threading.Event()
        self._stopping = False
        self._completed = False
        self._sources: list[SourceState] = []
        self._writers: dict[str, Writer] = {}
        self._written: dict[str, int] = {}
        self._columns: dict[str, list[str]] = {}
        self._dead_edges = {
            graph.node(edge.node).operator: edge
            for node in graph.nodes
            for edge in node.inputs
            if edge.output == "dead"
        }
        self._dead = 0
        self._turn = 0

    # A run

    def run(
        self, watch: Callable[[Progress], None] | None = None, *, watch_every: int = 0
    ) -> Progress:
        """Run until every source has ended or `stop` was called; then complete the sinks.

        `watch` is called between steps, `watch_every` µs apart at least, with where the run
        stands. If anything fails, sinks are aborted and the error is raised.
        """
        try:
            self._open()
            watched = self._clock.now()
            while self._step():
                if watch is not None and (now := self._clock.now()) - watched >= watch_every:
                    watched = now
                    watch(self.progress())
            self._finish()
            self._completed = True
        except BaseException as error:
            self._abort(error)
            raise
        finally:
            with ExitStack() as stack:  # each is closed, whatever another raises
                stack.callback(self._executor.close)
                for source in self._sources:
                    for reader in source.readers:
                        stack.callback(reader.close)
        return self.progress()

    def stop(self) -> None:
        """Read no more; work off what was read, close what is open, and end. Any thread may.

        A signal handler may, too: so this takes no lock, and a runner that waits looks up within
        0.2 seconds.
        """
        self._stopping = True

    @property
    def completed(self) -> bool:
        """Whether every sink is complete, so that there is nothing left to abort."""
        return self._completed

    def progress(self) -> Progress:
        """Return where the run stands."""
        counts = dict(self._executor.counts())
        shares: list[float] = []
        endless = False
        for source in self._sources:
            source.counts.held = source.intake.held_rows
            counts[source.node.id] = source.counts
            for partition, reader in enumerate(source.readers):
                share = 1.0 if source.ended[partition] else reader.progress()
                endless = endless or share is None
                shares.append(share or 0.0)
        done = None if endless or not shares else sum(shares) / len(shares)
        return Progress(counts, self._sources, dict(self._written), self._dead, done)

    # Opening

    def _open(self) -> None:
        first = 0
        for node in self.graph.sources():
            source = self._source(node)
            assert isinstance(node.spec, SourceSpec)
            names = tuple(source.partitions())
            intake = Intake(
                node.operator, node.schema.event_time, node.spec.disorder, len(names), first
            )
            pace = None
            if not source.bounded:
                pace = Pace(self._options.batch_rows, self.graph.max_latency)
            state = SourceState(node, node.spec, names, [], intake, pace=pace)
            state.rewinds = source.rewinds
            self._sources.append(state)
            for number, name in enumerate(names):
                wake = self._waker(state, number)
                context = SourceContext(
                    node.spec.event,
                    boundary_of(node.spec.event),
                    self._clock,
                    self._options.seed,
                    wake,
                )
                state.waiting.append(False)
                state.ended.append(False)
                state.idle.append(False)
                state.silent_since.append(self._clock.now())
                state.readers.append(source.open(name, context))
            first += len(names)
        for node in self.graph.sinks():
            self._sink(node)
        for state in self._sources:
            if not state.names:
                self._take(state, Batch(None, END))

    def _waker(self, state: SourceState, partition: int) -> Callable[[], None]:
        def wake() -> None:
            state.waiting[partition] = False
            self._woken.set()

        return wake

    def _source(self, node: Node) -> Source[Any]:
        spec = node.spec
        assert isinstance(spec, SourceSpec)
        injected = {} if spec.settings is None else {spec.settings: self._options.settings}
        if spec.generates:
            return GeneratedSource(lambda: spec.make(**injected))
        source = spec.make(**injected)
        if not isinstance(source, Source):
            raise FlowError(
                [Problem(node.operator, f"returned {type(source).__name__}, not a hw.Source")]
            )
        return source

    def _sink(self, node: Node) -> None:
        spec = node.spec
        assert isinstance(spec, SinkSpec)
        injected = {} if spec.settings is None else {spec.settings: self._options.settings}
        sink = self._options.leaf if spec.make is None else spec.make(**injected)
        if not isinstance(sink, Sink):
            raise FlowError(
                [Problem(node.operator, f"returned {type(sink).__name__}, not a hw.Sink")]
            )
        if node.schema.key is not None and not sink.upsert:
            raise FlowError(
                [
                    Problem(
                        node.operator,
                        f"{type(sink).__name__} only appends, and its input replaces earlier "
                        f"rows by ({', '.join(node.schema.key)}); use a sink for tables, or "
                        f".changes() before it",
                    )
                ]
            )
        named = node.inputs[0].node if spec.make is None else node.operator
        context = SinkContext(named, node.schema, self._clock, self._options.seed)
        self._writers[node.id] = sink.open(context)
        self._written[node.id] = 0
        names = node.schema.names
        self._columns[node.id] = [*names, DELETED] if node.schema.key is not None else [*names]

    # Steps

    def _step(self) -> bool:
        """Read and work off one chunk; return whether there is more to come."""
        if self._stopping or all(all(source.ended) for source in self._sources):
            return False
        source = self._choose()
        if source is None:
            if not self._set_idle(self._tick()):
                self._wait()
            return True
        partition = source.next()
        assert partition is not None
        # A wake that comes between the reader's look and its answer must not be lost.
        source.waiting[partition] = True
        limit = self._options.batch_rows if source.pace is None else source.pace.limit
        chunk = source.readers[partition].read(limit)
        now = self._tick()
        if chunk is Signal.WAIT:
            return True
        source.waiting[partition] = False
        if isinstance(chunk, Chunk):
            source.silent_since[partition] = now
            source.idle[partition] = False
            self._accept(source, partition, chunk)
        else:
            source.ended[partition] = True
            self._take(source, source.intake.end(partition))
        if source.pace is not None and isinstance(chunk, Chunk):
            source.pace.took(chunk.rows.height, self._clock.now() - now)
        self._set_idle(now)
        self._follow()
        return True

    def _tick(self) -> int:
        """Tell the operators the processing time, and return it."""
        now = self._clock.now()
        self._deliver(self._executor.tick(now))
        return now

    def _accept(self, source: SourceState, partition: int, chunk: Chunk) -> None:
        source.counts.rows_in += chunk.rows.height + len(chunk.dead)
        source.counts.dead += len(chunk.dead)
        batch, dead = source.intake.receive(partition, chunk)
        self._letters(dead)
        self._take(source, batch)

    def _take(self, source: SourceState, batch: Batch) -> None:
        counts = source.counts
        counts.watermark = max(batch.watermark, counts.watermark)
        counts.batches += 1
        if batch.rows is not None:
            counts.rows_out += batch.rows.height
        self._deliver(self._executor.feed(Edge(source.node.id), batch))

    def _choose(self) -> SourceState | None:
        """Return the source to read next: of those with event time, the one furthest behind.

        Sources without event time take turns with them.
        """
        ready = [s for s in self._sources if s.next() is not None]
        timed = [s for s in ready if s.intake.timed]
        untimed = [s for s in ready if not s.intake.timed]
        self._turn += 1
        if untimed and (not timed or self._turn % 2):
            return untimed[self._turn // 2 % len(untimed)]
        return min(timed, key=_behind, default=None)

    def _set_idle(self, now: int) -> bool:
        """Set partitions aside that have been silent for too long; return whether any was."""
        any_set = False
        for source in self._sources:
            limit = source.spec.idle
            if limit is None:
                continue
            for p in range(len(source.readers)):
                silent = source.waiting[p] and not source.ended[p] and not source.idle[p]
                if silent and now - source.silent_since[p] >= limit:
                    source.idle[p] = any_set = True
                    self._take(source, source.intake.idle(p))
        return any_set

    def _follow(self) -> None:
        """Let sources that are silent altogether go along with the others."""
        timed = [s for s in self._sources if s.intake.timed]
        silent = [s for s in timed if s.silent()]
        if silent:
            others = [s.intake.watermark for s in timed if not s.silent()]
            lowest = min((w for w in others if w < END), default=START)
            for source in silent:
                if source.intake.watermark < lowest:
                    self._take(source, source.intake.follow(lowest))

    def _wait(self) -> None:
        for writer in self._writers.values():
            writer.flush()
        self._woken.wait(_MAX_WAIT)
        self._woken.clear()

    # Out

    def _deliver(self, step: Step) -> None:
        self._letters(step.dead)
        for delivery in step.deliveries:
            rows = delivery.batch.rows
            if rows is not None:
                self._write(delivery.node, rows)

    def _write(self, sink: str, rows: pl.DataFrame) -> None:
        self._writers[sink].write(rows[self._columns[sink]])
        self._written[sink] += rows.height

    def _letters(self, dead: Sequence[DeadRow]) -> None:
        """Send dead letters to the operators that read them, and bury the rest."""
        if not dead:
            return
        buried: list[DeadRow] = []
        read: dict[Edge, list[DeadRow]] = {}
        for row in dead:
            edge = self._dead_edges.get(row.operator)
            if edge is None:
                buried.append(row)
            else:
                read.setdefault(edge, []).append(row)
        self._dead += len(dead)
        if buried:
            self._bury(visible(self._letter_rows(buried)))
        for edge, rows in read.items():
            self._deliver(self._executor.feed(edge, Batch(self._letter_rows(rows), START)))

    def _letter_rows(self, dead: Sequence[DeadRow]) -> pl.DataFrame:
        frame = pl.DataFrame(
            {
                "operator": [d.operator for d in dead],
                "origin": [self._describe(d.origin) for d in dead],
                "reason": [d.reason for d in dead],
                "raw": [d.raw for d in dead],
            },
            schema=DEAD_LETTER.polars(),
        )
        return hide(frame, pl.lit(START))

    def _describe(self, origin: int) -> str:
        if origin < 0:
            return ""
        number, offset = partition_and_offset(origin)
        for source in self._sources:
            if number < len(source.readers):
                return source.readers[number].describe(offset)
            number -= len(source.readers)
        return f"offset {offset}"

    def _drain(self, source: SourceState) -> None:
        """Work off what a source that cannot rewind has taken in, as it would be lost."""
        for partition, reader in enumerate(source.readers):
            if source.ended[partition] or type(reader).stop is Reader.stop:
                continue
            reader.stop()
            while isinstance(chunk := reader.read(self._options.batch_rows), Chunk):
                self._accept(source, partition, chunk)

    def _finish(self) -> None:
        """End all streams, dead letters last, and complete the sinks."""
        for source in self._sources:
            if not source.rewinds:
                self._drain(source)
        for source in self._sources:
            for partition, ended in enumerate(source.ended):
                if not ended:
                    source.ended[partition] = True
                    self._take(source, source.intake.end(partition))
        self._deliver(self._executor.settle())
        for edge in self._dead_edges.values():
            self._deliver(self._executor.feed(edge, Batch(None, END)))
            self._deliver(self._executor.settle())
        for name, writer in list(self._writers.items()):
            writer.close()
            del self._writers[name]

    def _abort(self, error: BaseException) -> None:
        """Abort the sinks that are not complete; what one of them raises is noted on `error`."""
        for name, writer in self._writers.items():
            try:
                writer.abort()
            except Exception as further:  # whatever a sink raises
                error.add_note(f"{name} could not be aborted: {further}")


def _behind(source: SourceState) -> int:
    partition = source.next()
    return END if partition is None else source.intake.frontier(partition)
