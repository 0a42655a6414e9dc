"""The segment that a journal is writing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from ..flows.journal.entry import encode_entry
from ..flows.journal.envelope import Coder
from ..flows.journal.naming import NEW
from ..flows.journal.records import FrameKind, Head, Seal, SyncMark
from ..flows.journal.settings import JournalSettings
from ..flows.journal.storage import Storage
from .journalstart import Held

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["OpenSegment", "Schemas"]


class Schemas:
    """Numbers the schemas that a writer has met; each has the same number in all its segments."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: list[pa.Schema] = []

    def number(self, schema: pa.Schema) -> int:
        """The number of a schema, metadata included."""
        for number, known in enumerate(self._known):
            if schema.equals(known, check_metadata=True):
                return number
        self._known.append(schema)
        return len(self._known) - 1


class OpenSegment:
    """A file that is appended to, of which the first `end` bytes are whole frames.

    It is begun beside its name, with `begin`, and gets the name when it is whole and synced, so
    that a crash leaves none of it or all. All methods raise `OSError`.
    """

    __slots__ = ("_coder", "_storage", "_written", "born", "end", "file", "first", "named")

    def __init__(self, storage: Storage, file: str, coder: Coder) -> None:
        self._storage, self._coder = storage, coder
        self._written: set[int] = set()  # the schemas that stand in it
        self.file = file + NEW
        self.end = self.first = self.born = 0
        self.named = False
        """Whether it may have its name."""

    @property
    def chain(self) -> bytes | None:
        """The chain's value after what was appended; None if there is none."""
        return self._coder.chain

    def begin(self, head: Head, redo: Sequence[Held]) -> None:
        """Write a head and what has to be written anew, durably, and take the name."""
        storage = self._storage
        if self.file in storage.names():
            storage.remove(self.file)
        storage.create(self.file)
        self.first, self.born = head.first, head.clock
        self._append(self._coder.frame(FrameKind.HEAD, head.encode()))
        for held in redo:
            self.place(held)
        # It gets its name after it was synced, so that the mark is true where it is seen.
        self.mark(head.first + len(redo), self.end)
        storage.sync(self.file)
        self.named = True
        name = self.file.removesuffix(NEW)
        storage.rename(self.file, name)
        self.file = name
        storage.sync_directory()

    def place(self, held: Held) -> int:
        """Append the frames of an entry; return their length in bytes."""
        coder, number = self._coder, held.entry.schema
        before = coder.chain
        buffers: list[Buffer] = []
        fresh = held.schema is not None and number not in self._written
        if held.schema is not None and fresh:
            payload = number.to_bytes(4, "little")
            buffers += coder.frame(FrameKind.SCHEMA, payload, held.schema.serialize())
        buffers += coder.frame(FrameKind.ENTRY, encode_entry(held.entry), held.body)
        try:
            size = self._append(buffers)
        except OSError:
            coder.chain = before
            raise
        if fresh:
            self._written.add(number)
        return size

    def mark(self, following: int, end: int) -> None:
        """Say that the first `end` bytes, and entries before `following`, are synced."""
        mark = SyncMark(following, end)
        self._append(self._coder.frame(FrameKind.SYNC, mark.encode()))

    def seal(self, seal: Seal) -> None:
        """Say, durably, that nothing follows."""
        self._append(self._coder.frame(FrameKind.SEAL, seal.encode()))
        self.sync()

    def due(self, settings: JournalSettings, size: int, now: int) -> bool:
        """Whether it should end before so many bytes are appended at `now` (µs)."""
        age = settings.segment_age
        old = age is not None and now - self.born >= age * 1_000_000
        return old or self.end + size > settings.segment_bytes

    def sync(self) -> None:
        """Make durable what was appended."""
        self._storage.sync(self.file)

    def undo(self) -> None:
        """Cut off what an append that failed left behind."""
        self._storage.truncate(self.file, self.end)

    def remove(self) -> None:
        """Remove it, before it has its name."""
        self._storage.remove(self.file)

    def _append(self, buffers: list[Buffer]) -> int:
        self._storage.append(self.file, buffers)
        size = sum([memoryview(buffer).nbytes for buffer in buffers])
        self.end += size
        return size
