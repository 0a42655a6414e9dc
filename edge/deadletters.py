"""The dead letters that no operator of a flow reads: a JSON object a line, in a file."""

from __future__ import annotations

import base64
import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import polars as pl

from ..connectors.atomic import sync_folder
from ..flows.errors import ConnectorError, NoRoomError
from ..flows.journal.storage import FULL

__all__ = ["DeadLetters"]


class DeadLetters:
    """Appends dead letters to a file, which is made with the first of them.

    A line has `operator`, `origin`, `reason`, and the input as `raw` if it is UTF-8, as
    `raw_base64` if not.
    """

    __slots__ = ("_file", "_named", "count", "first", "path")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        """How many were written."""
        self.first: str | None = None
        """The operator and the reason of the first."""
        self._file: io.FileIO | None = None
        self._named = False

    def bury(self, letters: pl.DataFrame) -> None:
        """Append letters, all or none; raises `ConnectorError` if the file cannot be written."""
        if letters.is_empty():
            return
        if self.first is None:
            self.first = f"{letters['operator'][0]}: {letters['reason'][0]}"
        lines = "".join(_line(letter) for letter in letters.iter_rows(named=True))
        try:
            if self._file is None:
                self._file = io.FileIO(self.path, "a")
            _append(self._file, lines.encode())
        except OSError as error:
            if error.errno in FULL:
                text = f"{self.path}: dead letters cannot be written: {error.strerror}"
                raise NoRoomError(text) from error
            raise self._failed(error) from error
        self.count += letters.height

    def position(self) -> bytes:
        """Make durable what was written, and return where the file ends."""
        try:
            if self._file is not None:
                os.fsync(self._file.fileno())
                if not self._named:
                    sync_folder(self.path.parent)
                    self._named = True
            return b"%d" % self.path.stat().st_size
        except FileNotFoundError:
            return b"0"
        except OSError as error:
            raise self._failed(error) from error

    def rewind(self, position: bytes | None) -> None:
        """Cut off what was written after a position."""
        if position is None or not self.path.exists():
            return
        try:
            if self.path.stat().st_size > int(position):
                os.truncate(self.path, int(position))
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> ConnectorError:
        return ConnectorError(
            f"{self.path}: dead letters cannot be written: {error.strerror}; "
            f"name another file with --dead"
        )

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()


def _append(file: io.FileIO, data: bytes) -> None:
    """Write all, or nothing; raises `OSError`."""
    written = 0
    try:
        while written < len(data):
            written += file.write(memoryview(data)[written:])
    except OSError:
        if written:
            try:
                file.truncate(os.fstat(file.fileno()).st_size - written)
            except OSError as error:
                raise OSError(errno.EIO, "a part of one is left at the end") from error
        raise


def _line(letter: dict[str, Any]) -> str:
    raw: bytes = letter["raw"] or b""
    told = {name: letter[name] for name in ("operator", "origin", "reason")}
    try:
        told["raw"] = raw.decode()
    except UnicodeDecodeError:
        told["raw_base64"] = base64.b64encode(raw).decode("ascii")
    return json.dumps(told, ensure_ascii=False) + "\n"
