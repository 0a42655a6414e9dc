"""What stands in a segment, by its bytes alone: frames, and the places where there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from ...ext import Ending, Frame, scan_frames
from .entry import NO_SCHEMA, Entry, decode_entry
from .envelope import Cipher, Header, Keyring, linked, open_body, open_header
from .errors import Damage, FormatError, KeyMissingError
from .records import CONTENT, FrameKind, Gap, Head, Seal, SyncMark, Tombstone

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Broken", "Item", "Record", "Survey", "cipher_of", "record_of", "survey"]

Record: TypeAlias = Head | Entry | Tombstone | Gap | SyncMark | Seal | int | None
"""What a frame says; the number of the schema for a schema, None for what may be passed over."""

_REASONS: Final = {
    "magic": "no frame begins here",
    "zeros": "there is nothing but zeros",
    "prologue": "the checksum of a frame's first bytes is wrong",
    "version": "a frame is of a version that is not known here",
    "length": "a frame is longer than any may be",
    "header": "the checksum of a header is wrong",
    "body": "the checksum of a body is wrong",
    "padding": "a byte between the parts of a frame is not 0",
}
_FULL: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Item:
    """A whole frame: where it and its body stand, and what it says.

    `chain` is the chain's value after it, if there is one.
    """

    frame: Frame
    header: Header
    record: Record
    chain: bytes | None

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and last sequence that it stands for."""
        record = self.record
        if isinstance(record, Entry):
            return record.sequence, record.sequence
        if isinstance(record, Tombstone):
            return record.entry.sequence, record.entry.sequence
        return (record.first, record.last) if isinstance(record, Gap) else None


@dataclass(frozen=True, slots=True)
class Broken:
    """Bytes `start` to `stop` are not what was written; an altered chain has no bytes."""

    start: int
    stop: int
    reason: str


@dataclass(frozen=True, slots=True)
class Survey:
    """A segment: its whole frames in order, and what stands between them."""

    file: str
    size: int
    head: Head | None
    items: tuple[Item, ...]
    broken: tuple[Broken, ...]

    @property
    def seal(self) -> Seal | None:
        """The seal, if it has one."""
        found = [item.record for item in self.items if isinstance(item.record, Seal)]
        return found[-1] if found else None

    def synced(self) -> int:
        """How many bytes are known to have been durable: by marks, and by the seal."""
        known = 0
        for item in self.items:
            if isinstance(item.record, SyncMark):
                known = max(known, item.record.offset)
            elif isinstance(item.record, Seal):
                known = max(known, item.frame.offset)
        return known

    def before(self, offset: int) -> Survey:
        """The survey of the first `offset` bytes."""
        items = tuple(item for item in self.items if item.frame.end <= offset)
        broken = tuple(place for place in self.broken if place.start < offset)
        return Survey(self.file, offset, self.head if items else None, items, broken)

    def checked(self, until: int | None = None, after: int = 0) -> tuple[list[Damage], int]:
        """What is wrong up to sequence `until`, where the next segment begins, and what follows.

        What follows is the sequence after the last one that is there. Without its head a segment
        cannot be read, and costs what stood between `after`, where the one before ended, and that.
        """
        if self.head is None:
            reason = self.broken[0].reason if self.broken else "its head is missing"
            last = None if until is None else until - 1
            return [Damage(self.file, 0, reason, after, last)], after
        return _checked(self, self.head.first, until)


def survey(data: Buffer, file: str, keyring: Keyring | None, *, most: int | None = None) -> Survey:
    """Look at every byte of a segment, or at its first `most` frames.

    Raises `FormatError` if the head is intact but of another version, and `KeyMissingError`.
    """
    view = memoryview(data)
    items: list[Item] = []
    broken: list[Broken] = []
    cipher: Cipher | None = None
    chain: bytes | None = None
    head: Head | None = None
    known = True  # whether the chain's value is: not behind what is broken, nor behind a gap
    for found in _found(data, most):
        if isinstance(found, Broken):
            broken.append(found)
            known = False
            continue
        header = bytes(view[found.header])
        if head is None and not items and found.offset == 0:
            head = head_of(header)
            cipher, chain = cipher_of(head, keyring), head.chain if head.chained else None
            items.append(Item(found, open_header(header, None), head, chain))
            continue
        try:
            opened = open_header(header, cipher)
            record = record_of(opened)
            known = known and not isinstance(record, Gap)
            if chain is not None and opened.kind in CONTENT:
                if known and opened.link != chain:
                    broken.append(Broken(found.offset, found.offset, _ALTERED))
                assert opened.kind is not None
                body = open_body(opened, view[found.body], cipher)
                chain = linked(opened.link or chain, opened.kind, opened.payload, body)
                known = True
        except KeyMissingError:
            if head is not None:
                raise
            broken.append(Broken(found.offset, found.end, "what opens it stood in the head"))
            continue
        except FormatError as error:
            broken.append(Broken(found.offset, found.end, str(error)))
            continue
        items.append(Item(found, opened, record, chain))
    return Survey(file, len(view), head, tuple(items), tuple(broken))


_ALTERED: Final = "the chain breaks: a frame before it was altered, removed or put in"


def head_of(header: bytes) -> Head:
    """The head that an intact first frame is; raises `FormatError`."""
    opened = open_header(header, None)
    if opened.kind is not FrameKind.HEAD:
        raise FormatError("the first frame of the segment is not a head")
    return Head.decode(opened.payload)


def cipher_of(head: Head, keyring: Keyring | None) -> Cipher | None:
    """What opens a segment; raises `KeyMissingError`."""
    if not head.encrypted:
        return None
    if keyring is None:
        raise KeyMissingError("the journal is encrypted: give its key")
    return keyring.cipher(head.key, head.identity)


def record_of(header: Header) -> Record:
    """What a frame says; raises `FormatError`."""
    kind, payload = header.kind, header.payload
    if kind is FrameKind.ENTRY:
        return decode_entry(payload)
    if kind is FrameKind.SCHEMA:
        if len(payload) != 4:
            raise FormatError("the number of a schema has the wrong length")
        return int.from_bytes(payload, "little")
    if kind is None:
        return None
    decoder: Callable[[bytes], Record] | None = _DECODERS.get(kind)
    if decoder is None:
        raise FormatError(f"a frame of the kind {kind.name} does not belong in a segment")
    return decoder(payload)


_DECODERS: Final[dict[FrameKind, Callable[[bytes], Record]]] = {
    FrameKind.TOMBSTONE: Tombstone.decode,
    FrameKind.GAP: Gap.decode,
    FrameKind.SYNC: SyncMark.decode,
    FrameKind.SEAL: Seal.decode,
}


def _found(data: Buffer, most: int | None) -> Iterator[Frame | Broken]:
    """Yield the frames, and the stretches without any."""
    size = memoryview(data).nbytes
    at = 0
    while True:
        scan = scan_frames(data, at, max_frames=most or _FULL)
        yield from scan.frames
        if scan.ending is Ending.END or (scan.ending is Ending.MORE and most):
            return
        if scan.ending is Ending.TORN:
            yield Broken(scan.end, size, "it ends inside a frame")
            return
        at = scan.end
        if scan.ending is Ending.CORRUPT:
            assert scan.reason is not None
            at = size if scan.resume is None else scan.resume
            yield Broken(scan.end, at, _REASONS[scan.reason])
            if scan.resume is None or most:
                return


def _checked(found: Survey, following: int, until: int | None) -> tuple[list[Damage], int]:
    damages: list[Damage] = []
    places = list(found.broken)
    schemas: set[int] = set()

    def lose(last: int | None, offset: int) -> None:
        """Account for sequences that are missing before `offset`, by the damage before it."""
        first = following if last is None or last >= following else None
        near = [place for place in places if place.start <= offset]
        reason, at = (near[0].reason, near[0].start) if near else ("entries are missing", offset)
        damages.append(Damage(found.file, at, reason, first, last if first is not None else None))
        damages.extend(Damage(found.file, place.start, place.reason) for place in near[1:])
        del places[: len(near)]

    for item in found.items:
        if until is not None and following >= until:
            return damages, until
        broken = bool(places) and places[0].start <= item.frame.offset
        record = item.record
        if broken and isinstance(record, SyncMark | Seal) and record.following > following:
            lose(record.following - 1, item.frame.offset)
            following = record.following
        if isinstance(item.record, int):
            schemas.add(item.record)
        if item.span is None:
            continue
        first, last = item.span
        if first != following or (places and places[0].start <= item.frame.offset):
            lose(first - 1, item.frame.offset)
        entry = item.record
        if isinstance(entry, Entry) and entry.schema != NO_SCHEMA and entry.schema not in schemas:
            reason = "its schema is lost"
            damages.append(Damage(found.file, item.frame.offset, reason, first, last))
        following = max(following, last + 1)
    if until is not None and following < until:
        lose(until - 1, found.size)
        following = until
    elif places and until is None:
        lose(None, found.size)
    return damages, following
