"""The sources of a run: which partition is read next, what it gives, and which are silent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import polars as pl

from ..batch import END, START, Batch, DeadRow, partition_and_offset
from ..boundary import boundary_of
from ..clock import Clock
from ..connector import Chunk, Reader, Signal, Source, SourceContext
from ..errors import ConnectorError, FlowError, Problem
from ..generated import GeneratedSource
from ..graph import Graph, Node, SourceSpec
from .image import ChannelImage, Image
from .intake import Intake
from .options import Options
from .pace import Pace
from .progress import SourceState
from .record import Taken

__all__ = ["Inputs"]

_MAX_WAIT: Final = 0.2
"""Seconds after which a runner with nothing to read looks at the clock again."""


class Inputs:
    """The sources of a run; a partition has a number of its own in the run, its channel."""

    def __init__(self, graph: Graph, clock: Clock, options: Options) -> None:
        self._graph = graph
        self._clock = clock
        self._options = options
        self._woken = threading.Event()
        self._turn = 0
        self.sources: list[SourceState] = []

    def open(self, image: Image | None = None, *, acknowledged: bool = False) -> list[str]:
        """Open every partition, where `image` left it; return what a person should know."""
        notices: list[str] = []
        known: dict[str, list[ChannelImage]] = {}
        for channel in image.channels if image is not None else ():
            known.setdefault(channel.source, []).append(channel)
        following = 1 + max((c.number for cs in known.values() for c in cs), default=-1)
        for node in self._graph.sources():
            source = self._source(node)
            before = known.get(node.operator)
            names = tuple(source.partitions() if before is None else [c.partition for c in before])
            if before is not None and (more := sorted(set(source.partitions()) - set(names))):
                notices.append(
                    f"{node.operator}: {', '.join(more)} came after the run began and is not read"
                )
            first = following if before is None else before[0].number
            following += len(names) if before is None else 0
            state = self._state(node, source, names, first)
            self.sources.append(state)
            if image is not None and node.operator in image.intakes:
                state.intake.restore(image.intakes[node.operator])
            for partition, name in enumerate(names):
                stood = before[partition] if before is not None else None
                self._open(state, source, name, stood, acknowledged)
        return notices

    def _state(
        self, node: Node, source: Source[Any], names: tuple[str, ...], first: int
    ) -> SourceState:
        assert isinstance(node.spec, SourceSpec)
        intake = Intake(
            node.operator, node.schema.event_time, node.spec.disorder, len(names), first
        )
        state = SourceState(node, node.spec, names, [], intake, first)
        if not source.bounded:
            state.pace = Pace(self._options.batch_rows, self._graph.max_latency)
        state.rewinds = source.rewinds
        return state

    def _open(
        self,
        state: SourceState,
        source: Source[Any],
        name: str,
        channel: ChannelImage | None,
        acknowledged: bool,
    ) -> None:
        partition = len(state.readers)
        context = SourceContext(
            state.spec.event,
            boundary_of(state.spec.event),
            self._clock,
            self._options.seed,
            self._waker(state, partition),
            channel.offset if channel is not None and source.rewinds else None,
            acknowledged,
        )
        state.waiting.append(False)
        state.ended.append(channel is not None and channel.ended)
        state.idle.append(channel is not None and channel.idle)
        state.silent_since.append(self._clock.now())
        state.items.append(0 if channel is None else channel.items)
        state.offsets.append(None if channel is None else channel.offset)
        if channel is None or not channel.ended:
            state.readers.append(source.open(name, context))
            return
        again = partial(source.open, name, context) if source.rewinds else None
        state.readers.append(_Ended(again))

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

    def close(self, stack: ExitStack) -> None:
        """Have `stack` close every reader."""
        for source in self.sources:
            for reader in source.readers:
                stack.callback(reader.close)

    # Where they stand

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to read."""
        return all(all(source.ended) for source in self.sources)

    def done(self) -> float | None:
        """How much has been read, 0 to 1; None if there is no end to it."""
        shares: list[float] = []
        for source in self.sources:
            for partition, reader in enumerate(source.readers):
                share = 1.0 if source.ended[partition] else reader.progress()
                if share is None:
                    return None
                shares.append(share)
        return sum(shares) / len(shares) if shares else None

    def describe(self, origin: int) -> str:
        """Say in words where a row was read."""
        if origin < 0:
            return ""
        number, offset = partition_and_offset(origin)
        for source in self.sources:
            if 0 <= number - source.first < len(source.readers):
                return source.readers[number - source.first].describe(offset)
        return f"offset {offset}"

    def channels(self) -> tuple[ChannelImage, ...]:
        """Return where every partition stands."""
        return tuple(
            ChannelImage(
                source.first + partition, source.node.operator, name, source.offsets[partition],
                source.items[partition], source.ended[partition], source.idle[partition],
            )
            for source in self.sources
            for partition, name in enumerate(source.names)
        )  # fmt: skip

    def of(self, channel: int) -> tuple[SourceState, int]:
        """Return the source of a channel, and which of its partitions it is."""
        for source in self.sources:
            if 0 <= channel - source.first < len(source.readers):
                return source, channel - source.first
        raise ConnectorError(f"the run has no partition number {channel}")

    def schemas(self) -> Mapping[int, pl.Schema]:
        """Return the columns of each channel's rows."""
        return {
            source.first + partition: source.node.schema.polars()
            for source in self.sources
            for partition in range(len(source.names))
        }

    # Reading

    def choose(self) -> tuple[SourceState, int] | None:
        """Return what to read next: of the sources with event time, the one furthest behind.

        Sources without event time take turns with them. None if there is nothing now.
        """
        ready = [s for s in self.sources if s.next() is not None]
        timed = [s for s in ready if s.intake.timed]
        untimed = [s for s in ready if not s.intake.timed]
        self._turn += 1
        if untimed and (not timed or self._turn % 2):
            source = untimed[self._turn // 2 % len(untimed)]
        elif timed:
            source = min(timed, key=_behind)
        else:
            return None
        partition = source.next()
        assert partition is not None
        return source, partition

    def read(self, source: SourceState, partition: int) -> Chunk | Signal:
        """Read what is there, as much as the pace allows."""
        # A wake that comes between the reader's look and its answer must not be lost.
        source.waiting[partition] = True
        limit = self._options.batch_rows if source.pace is None else source.pace.limit
        chunk = source.readers[partition].read(limit)
        if chunk is not Signal.WAIT:
            source.waiting[partition] = False
        return chunk

    def read_again(self, taken: Taken) -> Chunk | None:
        """Read exactly what was taken before; None for the end.

        Raises `ConnectorError` if the source does not give it any more.
        """
        if taken.ended:
            return None
        source, partition = self.of(taken.channel)
        reader = source.readers[partition]
        if taken.first != source.items[partition]:
            raise ConnectorError(self._changed(source, partition))
        chunks: list[Chunk] = []
        missing = taken.items
        while missing:
            chunk = reader.read(missing)
            if chunk is Signal.END:
                raise ConnectorError(self._changed(source, partition))
            if isinstance(chunk, Chunk):
                chunks.append(chunk)
                missing -= chunk.rows.height + len(chunk.dead)
            else:
                self.wait()
        if len(chunks) == 1:
            return chunks[0]
        return Chunk(
            pl.concat([chunk.rows for chunk in chunks]),
            pl.concat([chunk.offsets for chunk in chunks]),
            [dead for chunk in chunks for dead in chunk.dead],
        )

    def _changed(self, source: SourceState, partition: int) -> str:
        return (
            f"{source.node.operator}: {source.names[partition]} does not hold any more what was "
            f"read of it before; bring it back, or start anew with another --state folder"
        )

    def taken(self, source: SourceState, partition: int, chunk: Chunk | None) -> Taken:
        """Return what a chunk is as a record has it; None is the end."""
        if chunk is None:
            return Taken(source.first + partition, ended=True)
        items = chunk.rows.height + len(chunk.dead)
        return Taken(source.first + partition, source.items[partition], items)

    def accept(
        self, source: SourceState, partition: int, chunk: Chunk | None, now: int
    ) -> tuple[Batch, list[DeadRow]]:
        """Take in what was read at `now`, or the end; return what may move on, and dead letters."""
        if chunk is None:
            source.ended[partition] = True
            return source.intake.end(partition), []
        source.silent_since[partition] = now
        source.idle[partition] = False
        items = chunk.rows.height + len(chunk.dead)
        source.counts.rows_in += items
        source.counts.dead += len(chunk.dead)
        source.items[partition] += items
        if items:
            source.offsets[partition] = _last(chunk)
        return source.intake.receive(partition, chunk)

    # Silence

    def silent(self, now: int) -> Iterator[int]:
        """Yield the channels that have been silent for too long and are not set aside yet."""
        for source in self.sources:
            limit = source.spec.idle
            if limit is None:
                continue
            for p in range(len(source.readers)):
                silent = source.waiting[p] and not source.ended[p] and not source.idle[p]
                if silent and now - source.silent_since[p] >= limit:
                    yield source.first + p

    def set_idle(self, channel: int) -> tuple[SourceState, Batch]:
        """Set a channel aside; return its source, and what may leave for that."""
        source, partition = self.of(channel)
        source.idle[partition] = True
        return source, source.intake.idle(partition)

    def follow(self) -> Iterator[tuple[SourceState, Batch]]:
        """Let sources that are silent altogether go along with the others."""
        timed = [s for s in self.sources if s.intake.timed]
        silent = [s for s in timed if s.silent()]
        if not silent:
            return
        others = [s.intake.watermark for s in timed if not s.silent()]
        lowest = min((w for w in others if w < END), default=START)
        for source in silent:
            if source.intake.watermark < lowest:
                yield source, source.intake.follow(lowest)

    def wait(self) -> None:
        """Wait until a reader has something again, for 0.2 s at the most."""
        self._woken.wait(_MAX_WAIT)
        self._woken.clear()


def _behind(source: SourceState) -> int:
    partition = source.next()
    return END if partition is None else source.intake.frontier(partition)


def _last(chunk: Chunk) -> int:
    """The offset of the last item; rows and dead letters each stand in order."""
    last = chunk.offsets[-1] if chunk.rows.height else -1
    return max(last, chunk.dead[-1].offset) if chunk.dead else int(last)


class _Ended(Reader):
    """A partition that had ended before the run began anew; `again` opens it to be described."""

    def __init__(self, again: Callable[[], Reader] | None) -> None:
        self._again = again
        self._opened: Reader | None = None

    def read(self, limit: int) -> Chunk | Signal:
        return Signal.END

    def describe(self, offset: int) -> str:
        if self._opened is None:
            if self._again is None:
                return super().describe(offset)
            self._opened = self._again()
        return self._opened.describe(offset)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
