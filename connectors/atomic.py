"""Files that are there completely or not at all."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..flows.errors import ConnectorError

__all__ = ["AtomicFile"]


class AtomicFile:
    """Writes ``.NAME.partial`` beside the file it is to become, and renames it on `close`.

    A partial file that a crashed run left is replaced. Raises `ConnectorError` if the folder does
    not exist or cannot be written, or if another sink or run is writing the same file.
    """

    __slots__ = ("_partial", "_path", "file")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        if path.is_dir():
            raise ConnectorError(f"{path}: is a folder; give the name of a file")
        self.file = self._opened()
        """Where the content goes; its writes raise `OSError`."""

    def _opened(self) -> BinaryIO:
        """Open the partial file and lock it; the lock ends with the process that has it."""
        path = self._path
        try:
            while True:
                file = os.fdopen(os.open(self._partial, os.O_RDWR | os.O_CREAT, 0o666), "wb")
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _is_at(self._partial, file):  # and not renamed since it was opened
                        file.truncate(0)
                        return file
                except BlockingIOError as error:
                    file.close()
                    raise ConnectorError(
                        f"{path}: another sink or another run is writing it; give each its own file"
                    ) from error
                file.close()
        except FileNotFoundError as error:
            raise ConnectorError(
                f"{path}: the folder {str(path.parent)!r} does not exist; create it first"
            ) from error
        except OSError as error:
            raise ConnectorError(f"{path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Make the file durable and visible; does nothing if closed. Raises `OSError`."""
        if self.file.closed:
            return
        self.file.flush()
        os.fsync(self.file.fileno())
        self._partial.replace(self._path)
        self.file.close()
        _sync_folder(self._path.parent)

    def abort(self) -> None:
        """Remove what was written; does nothing after `close`."""
        if self.file.closed:
            return
        self._partial.unlink(missing_ok=True)
        with suppress(OSError):
            self.file.close()


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
