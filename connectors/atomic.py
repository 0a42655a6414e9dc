"""Files that are there completely or not at all."""

from __future__ import annotations

import fcntl
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..flows.errors import ConnectorError, NoRoomError
from ..flows.journal.storage import FULL

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["AtomicFile", "cannot_write", "sync_folder"]


def cannot_write(path: Path | str, error: OSError) -> ConnectorError:
    """Return what to raise for what the system said; on a full disk, nothing may be left of it."""
    if error.errno in FULL:
        return NoRoomError(f"{path}: there is no room ({error.strerror})")
    return ConnectorError(f"{path}: cannot be written: {error.strerror or error}")


class AtomicFile:
    """Writes ``.NAME.partial`` beside the file it is to become, and renames it on `close`.

    A partial file that a crashed run left is replaced; or, of its bytes, the first `kept` stay, and
    what is written follows them. Raises `ConnectorError` if the folder does not exist or cannot be
    written, if another sink or run is writing the same file, or if there are fewer bytes to keep;
    `NoRoomError` if it is for the disk, which is full.
    """

    __slots__ = ("_kept", "_named", "_partial", "_path", "file")

    def __init__(self, path: Path, kept: int = 0) -> None:
        self._path = path
        self._kept = kept
        self._partial = path.with_name(f".{path.name}.partial")
        if path.is_dir():
            raise ConnectorError(f"{path}: is a folder; give the name of a file")
        self._named = False
        self.file = self._opened()
        """Where the content goes, unbuffered; its writes raise `OSError`, and leave any part."""

    def _opened(self) -> io.FileIO:
        """Open the partial file and lock it; the lock ends with the process that has it."""
        path = self._path
        try:
            while True:
                create = 0 if self._kept else os.O_CREAT
                file = _Whole(os.open(self._partial, os.O_RDWR | create, 0o666), "wb")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _is_at(self._partial, file):  # and not renamed since it was opened
                        self._cut(file)
                        return file
                except BlockingIOError as error:
                    file.close()
                    raise ConnectorError(
                        f"{path}: another sink or another run is writing it; give each its own file"
                    ) from error
                file.close()
        except FileNotFoundError as error:
            if self._kept:
                raise self._gone() from error
            raise ConnectorError(
                f"{path}: the folder {str(path.parent)!r} does not exist; create it first"
            ) from error
        except OSError as error:
            raise cannot_write(path, error) from error

    def _cut(self, file: io.FileIO) -> None:
        if os.fstat(file.fileno()).st_size < self._kept:
            file.close()
            raise self._gone()
        file.truncate(self._kept)
        file.seek(self._kept)

    def _gone(self) -> ConnectorError:
        return ConnectorError(
            f"{self._path}: what the run has written of it, {self._partial.name}, is gone or cut "
            f"off; bring it back, or begin anew with another --state folder"
        )

    @property
    def size(self) -> int:
        """How many bytes were written."""
        return self.file.tell()

    def take_back(self, size: int) -> None:
        """Keep the first `size` bytes of what was written. Raises `OSError`."""
        self.file.seek(size)
        self.file.truncate()

    def position(self) -> int:
        """Make durable what was written, and return how many bytes it is. Raises `OSError`."""
        os.fsync(self.file.fileno())
        if not self._named:  # a file that was synced is gone all the same if its name is
            sync_folder(self._path.parent)
            self._named = True
        return self.file.tell()

    def leave(self) -> None:
        """Let go of the partial file as it is, for a run that goes on with it."""
        with suppress(OSError):
            self.file.close()

    def close(self) -> None:
        """Make the file durable and visible; does nothing if closed. Raises `OSError`."""
        if self.file.closed:
            return
        os.fsync(self.file.fileno())
        self._partial.replace(self._path)
        self.file.close()
        sync_folder(self._path.parent)

    def abort(self) -> None:
        """Remove what was written; does nothing after `close`."""
        if self.file.closed:
            return
        self._partial.unlink(missing_ok=True)
        with suppress(OSError):
            self.file.close()


class _Whole(io.FileIO):
    """Writes all that it is given, or raises."""

    def write(self, data: Buffer, /) -> int:
        left = memoryview(data).cast("B")
        size = left.nbytes
        while left.nbytes:
            left = left[super().write(left) :]
        return size


def _is_at(path: Path, file: io.FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises `OSError`."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
