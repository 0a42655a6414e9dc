"""What a simulated run reads and writes: tapes, a client, files, a bell, dead letters."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import polars as pl

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
from headwater.flows.errors import ConnectorError
from headwater.flows.schema import schema_of

from .disk import Disk, append

__all__ = ["Bell", "Client", "FileSink", "Letters", "Outside", "Posted", "Tape", "Tapes"]


@dataclass(eq=False)
class Outside:
    """The part of the world that flows read and write; a flow's graph is made for one.

    `chance` is what readers and writers do as they like by; with None they do nothing of it.
    """

    disk: Disk
    chance: random.Random | None = None
    tapes: dict[str, Tape] = field(default_factory=dict)
    client: Client | None = None
    heard: list[str] = field(default_factory=list)
    """Lines that bells were rung with; nobody can take them back."""
    asleep: list[Callable[[], None]] = field(default_factory=list)
    """What wakes readers that had nothing."""
    sleepy: float = 0.0
    """How often a tape has nothing, for now."""


# Tapes


@dataclass(eq=False)
class Tape:
    """A partition that can be read again: items that are rows or, if bytes, dead letters."""

    items: Sequence[dict[str, Any] | bytes]
    schema: pl.Schema
    seen: int = 0
    """How far anybody has read: up to there, nobody has to wait."""

    def __post_init__(self) -> None:
        places = [n for n, item in enumerate(self.items) if isinstance(item, dict)]
        rows = [item for item in self.items if isinstance(item, dict)]
        self.rows = pl.DataFrame(rows, schema=self.schema, orient="row")
        self.offsets = pl.Series(places, dtype=pl.Int64)
        self.before = [0]
        for item in self.items:
            self.before.append(self.before[-1] + isinstance(item, dict))

    def chunk(self, first: int, stop: int) -> Chunk:
        """Return the items from one place to another."""
        start, end = self.before[first], self.before[stop]
        bad = [(n, item) for n in range(first, stop) if isinstance(item := self.items[n], bytes)]
        return Chunk(
            self.rows[start:end], self.offsets[start:end], [Dead(n, i, "not a row") for n, i in bad]
        )


@dataclass(frozen=True)
class Tapes(Source[Any]):
    """The tapes of one name, each a partition."""

    outside: Callable[[], Outside]
    name: str

    def partitions(self) -> list[str]:
        return [name for name in self.outside().tapes if name.startswith(self.name)]

    def open(self, partition: str, context: SourceContext) -> Reader:
        outside = self.outside()
        return _TapeReader(outside, outside.tapes[partition], partition, context)


class _TapeReader(Reader):
    def __init__(self, outside: Outside, tape: Tape, name: str, context: SourceContext) -> None:
        self._outside, self._tape, self._name = outside, tape, name
        self._wake = context.wake
        self._next = 0 if context.start is None else context.start + 1

    def read(self, limit: int) -> Chunk | Signal:
        outside, tape, chance = self._outside, self._tape, self._outside.chance
        first = self._next
        if chance is not None and first >= tape.seen and chance.random() < outside.sleepy:
            outside.asleep.append(self._wake)
            return Signal.WAIT
        if first >= len(tape.items):
            return Signal.END
        most = limit if chance is None else chance.randint(1, limit)
        self._next = min(first + most, len(tape.items))
        tape.seen = max(tape.seen, self._next)
        return tape.chunk(first, self._next)

    def describe(self, offset: int) -> str:
        return f"{self._name}, item {offset}"

    def close(self) -> None:
        """It holds nothing."""


# A client


@dataclass(eq=False)
class Client:
    """Posts rows until each was acknowledged: what was not when it is cut off, it sends again.

    A row is told by its `id` and by which `attempt` it is; some are no rows.
    """

    count: int
    schema: pl.Schema
    sent: set[tuple[int, int]] = field(default_factory=set)
    acknowledged: set[tuple[int, int]] = field(default_factory=set)
    attempts: dict[int, int] = field(default_factory=dict)
    queue: deque[tuple[int, int]] = field(default_factory=deque)
    """Posted, and not read yet."""
    waiting: list[tuple[int, int]] = field(default_factory=list)
    """Posted in this connection, in order; the place is the offset."""
    answered: int = 0
    """How many of them were acknowledged."""
    open: bool = False
    wake: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.left = list(range(self.count))

    @property
    def done(self) -> bool:
        """Whether every row was acknowledged."""
        return not self.left and self.answered == len(self.waiting)

    def connect(self, wake: Callable[[], None]) -> None:
        """Begin a connection."""
        self.open, self.wake = True, wake

    def disconnect(self) -> None:
        """The connection is gone, and with it what was not acknowledged."""
        lost = [one for one, _ in self.waiting[self.answered :]]
        self.left = sorted({*lost, *self.left})
        self.queue.clear()
        self.waiting, self.answered, self.open = [], 0, False

    def post(self, count: int) -> None:
        """Send some rows."""
        if not self.open:
            return
        for one in self.left[:count]:
            attempt = self.attempts.get(one, 0) + 1
            self.attempts[one] = attempt
            self.sent.add((one, attempt))
            self.queue.append((one, attempt))
            self.waiting.append((one, attempt))
        del self.left[:count]
        self.wake()

    def answer(self, offset: int) -> None:
        """Know that all up to an offset is kept."""
        for row in self.waiting[self.answered : offset + 1]:
            self.acknowledged.add(row)
        self.answered = max(self.answered, offset + 1)


def item_of(one: int, attempt: int) -> dict[str, Any] | bytes:
    """Return what a client posts."""
    if one % 11 == 5:
        return b"%d %d" % (one, attempt)
    at = 1_767_225_600_000_000 + (one * 700_000 + (one * 37 % 5) * 900_000)
    return {
        "at": at, "device": "abc"[one % 3], "value": one * 7 % 23 - 1, "id": one,
        "attempt": attempt,
    }  # fmt: skip


@dataclass(frozen=True)
class Posted(Source[Any]):
    """What the client posts: a source that cannot rewind."""

    outside: Callable[[], Outside]
    bounded: ClassVar[bool] = False
    rewinds: ClassVar[bool] = False

    def partitions(self) -> list[str]:
        return ["port"]

    def open(self, partition: str, context: SourceContext) -> Reader:
        return _PostReader(self.outside(), schema_of(context.event).polars(), context)


class _PostReader(Reader):
    def __init__(self, outside: Outside, schema: pl.Schema, context: SourceContext) -> None:
        client = outside.client
        assert client is not None
        self._client, self._disk, self._schema = client, outside.disk, schema
        self._chance = outside.chance
        self._read = 0
        self._stopped = False
        client.connect(context.wake)

    def read(self, limit: int) -> Chunk | Signal:
        client = self._client
        if not client.queue:
            if client.done and client.open:
                return Signal.END
            return Signal.WAIT
        count = min(limit, len(client.queue))
        if self._chance is not None:
            count = self._chance.randint(1, count)
        found = [item_of(*client.queue.popleft()) for _ in range(count)]
        first, self._read = self._read, self._read + count
        return _shifted(Tape(found, self._schema).chunk(0, count), first)

    def acknowledge(self, offset: int) -> None:
        self._disk.check()
        self._client.answer(offset)

    def stop(self) -> None:
        self._client.open = False

    def close(self) -> None:
        self._client.open = False


def _shifted(chunk: Chunk, first: int) -> Chunk:
    dead = [Dead(d.offset + first, d.raw, d.reason) for d in chunk.dead]
    return Chunk(chunk.rows, chunk.offsets + first, dead)


# Sinks


@dataclass(frozen=True)
class FileSink(Sink):
    """A file on the disk, of a line a row; it has the name `NAME.done` once it is complete."""

    outside: Callable[[], Outside]
    name: str
    resumes: ClassVar[bool] = True

    def open(self, context: SinkContext) -> Writer:
        return self.resume(context, None)

    def resume(self, context: SinkContext, position: bytes | None) -> Writer:
        outside = self.outside()
        return FileWriter(outside.disk, self.name, position, outside.chance)


class FileWriter(Writer):
    """Some of what is written waits in memory, as in a file's buffer."""

    def __init__(
        self, disk: Disk, name: str, position: bytes | None, chance: random.Random | None
    ) -> None:
        self._disk, self._chance = disk, chance
        self.name, self.done = f"{name}.out", f"{name}.done"
        self._buffer: list[bytes] = []
        self._named = False
        self._complete = False
        names = disk.names()
        if position is None:
            for old in {self.name, self.done} & {*names}:
                disk.remove(old)
            disk.create(self.name)
            return
        if self.name not in names and self.done in names:
            if disk.size(self.done) != int(position):
                raise ConnectorError(f"{name}: was completed after its position")
            self._complete = True
            return
        if self.name not in names or disk.size(self.name) < int(position):
            raise ConnectorError(f"{name}: is gone or cut off")
        self._do(lambda: disk.truncate(self.name, int(position)))

    def write(self, rows: pl.DataFrame) -> None:
        given = [*self._buffer, lines(rows).encode()]
        if self._chance is None or self._chance.random() < 0.7:
            self._do(lambda: append(self._disk, self.name, given))
            given = []
        self._buffer = given

    def position(self) -> bytes | None:
        if self._complete:
            return b"%d" % self._disk.size(self.done)
        self._flush()
        self._do(self._sync)
        return b"%d" % self._disk.size(self.name)

    def _sync(self) -> None:
        self._disk.sync(self.name)
        if not self._named:
            self._disk.sync_directory()
            self._named = True

    def close(self) -> None:
        if not self._complete:
            self.position()
            self._do(lambda: self._disk.rename(self.name, self.done))
            self._complete = True
            self._do(self._disk.sync_directory)

    def suspend(self) -> None:
        if not self._complete:
            self._flush()

    def abort(self) -> None:
        self._do(lambda: self._disk.remove(self.name))

    def _flush(self) -> None:
        if self._buffer:
            self._do(lambda: append(self._disk, self.name, self._buffer))
            self._buffer = []

    def _do(self, call: Callable[[], None]) -> None:
        try:
            call()
        except OSError as error:
            raise ConnectorError(f"{self.name}: cannot be written: {error.strerror}") from error


def lines(rows: pl.DataFrame) -> str:
    """Return rows as text, a line each."""
    return "".join(f"{row!r}\n" for row in rows.rows())


@dataclass(frozen=True)
class Bell(Sink):
    """What was given to it, the outside has; it cannot be taken back."""

    outside: Callable[[], Outside]

    def open(self, context: SinkContext) -> Writer:
        return _BellWriter(self.outside())


class _BellWriter(Writer):
    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def write(self, rows: pl.DataFrame) -> None:
        self._outside.disk.check()
        self._outside.heard += lines(rows).splitlines()

    def close(self) -> None:
        """It stays as it is."""

    abort = close


class Letters:
    """The dead letters that nothing reads, in a file on the disk."""

    NAME = "letters.out"

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def bury(self, letters: pl.DataFrame) -> None:
        self._do(lambda: append(self._disk, self.NAME, [lines(letters).encode()]))

    def position(self) -> bytes:
        self._do(lambda: self._disk.sync(self.NAME))
        self._do(self._disk.sync_directory)
        return b"%d" % self._disk.size(self.NAME)

    def rewind(self, position: bytes | None) -> None:
        if self.NAME not in self._disk.names():
            if position is not None:
                raise ConnectorError("the dead letters are gone")
            self._disk.create(self.NAME)
        size = int(position or 0)
        if self._disk.size(self.NAME) < size:
            raise ConnectorError("the dead letters are cut off")
        self._do(lambda: self._disk.truncate(self.NAME, size))

    def _do(self, call: Callable[[], None]) -> None:
        try:
            call()
        except OSError as error:
            raise ConnectorError(f"dead letters cannot be written: {error.strerror}") from error
