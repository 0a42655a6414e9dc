"""The segments that a journal no longer writes to, and the room that they take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Final

from ..flows.journal.entry import Entry
from ..flows.journal.envelope import Keyring
from ..flows.journal.errors import FullError
from ..flows.journal.naming import RESERVE
from ..flows.journal.records import NONE, Reader
from ..flows.journal.retention import Candidate, Extent, chosen, first_droppable
from ..flows.journal.settings import JournalSettings
from ..flows.journal.storage import Storage
from ..flows.journal.survey import Survey, survey
from .journalrewrite import bury

__all__ = ["Fullness", "Room"]

_SHARE: Final = 16
"""When there is no room, at least this part of it is made, lest each append drops a little."""
_GLANCE: Final = 4096
_CHUNK: Final = 1 << 20


class Fullness:
    """Whether an append found no room, and how many did; tells `notice` when that changes."""

    __slots__ = ("_notice", "blocked", "full")

    def __init__(self, notice: Callable[[str], None]) -> None:
        self._notice = notice
        self.full, self.blocked = False, 0

    def found(self, why: str) -> FullError:
        """There was no room; return what to raise."""
        self.blocked += 1
        if not self.full:
            self.full = True
            self._notice(f"the journal takes nothing: {why}; it goes on when there is room")
        return FullError(f"the journal has no room: {why}; try again when there is")

    def over(self) -> None:
        """There was room."""
        if self.full:
            self.full = False
            self._notice("the journal has room again")


class Room:
    """Drops and removes; counts what was dropped."""

    def __init__(
        self,
        storage: Storage,
        settings: JournalSettings,
        keyring: Keyring | None,
        extents: list[Extent],
        sizes: dict[str, int],
    ) -> None:
        self._storage, self._settings, self._keyring = storage, settings, keyring
        self.extents, self.sizes = extents, sizes
        self.dropped = self.dropped_rows = self.dropped_bytes = 0
        self._reserve()

    @property
    def total(self) -> int:
        """Bytes of all these segments."""
        return sum(self.sizes.values())

    def add(self, extent: Extent, size: int) -> None:
        """Take over a segment that has ended."""
        self.extents.append(extent)
        self.sizes[extent.file] = size

    def remove(self, extent: Extent) -> None:
        """Remove the oldest segment, durably; raises `OSError`."""
        if extent.file in self._storage.names():
            self._storage.remove(extent.file)
        self._storage.sync_directory()
        self.extents.remove(extent)
        del self.sizes[extent.file]

    def chain_before(self, last: Extent, current: str | None) -> bytes:
        """The chain's value where the segment after `last` begins."""
        place = self.extents.index(last) + 1
        file = self.extents[place].file if place < len(self.extents) else current
        if file is None:
            return NONE
        head = survey(self._storage.read(file, 0, _GLANCE), file, self._keyring, most=1).head
        return head.chain if head else NONE

    def drop(self, need: int, readers: Collection[Reader]) -> int:
        """Drop entries by the policy until `need` bytes are free; return how many are."""
        if need <= 0:
            return 0
        need = max(need, (self._settings.max_bytes or 0) // _SHARE)
        if RESERVE not in self._storage.names():
            need += 2 * self._reserved()
        return self._drop(need, readers, None)

    def expire(self, now: int, readers: Collection[Reader]) -> int:
        """Drop what is older than `max_age` at `now` (µs); return how many bytes are free."""
        age = self._settings.max_age
        if age is None:
            return 0
        return self._drop(1 << 62, readers, now - int(age * 1_000_000))

    def give_up_reserve(self) -> None:
        """Let dropping have the bytes that were kept for it."""
        with suppress(OSError):
            self._storage.remove(RESERVE)

    def _drop(self, need: int, readers: Collection[Reader], older: int | None) -> int:
        settings = self._settings
        policy = "drop_oldest" if older is not None else settings.policy
        found: dict[str, dict[int, int]] = {}
        candidates: list[Candidate] = []
        for extent, seen in self._droppable(readers):
            rows = {}
            for item in seen.items:
                entry = item.record
                if not isinstance(entry, Entry) or entry.sequence >= extent.following:
                    continue
                step, size = entry.step, item.header.size
                old = older is None or step.clock < older
                if entry.sequence >= first_droppable(readers) and size and old:
                    candidates.append(Candidate(entry.sequence, step.priority, size, step.clock))
                    rows[entry.sequence] = entry.rows
            found[extent.file] = rows
            if policy == "drop_oldest" and sum(c.size for c in candidates) >= need:
                break
        taken = chosen(candidates, policy, need, settings.keep_one_in)
        freed = 0
        for extent in self.extents:
            here = taken & found.get(extent.file, {}).keys()
            if here and not self._buried(extent, frozenset(here)):
                continue
            if here:
                self.dropped += len(here)
                self.dropped_rows += sum(found[extent.file][n] for n in here)
                size = self._storage.size(extent.file)
                freed += self.sizes[extent.file] - size
                self.sizes[extent.file] = size
        self.dropped_bytes += freed
        self._reserve()
        return freed

    def _buried(self, extent: Extent, sequences: frozenset[int]) -> bool:
        """Whether there was room enough to write a segment without these entries."""
        policy = self._settings.policy
        try:
            bury(self._storage, extent.file, extent.following, sequences, policy, self._keyring)
        except OSError:
            return False
        return True

    def _droppable(self, readers: Iterable[Reader]) -> Iterable[tuple[Extent, Survey]]:
        first = first_droppable(readers)
        for extent in self.extents:
            if extent.following > first:
                data = self._storage.read(extent.file, 0)
                yield extent, survey(data, extent.file, self._keyring)

    def _reserved(self) -> int:
        """Bytes to keep: to thin out a segment takes the room of another."""
        settings = self._settings
        if settings.policy == "block" or not settings.reserve_bytes:
            return 0
        least = 0 if settings.policy == "drop_oldest" else settings.segment_bytes
        return max(settings.reserve_bytes, least)

    def _reserve(self) -> None:
        """Keep bytes to give up when the disk is full, if there is room for them."""
        size = self._reserved()
        if not size or RESERVE in self._storage.names() or self._storage.free() < 2 * size:
            return
        try:
            self._storage.create(RESERVE)
            for left in range(size, 0, -_CHUNK):
                self._storage.append(RESERVE, [bytes(min(left, _CHUNK))])
        except OSError:
            self.give_up_reserve()
