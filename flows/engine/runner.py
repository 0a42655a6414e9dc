"""Runs a flow: reads its sources in step, feeds the operators, writes its sinks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from enum import Enum
from functools import partial
from typing import Final

import polars as pl

from ..batch import END, START, Batch, DeadRow, visible
from ..clock import Clock
from ..connector import Chunk, Reader, Signal
from ..graph import Edge, Graph
from ..statecheck import check_snapshots
from .executor import Executor, Local
from .image import Image
from .inputs import Inputs
from .letters import dead_edges, letter_rows
from .log import RunLog
from .made import Made
from .options import BATCH_ROWS, Options
from .outputs import Letters, Outputs
from .progress import Progress, SourceState
from .record import Record
from .room import Room
from .shard import Counts, Step, total
from .signatures import flow_hash, kept_state, signatures_of

_GROUP: Final = 16
"""Steps that are committed together at the most."""

__all__ = ["BATCH_ROWS", "Did", "Executor", "Options", "Progress", "Runner", "SourceState"]


class Did(Enum):
    """What a step of a runner did."""

    SOMETHING = "something"
    NOTHING = "nothing"
    """There is nothing to read now; something may come."""
    END = "end"
    """Every source has ended, or the runner was stopped."""


class Runner:
    """Runs one flow from its sources to its sinks, in one thread.

    `bury` takes the dead letters that no operator of the flow reads. With a `log` the run is
    durable: it goes on where the log left it, and `letters` is what `bury` is of. `notice` is told
    what a person should know.
    """

    def __init__(
        self,
        graph: Graph,
        clock: Clock,
        options: Options,
        bury: Callable[[pl.DataFrame], None],
        executor: Executor | None = None,
        *,
        log: RunLog | None = None,
        letters: Letters | None = None,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.graph = graph
        self._clock = clock
        self._bury = bury
        self._options = options
        self._executor: Executor = executor or Local(graph, options)
        self._inputs = Inputs(graph, clock, options)
        self._room = Room(None if log is None else log.wait, notice)
        self._outputs = Outputs(graph, clock, options, self._room)
        self._log = log
        self._grave = letters
        self._notice = notice
        self._numbers = {node.id: number for number, node in enumerate(graph.nodes)}
        self._stopping = False
        self._completed = False
        self._finished = False
        """Whether every source had ended before this process began."""
        self._now = 0
        self._dead = 0
        self._dead_edges = dead_edges(graph)
        self._made = Made()
        self._uncommitted: deque[tuple[int, Made]] = deque()
        self._before: Mapping[str, Counts] = {}
        """What went through each operator before this process began."""
        self._flow = b""
        self._signatures: Mapping[str, str] = {}
        """Of the code, and of operators, if there is a log."""

    # A run

    def run(
        self, watch: Callable[[Progress], None] | None = None, *, watch_every: int = 0
    ) -> Progress:
        """Run until every source has ended or `stop` was called; then complete the sinks.

        A durable run that is stopped does not complete them: it goes on another time. `watch` is
        called between steps, `watch_every` µs apart at least, with where the run stands. If
        anything fails, sinks are aborted and the error is raised.
        """
        try:
            self.begin()
            watched = self._clock.now()
            while (done := self.step()) is not Did.END:
                if done is Did.NOTHING:
                    self._inputs.wait()
                if watch is not None and (now := self._clock.now()) - watched >= watch_every:
                    watched = now
                    watch(self.progress())
            self.finish()
        except BaseException as error:
            self.abort(error)
            raise
        finally:
            self.close()
        return self.progress()

    def begin(self) -> None:
        """Open what is outside, and do again what the log says; what `run` does first."""
        log = self._log
        if log is not None:
            check_snapshots(self.graph)
            self._flow, self._signatures = flow_hash(self.graph), signatures_of(self.graph)
        image = None if log is None else log.image
        if image is not None:
            reset, workers = self._options.reset, self._executor.workers
            self._executor.restore(kept_state(image, self.graph, reset, workers))
            self._now, self._dead = image.now, image.dead
            self._before = {name: Counts(**found) for name, found in image.counts.items()}
        for text in self._inputs.open(image, acknowledged=log is not None):
            self._notice(text)
        if self._grave is not None:
            self._grave.rewind(None if image is None else image.letters)
        self._outputs.open(image, durable=log is not None)
        if log is not None and image is not None and image.finished:
            self._notice("the run has ended before: only its sinks are completed")
            self._finished = True
            return
        if image is None:
            for source in self._inputs.sources:
                if not source.names:
                    self._take(source, Batch(None, END))
            self._put_out(self._made)
            self._made = Made()
        if log is not None:
            for record in log.records(self._inputs.schemas()):
                self._again(record)
            # Without it the next start would not know the partitions, or what began anew.
            self._save(log, needed=True)

    def finish(self) -> None:
        """End all streams, dead letters last, and complete the sinks; what `run` does last."""
        log = self._log
        for source in self._inputs.sources:
            if not source.rewinds:
                self._drain(source)
        if log is not None and not self._inputs.ended:
            self._save(log)
            self._outputs.suspend()
            self._completed = True
            return
        if not self._finished:
            self._end()
            if log is not None:
                # Without it, a sink that is completed now could not be gone on with.
                self._save(log, finished=True, needed=True)
        self._outputs.close()
        self._completed = True

    def abort(self, error: BaseException) -> None:
        """Abort the sinks after `error`; what `run` does if anything fails, before `close`."""
        self._outputs.abort(error)

    def close(self) -> None:
        """Let go of everything; what is not complete stays so."""
        with ExitStack() as stack:  # each is closed, whatever another raises
            if self._log is not None:
                stack.callback(self._log.close)
            stack.callback(self._executor.close)
            self._inputs.close(stack)

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
        for source in self._inputs.sources:
            source.counts.held = source.intake.held_rows
            counts[source.node.id] = source.counts
        for name, before in self._before.items():
            if name in counts:
                now = counts[name]
                counts[name] = total((before, now))
                counts[name].watermark = max(before.watermark, now.watermark)
                # What operators say of themselves goes on by itself.
                counts[name].held, counts[name].dropped = now.held, now.dropped
        done = self._inputs.done()
        written = dict(self._outputs.written)
        return Progress(counts, self._inputs.sources, written, self._dead, done)

    def _end(self) -> None:
        for source in self._inputs.sources:
            for partition, ended in enumerate(source.ended):
                if not ended:
                    self._accept(source, partition, None)
        self._deliver(self._executor.settle())
        for edge in self._dead_edges.values():
            self._deliver(self._executor.feed(edge, Batch(None, END)))
            self._deliver(self._executor.settle())
        self._commit()
        self._put_out(self._made)
        self._made = Made()

    def _drain(self, source: SourceState) -> None:
        """Work off what a source that cannot rewind has taken in, as it would be lost."""
        for partition, reader in enumerate(source.readers):
            if source.ended[partition] or type(reader).stop is Reader.stop:
                continue
            reader.stop()
            while isinstance(chunk := reader.read(self._options.batch_rows), Chunk):
                self._do(source, partition, chunk, self._clock.now(), ())

    # Steps

    def step(self) -> Did:
        """Read and work off one chunk, without waiting for one."""
        if self._finished or self._stopping or self._inputs.ended:
            return Did.END
        place = self._inputs.choose()
        if place is None:
            now = self._clock.now()
            silent = tuple(self._inputs.silent(now))
            self._do(None, 0, None, now, silent)
            if silent:
                return Did.SOMETHING
            self._commit()
            self._outputs.flush()
            return Did.NOTHING
        source, partition = place
        chunk = self._inputs.read(source, partition)
        now = self._clock.now()
        if chunk is Signal.WAIT:
            self._do(None, 0, None, now, ())
            return Did.SOMETHING
        taken = chunk if isinstance(chunk, Chunk) else None
        if taken is not None and not taken.rows.height and not taken.dead:
            self._do(None, 0, None, now, ())  # a record says what was taken, and this is nothing
            return Did.SOMETHING
        self._do(source, partition, taken, now, tuple(self._inputs.silent(now)))
        if source.pace is not None and taken is not None:
            source.pace.took(taken.rows.height, self._clock.now() - now)
        return Did.SOMETHING

    def _do(
        self,
        source: SourceState | None,
        partition: int,
        chunk: Chunk | None,
        now: int,
        idle: Sequence[int],
    ) -> None:
        """Work off what a partition gave (None: its end) at `now`, if there is a source."""
        log = self._log
        taken = None if source is None else self._inputs.taken(source, partition, chunk)
        self._perform(source, partition, chunk, now, idle)
        if log is None:
            return
        if taken is not None or idle or self._executor.ticks:
            kept = chunk if source is not None and not source.rewinds else None
            # With workers, what came out now may be of steps before: no two runs have the same.
            marks = () if self._executor.workers else self._made.marks(self._numbers)
            log.append(Record(self._now, taken, tuple(idle), kept, marks))
            if source is not None and (offset := source.offsets[partition]) is not None:
                self._made.acknowledge = source.readers[partition], offset
            self._uncommitted.append((log.following, self._made))
            self._made = Made()
        self._hold(log)  # what came of steps before
        self._release()
        if len(self._uncommitted) >= _GROUP:
            self._commit()
        if log.due(now):
            self._save(log)

    def _again(self, record: Record) -> None:
        """Do what a record says that was done."""
        taken, chunk = record.taken, record.chunk
        if taken is None:
            self._perform(None, 0, None, record.now, record.idle)
        else:
            source, partition = self._inputs.of(taken.channel)
            if chunk is None:
                chunk = self._inputs.read_again(taken)
            self._perform(source, partition, chunk, record.now, record.idle)
        workers = self._executor.workers
        odd = [] if workers else self._made.unlike(record.outputs, self.graph, self._numbers)
        if odd:
            self._notice(
                f"{', '.join(odd)}: gave other rows when a step was done again; what its functions "
                f"return depends on more than their rows"
            )
        self._put_out(self._made)
        self._made = Made()

    def _perform(
        self,
        source: SourceState | None,
        partition: int,
        chunk: Chunk | None,
        now: int,
        idle: Iterable[int],
    ) -> None:
        self._now = now = max(now, self._now)
        self._deliver(self._executor.tick(now))
        if source is not None:
            self._accept(source, partition, chunk, now)
        for channel in idle:
            self._take(*self._inputs.set_idle(channel))
        for other, batch in self._inputs.follow():
            self._take(other, batch)

    def _accept(
        self, source: SourceState, partition: int, chunk: Chunk | None, now: int = 0
    ) -> None:
        batch, dead = self._inputs.accept(source, partition, chunk, now)
        self._letters(dead)
        self._take(source, batch)

    def _take(self, source: SourceState, batch: Batch) -> None:
        counts = source.counts
        counts.watermark = max(batch.watermark, counts.watermark)
        counts.batches += 1
        if batch.rows is not None:
            counts.rows_out += batch.rows.height
        self._deliver(self._executor.feed(Edge(source.node.id), batch))

    # Out

    def _deliver(self, step: Step) -> None:
        self._letters(step.dead)
        for delivery in step.deliveries:
            rows = delivery.batch.rows
            if rows is None:
                continue
            if self._log is None:
                self._outputs.write(delivery.node, rows)
            else:
                self._made.rows.append((delivery.node, rows))

    def _letters(self, dead: Sequence[DeadRow]) -> None:
        """Send dead letters to the operators that read them, and bury the rest."""
        if not dead:
            return
        self._dead += len(dead)
        describe = self._inputs.describe
        buried = [row for row in dead if row.operator not in self._dead_edges]
        if buried:
            letters = visible(letter_rows(buried, describe))
            if self._log is None:
                self._bury(letters)
            else:
                self._made.letters.append(letters)
        for operator, edge in self._dead_edges.items():
            read = [row for row in dead if row.operator == operator]
            if read:
                self._deliver(self._executor.feed(edge, Batch(letter_rows(read, describe), START)))

    # A durable run

    def _hold(self, log: RunLog) -> None:
        """Keep what came out back until all that was appended is committed."""
        made = self._made
        if made.rows or made.letters:
            self._uncommitted.append((log.following, made))
            self._made = Made()

    def _settle(self, log: RunLog) -> None:
        """Have all that was fed worked off, and hold what comes of it."""
        while True:
            step = self._executor.settle()
            self._deliver(step)
            if not step.dead:
                break
        self._hold(log)

    def _release(self) -> None:
        """Put out what committed steps gave."""
        assert self._log is not None
        committed = self._log.committed
        while self._uncommitted and self._uncommitted[0][0] <= committed:
            self._put_out(self._uncommitted.popleft()[1])

    def _commit(self) -> None:
        """Commit what was done, and put it out."""
        if self._log is not None and self._uncommitted:
            self._log.sync()
            self._release()

    def _put_out(self, made: Made) -> None:
        for sink, rows in made.rows:
            self._outputs.write(sink, rows)
        for letters in made.letters:
            self._room.found(partial(self._bury, letters))
        if made.acknowledge is not None:
            reader, offset = made.acknowledge
            reader.acknowledge(offset)

    def _save(self, log: RunLog, *, finished: bool = False, needed: bool = False) -> None:
        self._settle(log)
        self._commit()
        inputs, outputs = self._inputs, self._outputs
        log.save(
            Image(
                log.following,
                self._now,
                self._flow,
                {node.id: node.operator for node in self.graph.nodes},
                inputs.channels(),
                {source.node.operator: source.intake.snapshot() for source in inputs.sources},
                self._executor.snapshot(),
                self._signatures,
                outputs.positions(),
                None if self._grave is None else self._room.found(self._grave.position),
                dict(outputs.written),
                {name: asdict(found) for name, found in self.progress().counts.items()},
                dead=self._dead,
                finished=finished,
                workers=self._executor.workers,
            ),
            needed=needed,
        )
