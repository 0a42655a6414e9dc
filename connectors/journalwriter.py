"""The writer of a journal: appends, and makes room; readers, and what may be trimmed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from ..ext import batch_body
from ..flows.journal.entry import NO_SCHEMA, Entry, Step
from ..flows.journal.envelope import Keyring
from ..flows.journal.errors import FullError, JournalError
from ..flows.journal.records import Floor, Reader, SignedHead
from ..flows.journal.retention import Extent, trimmable
from ..flows.journal.settings import JournalSettings
from ..flows.journal.storage import FULL, Storage
from . import journalnotes as notes
from .journalroom import Fullness, Room
from .journalstart import Held, Signing, Start, Statistics
from .journaltail import TRIES, Tail

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["JournalWriter"]

_ROOM: Final = 1024
"""Bytes around a body, roughly: what a quota is asked for before a frame is made."""


class JournalWriter:
    """The one writer of a journal; `open_journal` makes it.

    `append` writes an entry, and returns its sequence. It is committed when it is below
    `committed`: by `sync`, or with `interval` and `never` at once. Nothing is begun in between
    calls: with `interval`, `tick` has to be called as time passes. It and `append` begin syncs
    there, and go on; what one has made durable, or that it failed, is found by a later call.
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
        executor: Executor | None,
        now: int,
    ) -> None:
        self.epoch = epoch
        self._storage, self._settings, self._flow = storage, settings, flow
        self._signer = signer
        self._room = Room(storage, settings, keyring, list(start.extents), dict(start.sizes))
        self._readers = notes.Acknowledgements(storage, dict(start.readers))
        self._floor = start.floor
        self._full = Fullness(notice)
        self._entries = self._bytes = self._trimmed = 0
        self._tail = Tail(
            storage, start, self._room, self._full, epoch=epoch, flow=flow, settings=settings,
            keyring=keyring, entropy=entropy, executor=executor, now=now,
        )  # fmt: skip
        self._group = self._tail.group

    # Appending

    @property
    def committed(self) -> int:
        """The sequence after the last entry that others may see."""
        return self._group.committed

    @property
    def durable(self) -> int:
        """The sequence after the last entry that is known to survive the death of the machine."""
        return self._group.synced

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
        now, tail = step.clock, self._tail
        tail.collect()
        body: Buffer = batch_body(batch) if batch is not None else b""
        schema = batch.schema if batch is not None else None
        number = tail.schemas.number(schema) if schema is not None else NO_SCHEMA
        rows = batch.num_rows if batch is not None else 0
        entry = Entry(self.epoch, self._group.appended, self._flow, number, rows, step)
        held = Held(entry, body, schema)
        size = memoryview(body).nbytes
        segment = tail.segment
        used = segment is not None and self._group.appended > segment.first
        if segment is not None and used and segment.due(self._settings, size, now):
            self._roll(now)
        self._store(held, size, now)
        sequence = self._group.append(held, size, now)
        self._entries += 1
        self._full.over()
        with suppress(FullError):  # of a sync that failed; the entry is held, the next call says it
            tail.sync_due(now)
        return sequence

    def tick(self, now: int) -> None:
        """Let `now` (µs) be the time: sync if it is due; drop what is too old."""
        self._usable()
        self._tail.collect()
        self._tail.sync_due(now)
        if self._settings.max_age is not None:
            self._room.expire(now, self._readers.known.values())

    def sync(self, now: int) -> int:
        """Make durable all that was appended, and wait for it; return `committed`.

        Raises as `append`.
        """
        self._usable()
        self._tail.sync(now)
        return self.committed

    def seal(self, successors: Sequence[str], now: int) -> None:
        """End the journal: it names those that go on where it ends, and takes nothing more."""
        self._usable()
        self._tail.seal(successors, now)

    def close(self, now: int) -> None:
        """Sync, sign and let go of the journal, also if that fails."""
        try:
            if self._tail.stopped is None:
                self.sync(now)
                self.sign(now)
        finally:
            self._tail.close()
            self._storage.unlock()

    def sign(self, now: int) -> None:
        """Sign the chain's value after what is synced; does nothing without a signer."""
        if self._signer is None:
            return
        head = SignedHead(
            self.epoch, self._group.synced, now, self._tail.chain, self._signer.public
        )
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
        segment = self._tail.segment
        chain = self._room.chain_before(found[-1], segment.file if segment else None)
        self._floor = Floor(found[-1].following, chain)
        notes.save_floor(self._storage, self._floor)
        for extent in found:
            self._room.remove(extent)
        self._trimmed += len(found)
        return len(found)

    @property
    def statistics(self) -> Statistics:
        """What was done so far."""
        room, tail = self._room, self._tail
        return Statistics(
            self.committed, self.following, self._entries, self._bytes, tail.syncs, tail.failed,
            len(room.extents) + (tail.segment is not None), room.total + tail.size,
            self._full.full, self._full.blocked, room.dropped, room.dropped_rows,
            room.dropped_bytes, self._trimmed,
        )  # fmt: skip

    def start(self) -> Start:
        """Where a writer of another epoch goes on; nothing was appended with this one."""
        segment = self._tail.segment
        assert segment is not None
        extent = Extent(segment.file, segment.first, self.following)
        sizes = {**self._room.sizes, segment.file: segment.end}
        return Start(
            self.following, self._tail.number, self._tail.chain, (),
            (*self._room.extents, extent), sizes, self.readers, self._floor,
        )  # fmt: skip

    # Room

    def _store(self, held: Held, size: int, now: int) -> None:
        """Write an entry; make room, or begin a new segment, if it has to be."""
        made, tail = False, self._tail
        for _ in range(TRIES):
            if tail.segment is None:
                tail.renew(now)
            assert tail.segment is not None
            need = self._over(size)
            if need > 0:
                if made or not self._make_room(need, now):
                    raise self._full.found("its quota is used up")
                made = True
                continue
            try:
                self._bytes += tail.segment.place(held)
            except OSError as error:
                if error.errno not in FULL:
                    tail.abandon(error, sync=True)
                    continue
                tail.undo(error)
                if made or not self._make_room(size + _ROOM, now, disk=True):
                    raise self._full.found("the disk is full") from error
                made = True
                continue
            return
        if made:
            raise self._full.found("dropping did not make enough")
        raise JournalError(f"the disk failed {TRIES} times to take an entry")

    def _roll(self, now: int) -> None:
        """End the segment and begin the next, if that can be; sign, and trim."""
        if self._tail.roll(now):
            with suppress(OSError):  # both are tried again when the next one ends
                self.sign(now)
                self.trim()

    def _over(self, size: int) -> int:
        """By how many bytes an entry of so many would exceed the quota."""
        most = self._settings.max_bytes
        if most is None:
            return 0
        return self._room.total + self._tail.size + size + _ROOM - most

    def _make_room(self, need: int, now: int, *, disk: bool = False) -> bool:
        """Trim, and drop what the policy takes; whether there may be room now."""
        trimmed = 0
        with suppress(OSError):  # on a full disk, the floor may find no room either
            trimmed = self.trim()
        if trimmed and self._over(need) <= 0:
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

    def _usable(self) -> None:
        if self._tail.stopped is not None:
            raise self._tail.stopped
