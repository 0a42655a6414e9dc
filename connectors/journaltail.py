"""The end of a journal: the segment that is written, and what of it is not yet durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from typing import Final

from ..flows.journal.commit import GroupCommit
from ..flows.journal.envelope import Coder, Keyring
from ..flows.journal.errors import JournalError, LossError, SealedError
from ..flows.journal.naming import SegmentName
from ..flows.journal.records import Head, Seal
from ..flows.journal.retention import Extent
from ..flows.journal.settings import JournalSettings
from ..flows.journal.storage import FULL, Storage
from .journalroom import Fullness, Room
from .journalsegment import OpenSegment, Schemas
from .journalstart import Held, Start
from .journalsync import Syncing

__all__ = ["TRIES", "Tail"]

TRIES: Final = 3
"""How often a disk may fail at one thing."""


class Tail:
    """Syncs, begins new segments, and writes anew what a failed sync may have lost.

    A segment is let go of, by whatever way, only when no sync of it is under way; after one that
    failed it is never synced again, and what was not known to be durable goes into the next.
    """

    def __init__(
        self,
        storage: Storage,
        start: Start,
        room: Room,
        full: Fullness,
        *,
        epoch: int,
        flow: bytes,
        settings: JournalSettings,
        keyring: Keyring | None,
        entropy: Callable[[int], bytes],
        executor: Executor | None,
        now: int,
    ) -> None:
        self._storage, self._settings, self._room, self._full = storage, settings, room, full
        self._epoch, self._flow, self._keyring, self._entropy = epoch, flow, keyring, entropy
        self.group: GroupCommit[Held] = GroupCommit(
            settings.sync, settings.interval_ms, settings.hold_bytes, start.following
        )
        self.schemas = Schemas()
        self.number = start.number
        """The number of the segment."""
        self.chain = start.chain
        """The chain's value after what is synced."""
        self.segment: OpenSegment | None = None
        self.stopped: JournalError | None = None
        """Why nothing more is taken."""
        self.syncs = self.failed = 0
        self._syncing = Syncing(executor)
        self._covered: tuple[int, bytes | None] = (0, None)
        for held in start.redo:
            if held.schema is not None:
                entry = replace(held.entry, schema=self.schemas.number(held.schema))
                held = held._replace(entry=entry)
            self.group.append(held, memoryview(held.body).nbytes, now)
        self.renew(now)

    @property
    def size(self) -> int:
        """Bytes of the segment that is written."""
        return self.segment.end if self.segment is not None else 0

    # Syncs

    def sync(self, now: int) -> None:
        """Make durable what was appended, and wait for it; raises `LossError`, `JournalError`."""
        for _ in range(TRIES):
            self.collect(wait=True)
            if not self.group.pending:
                return
            if self.segment is None:
                self.renew(now)
                continue
            self._sync_begun()
            try:
                self.segment.sync()
            except OSError as error:
                self._sync_failed(error)
                continue
            self._sync_done()
            self._mark()
        if self.group.pending:
            raise JournalError(f"the disk failed {TRIES} times to make the journal durable")

    def sync_due(self, now: int) -> None:
        """Sync if it is time to; with `interval` nobody waits for it, unless too much is held."""
        if not self.group.due(now):
            return
        if self._settings.sync == "interval" and self._syncing.under_way:
            if not self.group.crowded:
                return
            self.collect(wait=True)
        if self._settings.sync != "interval" or self.segment is None:
            self.sync(now)
            return
        try:
            self._syncing.begin(self.segment.sync)
        except RuntimeError:  # there is no thread to be had, as when the interpreter ends
            self.sync(now)
            return
        self._sync_begun()  # nothing is appended between the two

    def collect(self, *, wait: bool = False) -> None:
        """Take in how the sync under way has ended, if it has, or `wait` for it."""
        if not (self._syncing.under_way if wait else self._syncing.ended):
            return
        error = self._syncing.result()
        if error is not None:
            self._sync_failed(error)
            return
        self._sync_done()
        self._mark()

    def close(self) -> None:
        """Wait until no sync is under way."""
        self._syncing.close()

    def _sync_begun(self) -> None:
        assert self.segment is not None
        self.group.sync_begun()
        self._covered = self.segment.end, self.segment.chain

    def _sync_done(self) -> None:
        self.group.sync_done()
        self.syncs += 1
        self.chain = self._covered[1] or self.chain

    def _sync_failed(self, error: OSError) -> None:
        self.failed += 1
        self.group.sync_failed()
        self.abandon(error, sync=False)

    def _mark(self) -> None:
        """Say in the segment what of it is synced; that it cannot be said is no harm."""
        assert self.segment is not None
        try:
            self.segment.mark(self.group.synced, self._covered[0])
        except OSError as error:
            self.undo(error)

    # Segments

    def undo(self, error: OSError) -> None:
        """Cut off what a write on a full disk left."""
        assert self.segment is not None
        try:
            self.segment.undo()
        except OSError:
            self.abandon(error, sync=True)

    def abandon(self, error: OSError, *, sync: bool) -> None:
        """End a segment that cannot be relied on; what it holds of unsynced is written anew.

        `sync` is whether it may be synced once more, as no sync of it is known to have failed.
        Raises `LossError` if what is unsynced is not held.
        """
        assert self.segment is not None
        if self._syncing.under_way:
            sync = self._took(self._syncing.result()) and sync
        if sync:
            self._sync_begun()
            self._took(_error_of(self.segment.sync))
        if self.group.unsynced() is None:
            first, last = self.group.synced, self.group.appended - 1
            self.stopped = LossError(
                f"the disk failed ({error}): entries {first} to {last} may not be on it, and are "
                "not held; the journal stops here, open it again to recover what is there",
                first, last,
            )  # fmt: skip
            raise self.stopped from error
        self._closed(self.group.synced)

    def renew(self, now: int) -> None:
        """Begin a segment with what is held; raises `FullError`, `JournalError`.

        It gets its name when it is whole, so that a crash leaves the one before or both.
        """
        for _ in range(TRIES):
            error = self._begun(now)
            if error is None:
                return
            if error.errno in FULL:
                raise self._full.found("the disk is full") from error
        raise JournalError(f"a new segment cannot be begun: {error}") from error

    def roll(self, now: int) -> bool:
        """End the segment and begin the next; if that cannot be, go on with this one."""
        self.sync(now)
        if self.segment is None or self.group.appended == self.segment.first:
            return False
        return self._begun(now) is None

    def seal(self, successors: Sequence[str], now: int) -> None:
        """Sync, and say that the journal ends; raises `JournalError` if it cannot be said."""
        self.sync(now)
        if self.segment is None:
            self.renew(now)
        assert self.segment is not None
        seal = Seal(self.group.appended, tuple(successors), final=True)
        try:
            self.segment.seal(seal)
        except OSError as error:
            self._closed(self.group.appended)
            raise JournalError(f"the journal cannot be sealed: {error}; try again") from error
        self.stopped = SealedError("the journal was sealed", seal.successors)

    def _begun(self, now: int) -> OSError | None:
        """Try to begin a segment while no sync is under way; return what went wrong."""
        redo = self.group.unsynced()
        assert redo is not None
        assert not self._syncing.under_way
        settings, keyring = self._settings, self._keyring
        head = Head(
            self._epoch, self.group.synced, self.number, now, self._flow, self._entropy(16),
            settings.sync, keyring is not None, settings.chain,
            keyring.current if keyring else bytes(16), self.chain,
        )  # fmt: skip
        cipher = keyring.cipher(head.key, head.identity) if keyring else None
        coder = Coder(settings.compression, cipher, self.chain if settings.chain else None)
        file = SegmentName(self.number + 1, self._epoch).file
        segment = OpenSegment(self._storage, file, coder)
        try:
            segment.begin(head, redo)
        except OSError as error:
            if segment.named and self.segment is not None:
                # The next may be there, and what this one gets from now on would not be seen.
                self._closed(self.group.synced)
            elif not segment.named:
                with suppress(OSError):
                    segment.remove()
            return error
        self._ended(file)
        self.segment, self.number = segment, self.number + 1
        if redo:
            self._sync_begun()
            self._sync_done()
        return None

    def _closed(self, following: int) -> None:
        """Let go of the segment; it ends before `following`, whatever stands in it."""
        segment = self.segment
        assert segment is not None
        self._room.add(Extent(segment.file, segment.first, following), segment.end)
        self.segment = None

    def _ended(self, successor: str) -> None:
        """Seal the segment that was written so far; that it cannot be is no harm."""
        if self.segment is not None:
            with suppress(OSError):
                self.segment.seal(Seal(self.group.synced, (successor,)))
            self._closed(self.group.synced)

    def _took(self, error: OSError | None) -> bool:
        """Note how a sync ended of a segment that is not written any more; whether it is good."""
        if error is None:
            self._sync_done()
            return True
        self.failed += 1
        self.group.sync_failed()
        return False


def _error_of(sync: Callable[[], None]) -> OSError | None:
    try:
        sync()
    except OSError as error:
        return error
    return None
