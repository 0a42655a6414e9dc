"""The writer of a journal: appends, syncs, begins new segments, makes room."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from ..ext import batch_body
from ..flows.journal.commit import GroupCommit
from ..flows.journal.entry import NO_SCHEMA, Entry, Step
from ..flows.journal.envelope import Coder, Keyring
from ..flows.journal.errors import (
    FullError,
    JournalError,
    LossError,
    SealedError,
)
from ..flows.journal.naming import SegmentName
from ..flows.journal.records import Floor, Head, Reader, Seal, SignedHead
from ..flows.journal.retention import Extent, trimmable
from ..flows.journal.settings import JournalSettings
from ..flows.journal.storage import Storage
from . import journalnotes as notes
from .journalroom import Fullness, Room
from .journalsegment import OpenSegment, Schemas
from .journalstart import Held, Signing, Start, Statistics

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["JournalWriter"]

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_TRIES: Final = 3
_ROOM: Final = 1024
"""Bytes around a body, roughly: what a quota is asked for before a frame is made."""


class JournalWriter:
    """The one writer of a journal; `open_journal` makes it.

    `append` writes an entry, and returns its sequence. It is committed when it is below
    `committed`: by `sync`, or with `interval` and `never` at once. Nothing is done in between
    calls: with `interval`, `tick` has to be called as time passes.
    """

    def __init__(
        self,
        storage: Storage,
        start: Start,
        *,
        epoch: int,
        flow: bytes,
        settings: JournalSettings,
        keyring: Keyring | None,
        signer: Signing | None,
        entropy: Callable[[int], bytes],
        notice: Callable[[str], None],
        now: int,
    ) -> None:
        self.epoch = epoch
        self._storage, self._settings, self._flow = storage, settings, flow
        self._keyring, self._signer, self._entropy = keyring, signer, entropy
        self._group: GroupCommit[Held] = GroupCommit(
            settings.sync, settings.interval_ms, settings.hold_bytes, start.following
        )
        self._room = Room(storage, settings, keyring, list(start.extents), dict(start.sizes))
        self._readers = notes.Acknowledgements(storage, dict(start.readers))
        self._floor = start.floor
        self._number = start.number
        self._chain = start.chain
        self._segment: OpenSegment | None = None
        self._schemas = Schemas()
        self._stopped: JournalError | None = None
        self._full = Fullness(notice)
        self._entries = self._bytes = self._syncs = self._failed = 0
        self._trimmed = 0
        for held in start.redo:
            if held.schema is not None:
                entry = replace(held.entry, schema=self._schemas.number(held.schema))
                held = held._replace(entry=entry)
            self._group.append(held, memoryview(held.body).nbytes, now)
        self._renew(now)

    # Appending

    @property
    def committed(self) -> int:
        """The sequence after the last entry that others may see."""
        return self._group.committed

    @property
    def following(self) -> int:
        """The sequence that the next entry gets."""
        return self._group.appended

    def append(self, step: Step, batch: pa.RecordBatch | None = None) -> int:
        """Append an entry and return its sequence; the step's clock is taken for the time.

        Raises `FullError` if there is no room: nothing was appended, and the same call may be
        made again. Raises `LossError` if a disk failed and took what was promised, after which
        nothing more is taken, and `JournalError` if it fails still.
        """
        self._usable()
        now = step.clock
        body: Buffer = batch_body(batch) if batch is not None else b""
        schema = batch.schema if batch is not None else None
        number = self._schemas.number(schema) if schema is not None else NO_SCHEMA
        rows = batch.num_rows if batch is not None else 0
        entry = Entry(self.epoch, self._group.appended, self._flow, number, rows, step)
        held = Held(entry, body, schema)
        size = memoryview(body).nbytes
        segment = self._segment
        used = segment is not None and self._group.appended > segment.first
        if segment is not None and used and segment.due(self._settings, size, now):
            self._roll(now)
        self._store(held, size, now)
        sequence = self._group.append(held, size, now)
        self._entries += 1
        self._full.over()
        if self._group.due(now):
            self.sync(now)
        return sequence

    def tick(self, now: int) -> None:
        """Let `now` (µs) be the time: sync if it is due; drop what is too old."""
        self._usable()
        if self._group.due(now):
            self.sync(now)
        if self._settings.max_age is not None:
            self._room.expire(now, self._readers.known.values())

    def sync(self, now: int) -> int:
        """Make durable what was appended, with one sync; return `committed`. Raises as `append`."""
        self._usable()
        for _ in range(_TRIES):
            if not self._group.pending:
                break
            if self._segment is None:
                self._renew(now)
                continue
            try:
                self._segment.sync()
            except OSError as error:
                self._failed += 1
                self._abandon(error, sync=False)
                continue
            self._synced()
            self._mark()
        if self._group.pending:
            raise JournalError(f"the disk failed {_TRIES} times to make the journal durable")
        return self.committed

    def seal(self, successors: Sequence[str], now: int) -> None:
        """End the journal: it names those that go on where it ends, and takes nothing more."""
        self.sync(now)
        if self._segment is None:
            self._renew(now)
        assert self._segment is not None
        seal = Seal(self.following, tuple(successors), final=True)
        try:
            self._segment.seal(seal)
        except OSError as error:
            self._closed(self.following)
            raise JournalError(f"the journal cannot be sealed: {error}; try again") from error
        self._stopped = SealedError("the journal was sealed", seal.successors)

    def close(self, now: int) -> None:
        """Sync, sign and let go of the journal, also if that fails."""
        try:
            if self._stopped is None:
                self.sync(now)
                self.sign(now)
        finally:
            self._storage.unlock()

    def sign(self, now: int) -> None:
        """Sign the chain's value after what is synced; does nothing without a signer."""
        if self._signer is None:
            return
        head = SignedHead(self.epoch, self._group.synced, now, self._chain, self._signer.public)
        notes.save_head(self._storage, replace(head, signature=self._signer.sign(head.signed())))

    # Readers

    @property
    def beginning(self) -> int:
        """The sequence of the first entry that was not trimmed."""
        return self._floor.first

    @property
    def readers(self) -> dict[str, Reader]:
        """How far each reader is."""
        return dict(self._readers.known)

    def acknowledge(self, name: str, applied: int, durable: int, *, owner: bool = False) -> None:
        """Write durably that a reader has applied, and holds durably, all up to these sequences.

        -1 is for none, which makes a reader known. What was said before is never taken back:
        a lower number changes nothing. Raises ValueError for what was not committed yet.
        """
        self._usable()
        if applied >= self.committed:
            raise ValueError(
                f"{name!r} cannot have applied {applied}: {self.committed - 1} is committed"
            )
        self._readers.put(Reader(name, self.epoch, applied, durable, owner))

    def trim(self) -> int:
        """Remove the segments that every reader holds durably; return how many."""
        found = trimmable(self._room.extents, self._readers.known.values())
        if not found:
            return 0
        chain = self._room.chain_before(found[-1], self._segment.file if self._segment else None)
        self._floor = Floor(found[-1].following, chain)
        notes.save_floor(self._storage, self._floor)
        for extent in found:
            self._room.remove(extent)
        self._trimmed += len(found)
        return len(found)

    @property
    def statistics(self) -> Statistics:
        """What was done so far."""
        room, segment = self._room, self._segment
        return Statistics(
            self.committed, self.following, self._entries, self._bytes, self._syncs, self._failed,
            len(room.extents) + (segment is not None), room.total + self._size, self._full.full,
            self._full.blocked, room.dropped, room.dropped_rows, room.dropped_bytes, self._trimmed,
        )  # fmt: skip

    def start(self) -> Start:
        """Where a writer of another epoch goes on."""
        segment = self._segment
        assert segment is not None
        extent = Extent(segment.file, segment.first, self.following)
        sizes = {**self._room.sizes, segment.file: segment.end}
        return Start(
            self.following, self._number, self._chain, (), (*self._room.extents, extent), sizes,
            self.readers, self._floor,
        )  # fmt: skip

    # Frames

    def _store(self, held: Held, size: int, now: int) -> None:
        """Write an entry; make room, or begin a new segment, if it has to be."""
        made = False
        for _ in range(_TRIES):
            if self._segment is None:
                self._renew(now)
            assert self._segment is not None
            need = self._over(size)
            if need > 0:
                if made or not self._make_room(need, now):
                    raise self._no_room("its quota is used up")
                made = True
                continue
            try:
                self._bytes += self._segment.place(held)
            except OSError as error:
                if error.errno not in _FULL:
                    self._abandon(error, sync=True)
                    continue
                self._undo(error)
                if made or not self._make_room(size + _ROOM, now, disk=True):
                    raise self._no_room("the disk is full") from error
                made = True
                continue
            return
        if made:
            raise self._no_room("dropping did not make enough")
        raise JournalError(f"the disk failed {_TRIES} times to take an entry")

    def _undo(self, error: OSError) -> None:
        """Cut off what a write on a full disk left."""
        assert self._segment is not None
        try:
            self._segment.undo()
        except OSError:
            self._abandon(error, sync=True)

    def _mark(self) -> None:
        """Say in the segment that it is synced; that it cannot be said is no harm."""
        assert self._segment is not None
        try:
            self._segment.mark(self._group.synced)
        except OSError as error:
            self._undo(error)

    def _synced(self) -> None:
        self._group.sync_done()
        self._syncs += 1
        assert self._segment is not None
        self._chain = self._segment.chain or self._chain

    # Segments

    def _renew(self, now: int) -> None:
        """Begin a segment with what is held; raises `FullError`, `JournalError`.

        It gets its name when it is whole, so that a crash leaves the one before or both.
        """
        for _ in range(_TRIES):
            error = self._begun(now)
            if error is None:
                return
            if error.errno in _FULL:
                raise self._no_room("the disk is full") from error
        raise JournalError(f"a new segment cannot be begun: {error}") from error

    def _begun(self, now: int) -> OSError | None:
        """Try to begin a segment; return what went wrong."""
        redo = self._group.unsynced()
        assert redo is not None
        settings, keyring = self._settings, self._keyring
        head = Head(
            self.epoch, self._group.synced, self._number, now, self._flow, self._entropy(16),
            settings.sync, keyring is not None, settings.chain,
            keyring.current if keyring else bytes(16), self._chain,
        )  # fmt: skip
        cipher = keyring.cipher(head.key, head.identity) if keyring else None
        coder = Coder(settings.compression, cipher, self._chain if settings.chain else None)
        file = SegmentName(self._number + 1, self.epoch).file
        segment = OpenSegment(self._storage, file, coder)
        try:
            segment.begin(head, redo)
        except OSError as error:
            if segment.named and self._segment is not None:
                # The next may be there, and what this one gets from now on would not be seen.
                self._closed(self._group.synced)
            elif not segment.named:
                with suppress(OSError):
                    segment.remove()
            return error
        self._ended(file)
        self._segment, self._number = segment, self._number + 1
        if redo:
            self._synced()
        return None

    def _abandon(self, error: OSError, *, sync: bool) -> None:
        """End a segment that cannot be relied on; what it holds of unsynced is written anew.

        `sync` is whether it may be synced once more, as no sync of it has failed.
        """
        assert self._segment is not None
        if sync:
            with suppress(OSError):
                self._segment.sync()
                self._synced()
        if self._group.unsynced() is None:
            first, last = self._group.synced, self._group.appended - 1
            self._stopped = LossError(
                f"the disk failed ({error}): entries {first} to {last} may not be on it, and are "
                "not held; the journal stops here, open it again to recover what is there",
                first, last,
            )  # fmt: skip
            raise self._stopped from error
        self._closed(self._group.synced)

    def _closed(self, following: int) -> None:
        """Let go of the segment; it ends before `following`, whatever stands in it."""
        segment = self._segment
        assert segment is not None
        self._room.add(Extent(segment.file, segment.first, following), segment.end)
        self._segment = None

    def _ended(self, successor: str) -> None:
        """Seal the segment that was written so far; that it cannot be is no harm."""
        if self._segment is not None:
            with suppress(OSError):
                self._segment.seal(Seal(self._group.synced, (successor,)))
            self._closed(self._group.synced)

    @property
    def _size(self) -> int:
        """Bytes of the segment that is written."""
        return self._segment.end if self._segment is not None else 0

    def _roll(self, now: int) -> None:
        """End the segment and begin the next; if that cannot be, go on with this one."""
        self.sync(now)
        if self._segment is None or self._group.appended == self._segment.first:
            return
        if self._begun(now) is not None:
            return
        with suppress(OSError):  # both are tried again when the next one ends
            self.sign(now)
            self.trim()

    # Room

    def _over(self, size: int) -> int:
        """By how many bytes an entry of so many would exceed the quota."""
        most = self._settings.max_bytes
        if most is None:
            return 0
        return self._room.total + self._size + size + _ROOM - most

    def _make_room(self, need: int, now: int, *, disk: bool = False) -> bool:
        """Trim, and drop what the policy takes; whether there may be room now."""
        if self.trim() and self._over(need) <= 0:
            return True
        if self._settings.policy == "block":
            return False
        if disk:
            self._room.give_up_reserve()
        freed = self._room.drop(need, self._readers.known.values())
        if freed < need:
            self._roll(now)
            freed += self._room.drop(need - freed, self._readers.known.values())
        return freed > 0

    def _no_room(self, why: str) -> FullError:
        self._full.found(why)
        return FullError(f"the journal has no room: {why}; try again when there is")

    def _usable(self) -> None:
        if self._stopped is not None:
            raise self._stopped
