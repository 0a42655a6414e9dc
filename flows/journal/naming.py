"""Names of the files of a journal."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .errors import JournalError

__all__ = [
    "FLOOR",
    "HEAD",
    "NEW",
    "RESERVE",
    "SegmentName",
    "reader_file",
    "reader_of",
    "segments_in",
]

NEW: Final = ".new"
"""A file with this ending is not there yet: a crash may leave it, and recovery removes it."""
FLOOR: Final = "floor"
"""What was trimmed."""
HEAD: Final = "head"
"""The signed head."""
RESERVE: Final = "reserve"
"""Bytes to give up when the disk is full, so that dropping has room to work in."""

_SEGMENT: Final = re.compile(r"(\d{12})-(\d{1,20})\.seg", re.ASCII)
_READER: Final = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.@-]{0,99})\.reader", re.ASCII)


class SegmentName(NamedTuple):
    """The number of a segment within its journal, and the epoch that wrote it."""

    number: int
    epoch: int

    @property
    def file(self) -> str:
        """The name of its file; names sort as numbers do."""
        return f"{self.number:012d}-{self.epoch}.seg"


def segments_in(names: list[str]) -> list[SegmentName]:
    """The segments among the names of files, in order of number and epoch."""
    found = [_SEGMENT.fullmatch(name) for name in names]
    return sorted(SegmentName(int(m[1]), int(m[2])) for m in found if m)


def reader_file(name: str) -> str:
    """The file of a reader's acknowledgements; raises `JournalError` for a name it cannot have."""
    file = f"{name}.reader"
    if not _READER.fullmatch(file):
        raise JournalError(
            f"a reader cannot be called {name!r}: use up to 100 of A-Z a-z 0-9 _ . @ -, "
            "the first a letter, digit or _"
        )
    return file


def reader_of(file: str) -> str | None:
    """The reader whose file it is."""
    found = _READER.fullmatch(file)
    return found[1] if found else None
