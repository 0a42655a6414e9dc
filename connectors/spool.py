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
from typing import BinaryIO

import polars as pl

from ..ext import Ending, encode_frame, scan_frames
from ..flows.connector import SinkContext, Writer
from ..flows.errors import ConnectorError, NoRoomError
from ..flows.journal.storage import FULL
from ..flows.schema import Schema
from .encoders import Encoder, Encoding
from .filewriter import FileWriter

__all__ = ["Complete", "is_complete", "spooled"]


def spooled(
    path: str, position: bytes | None, context: SinkContext, make: Callable[[], Writer]
) -> Writer:
    """Return a writer that spools the rows for the file `path`; `make` opens the one for it."""
    spool = Path(f"{path}.spool")
    if position is not None and Path(path).exists() and not _partial(spool).exists():
        return Complete(path, position)
    rows = FileWriter(str(spool), _Frames(), context, int(position or 0), lasts=True)
    return _Spool(rows, _partial(spool), make)


def is_complete(path: Path, size: int) -> bool:
    """Whether a file was completed with so many bytes, and its partial file is gone."""
    return not _partial(path).exists() and path.exists() and path.stat().st_size == size


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


class Complete(Writer):
    """The writer of a file that was completed before the process died."""

    def __init__(self, path: str, position: bytes) -> None:
        self._path = path
        self._position = position

    def write(self, rows: pl.DataFrame) -> None:
        """Take nothing: the run had ended; raises `ConnectorError` for rows."""
        if rows.height:
            raise ConnectorError(
                f"{self._path}: was completed before, and cannot be gone on with; move it away, "
                f"and begin anew with another --state folder"
            )

    def position(self) -> bytes | None:
        return self._position

    def close(self) -> None:
        """It is complete."""

    def abort(self) -> None:
        """It is complete."""


class _Spool(Writer):
    """Hands what `rows` has written to `path` to the writer of the file when it is closed."""

    def __init__(self, rows: FileWriter, path: Path, make: Callable[[], Writer]) -> None:
        self._rows = rows
        self._path = path
        self._make = make
        self._done = False

    def write(self, rows: pl.DataFrame) -> None:
        self._rows.write(rows)

    def position(self) -> bytes | None:
        return self._rows.position()

    def suspend(self) -> None:
        self._rows.suspend()

    def close(self) -> None:
        if self._done:
            return
        self._rows.position()
        writer = self._make()
        try:
            self._copy(writer)
            writer.close()
        except BaseException as error:
            writer.abort()
            if _is_full(error):  # the rows are still there to make the file of
                raise NoRoomError(str(error)) from error
            self._done = True
            self._rows.suspend()
            raise
        self._done = True
        self._rows.abort()

    def _copy(self, writer: Writer) -> None:
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
            self._rows.abort()


def _is_full(error: BaseException) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in FULL


class _Frames(Encoding):
    """Frames with checksums, each an Arrow IPC stream of what was written at once."""

    def start(self, schema: Schema, out: BinaryIO) -> Encoder:
        return _FrameEncoder(out)


class _FrameEncoder(Encoder):
    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, rows: pl.DataFrame) -> None:
        written = io.BytesIO()
        rows.write_ipc_stream(written)
        for buffer in encode_frame(b"", written.getbuffer()):
            self._out.write(buffer)
