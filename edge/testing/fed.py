"""What the sources of a bench are given by hand; it outlives the runs that read it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import groupby
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import polars as pl
from pydantic_core import to_json

from ...connectors.pending import Pending
from ...flows.boundary import Bad, Checked, boundary_of
from ...flows.clock import Clock
from ...flows.connector import Chunk, Dead, Reader, Signal, Source, SourceContext
from ...flows.durations import Duration, microseconds
from ...flows.errors import HeadwaterError
from ...flows.event import Event
from ...flows.rows import checked_frame

__all__ = ["Abort", "ArrowStream", "Command", "Died", "End", "Fed", "FedSource", "Item", "Pause"]


@dataclass(frozen=True, slots=True)
class End:
    """Fed to a partition: it ends here."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Fed to a partition: what follows can be read so much later, or when it is resumed."""

    duration: Duration | None = None


@dataclass(frozen=True, slots=True)
class Abort:
    """Fed to a partition: who comes to read on here dies, once; then it is read on."""

    unsynced: bool = False
    """Whether the machine dies with the process, so that what was not synced is lost too."""


Command: TypeAlias = End | Pause | Abort


@runtime_checkable
class ArrowStream(Protocol):
    """Rows as other libraries hand them over: an Arrow table or record batch, a polars frame."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


Item: TypeAlias = Event | Mapping[str, Any] | bytes | str | ArrowStream | Command


class Died(BaseException):
    """The process of a run dies in the middle of a step."""

    def __init__(self, unsynced: bool) -> None:
        super().__init__()
        self.unsynced = unsynced


@dataclass(slots=True)
class _Waiting:
    """A pause: from when it is come to, it holds until a time (µs), if that is known, or `over`."""

    duration: int | None
    until: int | None = None
    over: bool = False


@dataclass(slots=True)
class _Dying:
    unsynced: bool
    done: bool = False


@dataclass(slots=True)
class _Given:
    """Items of one kind; the first has the offset `first`."""

    kind: type
    items: list[Any]
    first: int
    event: type[Event]
    chunk: Chunk

    def as_rows_of(self, event: type[Event]) -> Chunk:
        """Return what the boundary makes of them; another version of a flow may check anew."""
        if event is not self.event:
            if self.kind is Event:  # of the version that they were made for
                self.kind, self.items = Mapping, [_fields(item) for item in self.items]
            self.event, self.chunk = event, _chunk(self.kind, self.items, event, self.first)
        return self.chunk


_Entry: TypeAlias = _Given | _Waiting | _Dying | End


class Fed:
    """A partition: what it was given so far, in order.

    A source that `rewinds` gives everything again; one that does not gives only what was not
    acknowledged, as a sender that got no answer sends it again.
    """

    def __init__(self, name: str, event: type[Event], clock: Clock, *, rewinds: bool) -> None:
        self.name = name
        self.ended = False
        """Whether its end was fed."""
        self.rewinds = rewinds
        self.entries: list[_Entry] = []
        self.acknowledged: int | None = None
        self.event = event
        """The class of what it gives; another version of the flow may have another."""
        self._clock = clock
        self._count = 0
        self._wake: Callable[[], None] = _nobody
        self.last_read = clock.now()
        """When rows were last read, or it was opened (µs)."""

    def feed(self, items: Iterable[Item]) -> None:
        """Add items; raises `HeadwaterError` after the end, `SchemaError` for an unfit frame."""
        added: list[_Entry] = []
        count, ended = self._count, self.ended
        for kind, run in groupby(map(_plain, items), _kind):
            if ended:
                raise HeadwaterError(f"{self.name} has ended; nothing can be fed after its end")
            if kind is object:
                for item in run:
                    added.append(_command(item))
                    ended = ended or isinstance(item, End)
                continue
            given: list[Any] = list(run)
            if kind is Event:
                self._check_class(given)
            for part in [[frame] for frame in given] if kind is pl.DataFrame else [given]:
                chunk = _chunk(kind, part, self.event, count)
                added.append(_Given(kind, part, count, self.event, chunk))
                count += chunk.rows.height + len(chunk.dead)
        self.entries += added
        self._count, self.ended = count, ended

    def _check_class(self, events: Iterable[Event]) -> None:
        for event in events:
            if not isinstance(event, self.event):
                raise HeadwaterError(f"{event!r} is fed to a source of {self.event.__name__}")

    def read_by(self, wake: Callable[[], None]) -> None:
        """A run has opened it, and is to be woken by `wake`."""
        self._wake = wake
        self.last_read = self._clock.now()

    def wake(self) -> None:
        """Have the run look whether there is something to read."""
        self._wake()

    def resume(self) -> None:
        """Let the pauses that were fed so far be over."""
        for entry in self.entries:
            if isinstance(entry, _Waiting):
                entry.over = True

    @property
    def paused(self) -> bool:
        """Whether a pause that was come to, or is to come, is not over."""
        return any(isinstance(entry, _Waiting) and not entry.over for entry in self.entries)

    def due(self) -> int | None:
        """When the pause that was come to ends by itself (µs), None if there is none."""
        now = self._clock.now()
        waiting = (e.until for e in self.entries if isinstance(e, _Waiting) and not e.over)
        return min((until for until in waiting if until is not None and until > now), default=None)

    def passes(self, entry: _Waiting | _Dying | End) -> bool:
        """Whether a reader that has come to a command may read on; raises `Died`."""
        if isinstance(entry, End):
            return False
        if isinstance(entry, _Dying):
            if entry.done:
                return True
            entry.done = True
            raise Died(entry.unsynced)
        if entry.until is None and entry.duration is not None:
            entry.until = self._clock.now() + entry.duration
        entry.over = entry.over or (entry.until is not None and entry.until <= self._clock.now())
        return entry.over

    def gave(self) -> None:
        """Note that rows are read now."""
        self.last_read = self._clock.now()


def _nobody() -> None:
    """No run has opened the partition yet."""


def _plain(item: Item) -> Item:
    return pl.DataFrame(item) if isinstance(item, ArrowStream) else item


def _kind(item: Item) -> type:
    """Return what an item is: `object` stands for a command."""
    if isinstance(item, End | Pause | Abort):
        return object
    for kind in (Event, Mapping, pl.DataFrame):
        if isinstance(item, kind):
            return kind
    if isinstance(item, bytes | str):
        return bytes
    raise HeadwaterError(
        f"{item!r} cannot be fed: give events, dicts, frames, or a line of JSON as bytes or text"
    )


def _fields(event: Event) -> dict[str, Any]:
    return {field.name: getattr(event, field.name) for field in fields(event)}


def _command(item: Any) -> _Waiting | _Dying | End:
    if isinstance(item, Pause):
        return _Waiting(None if item.duration is None else microseconds(item.duration))
    return _Dying(item.unsynced) if isinstance(item, Abort) else End()


def _chunk(kind: type, items: list[Any], event: type[Event], first: int) -> Chunk:
    """Return what the boundary makes of items of one kind; raises `SchemaError`."""
    checked = _checked(kind, items, event)
    dead = [Dead(first + bad.index, bad.raw, bad.reason) for bad in checked.bad]
    return Chunk(checked.rows, checked.index.cast(pl.Int64) + first, dead)


def _checked(kind: type, items: list[Any], event: type[Event]) -> Checked:
    boundary = boundary_of(event)
    if kind is Event:
        return _events(items, event)
    if kind is pl.DataFrame:
        return boundary.columns(items[0])
    if kind is Mapping:
        lines = [to_json(item, inf_nan_mode="constants", fallback=str) for item in items]
        return boundary.json_lines(lines)
    return boundary.json_lines([i.encode() if isinstance(i, str) else i for i in items])


def _events(events: Sequence[Event], event: type[Event]) -> Checked:
    """Take events as a generator's are taken: one that does not fit its columns is dead."""
    rows, unfit = checked_frame(events, event)
    lost = {index for index, _ in unfit}
    kept = [index for index in range(len(events)) if index not in lost]
    bad = [Bad(index, repr(events[index]).encode(), reason) for index, reason in unfit]
    return Checked(rows, pl.Series(kept, dtype=pl.Int64), bad)


@dataclass(frozen=True, slots=True)
class FedSource(Source[Any]):
    """A source whose partitions are fed by hand."""

    fed: Mapping[str, Fed] = field(repr=False)
    bounded: ClassVar[bool] = True

    def partitions(self) -> list[str]:
        return list(self.fed)

    def open(self, partition: str, context: SourceContext) -> Reader:
        return _FedReader(self.fed[partition], context, several=len(self.fed) > 1)


class UnrewindableSource(FedSource):
    """A source that keeps nothing of what was acknowledged."""

    rewinds: ClassVar[bool] = False


class _FedReader(Reader):
    def __init__(self, fed: Fed, context: SourceContext, *, several: bool) -> None:
        self._fed = fed
        self._start = context.start if fed.rewinds else fed.acknowledged
        self._several = several
        fed.read_by(context.wake)
        self._pending = Pending()
        self._entry = 0

    def read(self, limit: int) -> Chunk | Signal:
        fed = self._fed
        while not len(self._pending):
            if self._entry == len(fed.entries):
                return Signal.WAIT
            entry = fed.entries[self._entry]
            if isinstance(entry, _Given):
                self._pending.put(entry.as_rows_of(fed.event), self._start)
            elif not fed.passes(entry):
                return Signal.END if isinstance(entry, End) else Signal.WAIT
            self._entry += 1
        fed.gave()
        return self._pending.take(limit)

    def acknowledge(self, offset: int) -> None:
        self._fed.acknowledged = offset

    def describe(self, offset: int) -> str:
        place = f"item {offset + 1} that was fed"
        return f"{self._fed.name}, {place}" if self._several else place

    def close(self) -> None:
        """It holds nothing."""


def source_of(fed: Mapping[str, Fed], *, rewinds: bool) -> partial[FedSource]:
    """Return what makes the source that gives what was fed."""
    return partial(FedSource if rewinds else UnrewindableSource, fed)
