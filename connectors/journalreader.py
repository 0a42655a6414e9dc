"""Reading a journal, from any sequence on, while it is written or afterwards."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import pyarrow as pa

from ..ext import Ending, batch_of, scan_frames
from ..flows.journal.entry import Entry, StepKind
from ..flows.journal.envelope import Cipher, Keyring, open_body, open_header
from ..flows.journal.errors import DamageError, EpochError, FormatError, JournalError, SealedError
from ..flows.journal.naming import SegmentName, segments_in
from ..flows.journal.records import FrameKind, Gap, Reader, Seal, SyncMark, Tombstone
from ..flows.journal.storage import Storage
from ..flows.journal.survey import cipher_of, head_of, record_of, survey
from . import journalnotes as notes

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["JournalReader", "Record", "Written"]

_CHUNK: Final = 256
_GLANCE: Final = 4096


@dataclass(frozen=True, slots=True)
class Written:
    """An entry and its body, in place where it is mapped, neither encrypted nor compressed."""

    entry: Entry
    body: Buffer
    schema: pa.Schema | None

    def batch(self, *, full: bool = False) -> pa.RecordBatch | None:
        """The rows, or None if the entry has no body.

        Raises `FormatError` for what is no batch; `full` is as for `batch_of`.
        """
        if self.schema is None:
            return None
        try:
            batch = batch_of(self.body, self.schema, full=full)
        except ValueError as error:
            raise FormatError(f"entry {self.entry.sequence}: {error}") from error
        if batch.num_rows != self.entry.rows:
            raise FormatError(f"entry {self.entry.sequence} has not the rows that it says")
        return batch


Record: TypeAlias = Written | Tombstone | Gap
"""What stands at a sequence: an entry, what was left of one, or a repaired gap."""


class JournalReader:
    """Reads a journal in order, from `position`, the sequence that comes next.

    Only what is committed is seen: what `committed` says if it is given, as by the writer in the
    same process; otherwise, with the policy `always`, what a sync mark covers, and with the others
    what is there. `since` is how far the reader was, to be told of another epoch's history.
    """

    def __init__(
        self,
        storage: Storage,
        start: int = 0,
        *,
        keyring: Keyring | None = None,
        committed: Callable[[], int] | None = None,
        since: Reader | None = None,
    ) -> None:
        self.position = start
        self._storage, self._keyring, self._committed = storage, keyring, committed
        self._since = since
        self._segment: SegmentName | None = None
        self._closed = False
        self._data: Buffer = b""
        self._base = self._at = 0
        self._cipher: Cipher | None = None
        self._schemas: dict[int, pa.Schema] = {}
        self._firsts: dict[SegmentName, int] = {}
        self._marks = False
        self._expected = 0
        self._ready: deque[tuple[int, Record]] = deque()
        self._visible = 0

    def read(self, most: int = _CHUNK) -> list[Record]:
        """Up to `most` records that are there; none if there is nothing more for now.

        Raises `DamageError` where the journal is damaged, after all that comes before;
        `JournalError` if the position was trimmed or is beyond the end; `EpochError` if the
        history up to here is not the one that the reader has seen; `SealedError` at the end of a
        journal that goes on in others; and `OSError`.
        """
        found: list[Record] = []
        while len(found) < most:
            self._take(found, most)
            if len(found) >= most:
                break
            try:
                if not self._more():
                    break
            except JournalError:
                self._take(found, most)
                if found:
                    break
                raise
        return found

    def _take(self, found: list[Record], most: int) -> None:
        """Hand out what is ready and committed."""
        limit = self._committed() if self._committed else self._visible
        while self._ready and len(found) < most and self._ready[0][0] < limit:
            last, record = self._ready.popleft()
            self._judge(record)
            found.append(record)
            self.position = last + 1

    def _judge(self, record: Record) -> None:
        """Raise if another epoch went on before where the reader had been."""
        since = self._since
        if since is None or not isinstance(record, Written):
            return
        step = record.entry.step
        if step.kind is not StepKind.OPEN or record.entry.epoch <= since.epoch:
            return
        if since.applied >= record.entry.sequence:
            raise EpochError(
                f"the reader {since.name!r} has applied {since.applied} of epoch "
                f"{since.epoch}, and "
                f"epoch {record.entry.epoch} went on from {record.entry.sequence}: it has seen "
                "what "
                "is no part of the journal any more, and has to begin from a snapshot before that"
            )

    def _more(self) -> bool:
        """Read further frames; whether there may be more after them."""
        if self._segment is None and not self._enter():
            return False
        progress = self._scan()
        if progress:
            return True
        following = self._after()
        if following is None:
            return self._end()
        if not self._closed:  # it has ended since: what came last is there now, in place
            self._closed = True
            self._refresh()
            return True
        self._leave(following)
        return True

    def _enter(self) -> bool:
        """Go to the segment that has the position; whether there is one."""
        names = segments_in(self._storage.names())
        if not names:
            return False
        target = self._ready[-1][0] + 1 if self._ready else self.position
        chosen = next((name for name in reversed(names) if self._first_of(name) <= target), None)
        if chosen is None:
            first = self._first_of(names[0])
            raise JournalError(f"entry {target} was trimmed; the journal begins with {first}")
        self._segment = chosen
        self._closed = chosen != names[-1]
        self._base = self._at = 0
        self._schemas = {}
        self._expected = target
        self._refresh()
        return True

    def _first_of(self, name: SegmentName) -> int:
        known = self._firsts.get(name)
        if known is not None:
            return known
        found = survey(self._storage.read(name.file, 0, _GLANCE), name.file, self._keyring, most=1)
        if found.head is None:
            raise DamageError(found.checked()[0])
        self._firsts[name] = found.head.first
        return found.head.first

    def _refresh(self) -> None:
        """See what stands in the segment now: in place if it has ended, else what is new."""
        assert self._segment is not None
        file = self._segment.file
        if self._closed:
            self._data, self._base = self._storage.map(file), 0
        else:
            self._data, self._base = self._storage.read(file, self._at), self._at

    def _scan(self) -> bool:
        """Take in frames; whether there were any."""
        scan = scan_frames(self._data, self._at - self._base, max_frames=_CHUNK)
        if not scan.frames and not self._closed:
            self._refresh()
            scan = scan_frames(self._data, self._at - self._base, max_frames=_CHUNK)
        view = memoryview(self._data)
        for frame in scan.frames:
            self._frame(bytes(view[frame.header]), view[frame.body])
            self._at = self._base + frame.end
        stuck = not scan.frames and scan.ending is Ending.CORRUPT and scan.resume is not None
        if stuck and not self._closed and self._after() is None:
            raise self._damage(None)
        return bool(scan.frames)

    def _frame(self, data: bytes, body: Buffer) -> None:
        if self._at == 0:
            head = head_of(data)
            self._cipher = cipher_of(head, self._keyring)
            self._marks = head.sync == "always"
            return
        header = open_header(data, self._cipher)
        if header.kind is FrameKind.SCHEMA:
            number = int.from_bytes(header.payload, "little")
            self._schemas[number] = _schema(open_body(header, body, self._cipher))
            return
        record = record_of(header)
        if isinstance(record, SyncMark):
            self._visible = max(self._visible, record.following)
        elif isinstance(record, Seal):
            self._visible = max(self._visible, record.following)
            if record.final:
                self._closed, self._sealed = True, record
        elif isinstance(record, Entry):
            if record.sequence >= self._expected:
                self._expect(record.sequence, record.sequence)
                schema = self._schemas.get(record.schema) if header.size else None
                if header.size and schema is None:
                    raise self._damage(None)
                written = Written(record, open_body(header, body, self._cipher), schema)
                self._ready.append((record.sequence, written))
        elif isinstance(record, Tombstone):
            if record.entry.sequence >= self._expected:
                self._expect(record.entry.sequence, record.entry.sequence)
                self._ready.append((record.entry.sequence, record))
        elif isinstance(record, Gap) and record.last >= self._expected:
            self._expect(record.first, record.last)
            self._ready.append((record.last, record))

    _sealed: Seal | None = None

    def _expect(self, first: int, last: int) -> None:
        """Raise if sequences are missing before `first`; go on after `last`."""
        if first > self._expected:
            raise self._damage(None)
        self._expected = last + 1
        if not self._marks or self._closed:
            self._visible = max(self._visible, self._expected)

    def _after(self) -> int | None:
        """The first sequence of the segment after this one, if there is one."""
        for name in segments_in(self._storage.names()):
            if self._segment is not None and name > self._segment:
                return self._first_of(name)
        return None

    def _leave(self, following: int) -> None:
        """Go on with the next segment; raises `DamageError` if this one ended too early."""
        while self._ready and self._ready[-1][0] >= following:
            self._ready.pop()  # they were not committed, and are written anew
        if self._expected < following:
            raise self._damage(following)
        self._visible = max(self._visible, following)
        self._segment = None

    def _end(self) -> bool:
        """There is nothing more for now; raises `SealedError` if there never will be."""
        if self._sealed is not None and not self._ready:
            names = self._sealed.successors
            raise SealedError(f"the journal ended; it goes on in {', '.join(names)}", names)
        return False

    def _damage(self, until: int | None) -> DamageError:
        """What is wrong with this segment, and what it costs."""
        assert self._segment is not None
        file = self._segment.file
        found = survey(self._storage.read(file, 0), file, self._keyring)
        return DamageError(found.checked(until)[0])


def reader_of(storage: Storage, name: str, *, keyring: Keyring | None = None) -> JournalReader:
    """A reader that goes on after what `name` has applied; raises `JournalError` if not known."""
    since = notes.readers(storage).get(name)
    if since is None:
        raise JournalError(f"the journal knows no reader {name!r}")
    return JournalReader(storage, since.applied + 1, keyring=keyring, since=since)


def _schema(body: Buffer) -> pa.Schema:
    try:
        return pa.ipc.read_schema(pa.py_buffer(body))
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"a schema cannot be read: {error}") from error
