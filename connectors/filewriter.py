"""A file that rows are encoded into, complete or not at all."""

from __future__ import annotations

import gzip
import io
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

import polars as pl

from ..flows.connector import SinkContext, Writer
from ..flows.errors import ConnectorError, NoRoomError
from .atomic import AtomicFile, cannot_write
from .encoders import Encoding

__all__ = ["FileWriter"]

_PACKED: Final = 2**16


class FileWriter(Writer):
    """Goes on after `kept` bytes of what a run before it wrote.

    If it `lasts`, what cannot be completed is left to a run that goes on with it.
    """

    def __init__(
        self,
        path: str,
        encoding: Encoding,
        context: SinkContext,
        kept: int = 0,
        *,
        lasts: bool = False,
    ) -> None:
        self._path = path
        self._lasts = lasts
        self._file = AtomicFile(Path(path), kept)
        self._packer: _Packer | None = None
        self._again = encoding.appends and not path.endswith(".gz")
        """Whether a write can be taken back, and made again."""
        out = cast(BinaryIO, self._file.file)
        try:
            if path.endswith(".gz"):
                self._packer = _Packer(out)
                out = cast(BinaryIO, self._packer)
            begin = encoding.resume if kept else encoding.start
            self._encoder = begin(context.schema, out)
        except ConnectorError as error:
            self._give_up()
            raise ConnectorError(f"{path}: {error}") from error
        except OSError as error:
            self._give_up()
            raise cannot_write(path, error) from error
        self._done = False

    def _give_up(self) -> None:
        """Leave what a run can go on with, and nothing else."""
        if self._lasts:
            self._file.leave()
        else:
            self._file.abort()

    def write(self, rows: pl.DataFrame) -> None:
        size = self._file.size if self._again else 0
        try:
            self._encoder.write(rows)
        except OSError as error:
            raise self._failed(error, size) from error

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
        try:
            self._encoder.finish()
            if self._packer is not None:
                self._packer.finish()
            self._file.close()
        except OSError as error:
            with suppress(OSError):
                self._encoder.abandon()
            self._give_up()
            raise self._failed(error) from error

    def abort(self) -> None:
        if not self._done:
            self._done = True
            with suppress(OSError):
                self._encoder.abandon()
            self._file.abort()

    def _failed(self, error: OSError, size: int | None = None) -> ConnectorError:
        """Return what to raise; take back what was written after `size` bytes if that helps."""
        failed = cannot_write(self._path, error)
        if not isinstance(failed, NoRoomError):
            return failed
        if size is not None and self._again:
            with suppress(OSError):
                self._file.take_back(size)
                return failed
        return ConnectorError(str(failed))


class _Packer(io.RawIOBase):
    """Compresses in pieces of one size, so that the bytes do not depend on the writes."""

    def __init__(self, out: BinaryIO) -> None:
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0)
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]
        self._held += data
        whole = len(self._held) - len(self._held) % _PACKED
        for start in range(0, whole, _PACKED):
            self._gzip.write(bytes(self._held[start : start + _PACKED]))
        del self._held[:whole]
        return len(data)

    def finish(self) -> None:
        self._gzip.write(bytes(self._held))
        self._gzip.close()
