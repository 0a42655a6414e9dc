"""The files of a journal in a folder of this machine."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..flows.journal.errors import LockedError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["FileStorage", "holder"]

_MOST: Final = 1024
"""Buffers of one call of writev (IOV_MAX)."""
_LOCK: Final = "lock"


class FileStorage:
    """A `Storage` in a folder, which is made if `create` says so; raises `OSError`.

    The lock is that of the process: it ends with it, however it dies.
    """

    __slots__ = ("_files", "_lock", "folder")

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        self._files: dict[str, int] = {}
        self._lock: int | None = None
        if create and not folder.is_dir():
            folder.mkdir(parents=True)
            _sync_folder(folder.parent)

    def names(self) -> list[str]:
        return [entry.name for entry in os.scandir(self.folder) if entry.is_file()]

    def size(self, name: str) -> int:
        return (self.folder / name).stat().st_size

    def create(self, name: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._files[name] = os.open(self.folder / name, flags, 0o644)

    def append(self, name: str, buffers: Sequence[Buffer]) -> None:
        handle = self._opened(name)
        left: list[Buffer] = list(buffers)
        while left:
            size = sum(memoryview(buffer).nbytes for buffer in left[:_MOST])
            written = os.writev(handle, left[:_MOST])
            if written == size:
                left = left[_MOST:]
                continue
            if not written:
                raise OSError(errno.EIO, "nothing could be written", name)
            left = _rest(left, written)

    def sync(self, name: str) -> None:
        os.fsync(self._opened(name))

    def read(self, name: str, offset: int, size: int | None = None) -> Buffer:
        with (self.folder / name).open("rb") as file:
            file.seek(offset)
            return file.read(-1 if size is None else size)

    def map(self, name: str) -> Buffer:
        with (self.folder / name).open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                return b""
            return mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)

    def truncate(self, name: str, size: int) -> None:
        os.ftruncate(self._opened(name), size)

    def rename(self, old: str, new: str) -> None:
        (self.folder / old).replace(self.folder / new)
        handle = self._files.pop(old, None)
        self._closed(new)
        if handle is not None:
            self._files[new] = handle

    def remove(self, name: str) -> None:
        self._closed(name)
        (self.folder / name).unlink()

    def sync_directory(self) -> None:
        _sync_folder(self.folder)

    def free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def lock(self) -> None:
        handle = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise LockedError(
                f"{self.folder}: another process writes this journal; stop it first"
            ) from error
        self._lock = handle
        with suppress(OSError):  # it is for people, and `holder`; in place, it takes no room
            os.pwrite(handle, b"%20d\n" % os.getpid(), 0)

    def unlock(self) -> None:
        for name in list(self._files):
            self._closed(name)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _opened(self, name: str) -> int:
        handle = self._files.get(name)
        if handle is None:
            flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
            handle = self._files[name] = os.open(self.folder / name, flags)
        return handle

    def _closed(self, name: str) -> None:
        handle = self._files.pop(name, None)
        if handle is not None:
            os.close(handle)


def holder(folder: Path) -> int | None:
    """The process that has the lock of a folder: None if there is none, 0 if it is not known.

    Raises `OSError`.
    """
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        written = os.pread(handle, 32, 0).strip()
        return int(written) if written.isdigit() else 0
    finally:
        os.close(handle)
    return None


def _rest(buffers: list[Buffer], written: int) -> list[Buffer]:
    """What is left after so many bytes."""
    for place, buffer in enumerate(buffers):
        view = memoryview(buffer)
        if written < view.nbytes:
            return [view.cast("B")[written:], *buffers[place + 1 :]]
        written -= view.nbytes
    return []


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
