"""The small files beside the segments: readers, the floor, the signed head.

Each is one frame, and replaced as a whole: it is the old one or the new one.
"""

from __future__ import annotations

from dataclasses import replace

from ..ext import Ending, scan_frames
from ..flows.journal.envelope import Coder, Header, open_header
from ..flows.journal.errors import Damage, DamageError, FormatError
from ..flows.journal.naming import FLOOR, HEAD, NEW, reader_file, reader_of
from ..flows.journal.records import Floor, FrameKind, Reader, SignedHead
from ..flows.journal.storage import Storage

__all__ = [
    "Acknowledgements",
    "floor",
    "put_in_place",
    "readers",
    "save_floor",
    "save_head",
    "save_reader",
    "signed_head",
]


class Acknowledgements:
    """How far the readers of a journal are, as it stands in their files: `known`, by name."""

    __slots__ = ("_storage", "_unsure", "known")

    def __init__(self, storage: Storage, known: dict[str, Reader]) -> None:
        self.known = known
        self._storage = storage
        self._unsure: set[str] = set()  # their files may say something else

    def put(self, reader: Reader) -> None:
        """Write durably how far a reader is; what was said before is never taken back.

        Raises ValueError if it holds more than it has applied, and `OSError`.
        """
        old = self.known.get(reader.name)
        if old is not None:
            applied, durable = max(reader.applied, old.applied), max(reader.durable, old.durable)
            reader = replace(
                reader, applied=applied, durable=durable, owner=reader.owner or old.owner
            )
        if reader.durable > reader.applied:
            raise ValueError(f"{reader.name!r} cannot hold more than it has applied")
        if reader != old or reader.name in self._unsure:
            self._unsure.add(reader.name)
            save_reader(self._storage, reader)
            self._unsure.discard(reader.name)
            self.known[reader.name] = reader


def readers(storage: Storage) -> dict[str, Reader]:
    """The readers of a journal by name; raises `DamageError`, and `OSError`."""
    found = {}
    for file in sorted(storage.names()):
        name = reader_of(file)
        payload = _note(storage, file, FrameKind.READER) if name else None
        if payload is not None:
            reader = Reader.decode(payload)
            found[reader.name] = reader
    return found


def floor(storage: Storage) -> Floor:
    """What was trimmed; raises `DamageError`, and `OSError`."""
    payload = _note(storage, FLOOR, FrameKind.FLOOR) if FLOOR in storage.names() else None
    return Floor(0) if payload is None else Floor.decode(payload)


def signed_head(storage: Storage) -> SignedHead | None:
    """The signed head, if there is one; raises `DamageError`, and `OSError`."""
    if HEAD not in storage.names():
        return None
    return SignedHead.decode(_note(storage, HEAD, FrameKind.SIGNED))


def save_reader(storage: Storage, reader: Reader) -> None:
    """Write durably how far a reader is; raises `OSError`."""
    put_in_place(storage, reader_file(reader.name), FrameKind.READER, reader.encode())


def save_floor(storage: Storage, value: Floor) -> None:
    """Write durably what was trimmed; raises `OSError`."""
    put_in_place(storage, FLOOR, FrameKind.FLOOR, value.encode())


def save_head(storage: Storage, value: SignedHead) -> None:
    """Write the signed head durably; raises `OSError`."""
    put_in_place(storage, HEAD, FrameKind.SIGNED, value.encode())


def put_in_place(storage: Storage, name: str, kind: FrameKind, payload: bytes) -> None:
    """Write a file of one frame in place of what has its name, durably; raises `OSError`."""
    new = name + NEW
    if new in storage.names():
        storage.remove(new)
    storage.create(new)
    storage.append(new, Coder().frame(kind, payload))
    storage.sync(new)
    storage.rename(new, name)
    storage.sync_directory()


def _note(storage: Storage, name: str, kind: FrameKind) -> bytes:
    data = storage.read(name, 0)
    scan = scan_frames(data)
    if scan.ending is not Ending.END or len(scan.frames) != 1:
        reason = scan.reason or ("it is cut off" if scan.ending is Ending.TORN else "it is empty")
        raise DamageError([Damage(name, scan.end, f"not one whole frame: {reason}")])
    header: Header = open_header(bytes(memoryview(data)[scan.frames[0].header]), None)
    if header.kind is not kind:
        raise FormatError(f"{name}: holds something else than its name says")
    return header.payload
