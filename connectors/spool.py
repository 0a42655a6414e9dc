"""Rows set down until a file can be made of them: for files that cannot be gone on with.

A Parquet file is readable once its end is written, a compressed one has a state that is nowhere in
its bytes, and a table is known at the end of the stream. A run that may be killed writes the rows
to ``.NAME.spool.partial`` first, which can be cut off at any write, and makes the file of them at
its end.
"""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl

from ..ext import Ending, encode_frame, scan_frames
from ..flows.connector import Writer
from ..flows.errors import ConnectorError
from .atomic import AtomicFile

__all__ = ["Complete", "is_complete", "spooled"]


def spooled(path: str, position: bytes | None, make: Callable[[], Writer]) -> Writer:
    """Return a writer that spools the rows for the file `path`; `make` opens the one for it."""
    file = Path(path)
    spool = file.with_name(f"{file.name}.spool")
    if position is not None and file.exists() and not _partial(spool).exists():
        return Complete(position)
    return _Spool(spool, int(position or 0), make)


def is_complete(path: Path, size: int) -> bool:
    """Whether a file was completed with so many bytes, and its partial file is gone."""
    return not _partial(path).exists() and path.exists() and path.stat().st_size == size


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


class Complete(Writer):
    """The writer of a file that was completed before the process died."""

    def __init__(self, position: bytes) -> None:
        self._position = position

    def write(self, rows: pl.DataFrame) -> None:
        """Take nothing: the run had ended."""

    def position(self) -> bytes | None:
        return self._position

    def close(self) -> None:
        """It is complete."""

    def abort(self) -> None:
        """It is complete."""


class _Spool(Writer):
    def __init__(self, path: Path, kept: int, make: Callable[[], Writer]) -> None:
        self._file = AtomicFile(path, kept)
        self._path = _partial(path)
        self._make = make
        self._done = False

    def write(self, rows: pl.DataFrame) -> None:
        written = io.BytesIO()
        rows.write_ipc_stream(written)
        try:
            for buffer in encode_frame(b"", written.getbuffer()):
                self._file.file.write(buffer)
        except OSError as error:
            raise self._failed(error) from error

    def position(self) -> bytes | None:
        try:
            return b"%d" % self._file.position()
        except OSError as error:
            raise self._failed(error) from error

    def suspend(self) -> None:
        if not self._done:
            self._done = True
            self._file.leave()

    def close(self) -> None:
        if self._done:
            return
        self._done = True
        writer = self._make()
        try:
            self._file.file.flush()
            self._copy(writer)
            writer.close()
        except BaseException:
            writer.abort()
            self._file.leave()
            raise
        self._file.abort()

    def _copy(self, writer: Writer) -> None:
        """Hand every row that was spooled to the writer of the file."""
        with self._path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                return
            data = memoryview(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ))
            scan = scan_frames(data)
            if scan.ending is not Ending.END:
                raise ConnectorError(f"{self._path}: is damaged at byte {scan.end}")
            for frame in scan.frames:
                writer.write(pl.read_ipc_stream(io.BytesIO(data[frame.body])))

    def abort(self) -> None:
        if not self._done:
            self._done = True
            self._file.abort()

    def _failed(self, error: OSError) -> ConnectorError:
        return ConnectorError(f"{self._path}: cannot be written: {error.strerror or error}")
