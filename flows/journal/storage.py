"""Where the files of a journal are kept: what a writer and readers ask of it."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["FULL", "Storage"]

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a full disk says."""


class Storage(Protocol):
    """One flat folder of files that are appended to.

    All methods raise `OSError`. What is written, created, renamed or removed is seen at once by
    all, and survives the death of the process. It survives that of the machine only as said:

    - bytes of a file, its length and a truncation: once `sync` of the file has returned;
    - a name that was created, renamed or removed: once `sync_directory` has returned.

    Until then, any part of it may be there or not. After a `sync` that raised, nothing that was
    not synced before can be relied on, whatever a later one says.
    """

    def names(self) -> list[str]:
        """The files, in no order."""
        ...

    def size(self, name: str) -> int:
        """Bytes of a file."""
        ...

    def create(self, name: str) -> None:
        """Make an empty file; raises `FileExistsError`."""
        ...

    def append(self, name: str, buffers: Sequence[Buffer]) -> None:
        """Write at the end; if it raises, any first part may have been written."""
        ...

    def sync(self, name: str) -> None:
        """Make a file's bytes durable."""
        ...

    def read(self, name: str, offset: int, size: int | None = None) -> Buffer:
        """A copy of what is there, at most `size` bytes."""
        ...

    def map(self, name: str) -> Buffer:
        """The bytes of a file that is not truncated any more, in place, aligned to 64."""
        ...

    def truncate(self, name: str, size: int) -> None:
        """Cut a file to its first `size` bytes."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; one that had it is replaced."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; whoever has it mapped keeps it."""
        ...

    def sync_directory(self) -> None:
        """Make names durable."""
        ...

    def free(self) -> int:
        """Bytes of room."""
        ...

    def lock(self) -> None:
        """Take the one lock of the folder; raises `LockedError` if another has it."""
        ...

    def unlock(self) -> None:
        """Give the lock back, and close all files."""
        ...
