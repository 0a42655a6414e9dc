"""What a connector implements: how data gets into a flow and out of it.

A `Source` and a `Sink` are frozen descriptions: to make one does no I/O, so that a flow can be
loaded, checked and drawn on a machine that has neither the files nor the broker. `open` does the
I/O, and gives a `Reader` or a `Writer`, which the engine calls from one thread.

Contract of a reader (the conformance suite checks each sentence):

- `read(limit)` returns at most `limit` rows and dead letters together, in the order of the
  partition, none missing in the middle. It does not wait for data: a reader with nothing to give
  now returns `Signal.WAIT`, and calls `context.wake()` (from any thread) once there is something.
- Offsets grow strictly from row to row (a dead letter has one as well), and are the same when the
  partition is read again.
- After `Signal.END` every further call returns `Signal.END`.
- A row that is not of the event's type is a `Dead` with its bytes, never an exception; a
  `ConnectorError` means that the partition as a whole cannot be read.
- `close` may be called at any time, more than once.

Contract of a writer: rows are complete and visible to others after `close` returns and not
before (or, for a sink that is not a file, after `flush`); `abort` leaves nothing half-written. A
method that raises `NoRoomError` has done nothing, and can be called again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Generic, TypeVar

import polars as pl

from .boundary import Boundary
from .clock import Clock
from .event import Event
from .schema import Schema

__all__ = [
    "DELETED",
    "Chunk",
    "Dead",
    "Reader",
    "Signal",
    "Sink",
    "SinkContext",
    "Source",
    "SourceContext",
    "Writer",
]

T_co = TypeVar("T_co", covariant=True)

DELETED = "_deleted"
"""The column (bool) that follows an upsert stream's own columns in what a writer gets."""


class Signal(Enum):
    """What a reader answers when it has no rows to give."""

    WAIT = "wait"
    """Nothing now; the reader calls `wake` when there is something."""
    END = "end"
    """Nothing any more."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A piece of input that is not a row of the source's event."""

    offset: int
    raw: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of one partition, in its order.

    `rows` has exactly the columns of the event's schema; `offsets` (Int64, one a row) says where
    in the partition each row stands; `dead` are the pieces among them that were no rows.
    """

    rows: pl.DataFrame
    offsets: pl.Series
    dead: Sequence[Dead] = ()


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What the engine hands to a source that opens a partition."""

    event: type[Event]
    boundary: Boundary
    clock: Clock
    seed: int
    wake: Callable[[], None]
    """Call from any thread when a reader that answered `Signal.WAIT` has something again."""
    start: int | None = None
    """Read from the first offset above this one; None reads from the beginning."""
    acknowledged: bool = False
    """Whether `Reader.acknowledge` will say what is kept; else what was read counts as kept."""


class Reader(ABC):
    """An open partition."""

    @abstractmethod
    def read(self, limit: int) -> Chunk | Signal:
        """Return up to `limit` rows, or why there are none."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files, sockets and threads."""

    def acknowledge(self, offset: int) -> None:  # noqa: B027 - files need not know
        """Know that everything up to `offset` is kept and will not be asked for again.

        Called only where `SourceContext.acknowledged`, from the thread that reads.
        """

    def stop(self) -> None:  # noqa: B027 - what can be read again has nothing to do here
        """Take nothing more in; what was taken in already can still be read.

        For sources that cannot rewind, such as one that has answered for what waits in its queue.
        After it, `read` gives what waits, and then `Signal.WAIT` or `Signal.END`.
        """

    def describe(self, offset: int) -> str:
        """Say where `offset` is in a person's words, such as ``orders.csv, line 17``."""
        return f"offset {offset}"

    def progress(self) -> float | None:
        """Return how much of the partition has been read, 0 to 1, or None if it has no end."""
        return None


class Source(ABC, Generic[T_co]):
    """Describes where events come from; T is the event's class."""

    bounded: ClassVar[bool] = True
    """Whether every partition comes to an end by itself."""
    rewinds: ClassVar[bool] = True
    """Whether a partition can be read again from an offset."""

    @abstractmethod
    def partitions(self) -> Sequence[str]:
        """Return the partitions' names, always in the same order.

        Raises `ConnectorError` if they cannot be found out, for example as no file matches.
        """

    @abstractmethod
    def open(self, partition: str, context: SourceContext) -> Reader:
        """Open one partition; raises `ConnectorError`."""


@dataclass(frozen=True, slots=True)
class SinkContext:
    """What the engine hands to a sink that opens."""

    operator: str
    schema: Schema
    clock: Clock
    seed: int


class Writer(ABC):
    """An open sink."""

    @abstractmethod
    def write(self, rows: pl.DataFrame) -> None:
        """Take rows: the schema's columns, and `DELETED` after them if the stream is upsert."""

    def flush(self) -> None:  # noqa: B027 - files have nothing to do here
        """Hand over what is held back, where the outside can take a part."""

    def position(self) -> bytes | None:
        """Where it stands, for `Sink.resume`; what was written so far is durable after it.

        None for a writer whose sink does not resume.
        """
        return None

    @abstractmethod
    def close(self) -> None:
        """Complete what was written and make it visible."""

    def suspend(self) -> None:
        """Stop without completing, for `Sink.resume` to go on; only where the sink `resumes`."""
        self.close()

    @abstractmethod
    def abort(self) -> None:
        """Stop without completing; leave nothing half-written."""


class Sink(ABC):
    """Describes where events go."""

    upsert: ClassVar[bool] = False
    """Whether the sink takes upsert streams (rows that replace and delete earlier ones)."""
    resumes: ClassVar[bool] = False
    """Whether `resume` undoes what was written after a position, so that nothing comes twice."""

    @abstractmethod
    def open(self, context: SinkContext) -> Writer:
        """Open for writing; raises `ConnectorError`."""

    def resume(self, context: SinkContext, position: bytes | None) -> Writer:
        """Open for a run that may be killed and goes on; raises `ConnectorError`.

        `position` is what an earlier writer gave, None for the first. What was written after it is
        undone, as the rows come again; a sink that cannot undo (`resumes`) opens anew.
        """
        return self.open(context)
