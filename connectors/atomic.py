"""Files that are there completely or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..flows.errors import ConnectorError

__all__ = ["AtomicFile"]


class AtomicFile:
    """Writes ``.NAME.partial`` beside the file it is to become, and renames it on `close`.

    A partial file that a crashed run left is replaced. Two writers of one path at the same time
    are not kept apart. Raises `ConnectorError` if the folder does not exist or cannot be written.
    """

    __slots__ = ("_partial", "_path", "file")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        if path.is_dir():
            raise ConnectorError(f"{path}: is a folder; give the name of a file")
        try:
            self.file = self._partial.open("wb")
            """Where the content goes; its writes raise `OSError`."""
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
        self.file.close()
        self._partial.replace(self._path)
        _sync_folder(self._path.parent)

    def abort(self) -> None:
        """Remove what was written; does nothing after `close`."""
        with suppress(OSError):
            self.file.close()
        self._partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
