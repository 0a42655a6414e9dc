"""A file that rows are encoded into, complete or not at all."""

from __future__ import annotations

import gzip
import io
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

import polars as pl

from ..flows.connector import SinkContext, Writer
from ..flows.errors import ConnectorError
from .atomic import AtomicFile
from .encoders import Encoding

__all__ = ["FileWriter"]

_PACKED: Final = 2**16


class FileWriter(Writer):
    """Goes on after `kept` bytes of what a run before it wrote."""

    def __init__(self, path: str, encoding: Encoding, context: SinkContext, kept: int = 0) -> None:
        self._path = path
        self._file = AtomicFile(Path(path), kept)
        self._packer = _Packer(self._file.file) if path.endswith(".gz") else None
        out = self._file.file if self._packer is None else cast(BinaryIO, self._packer)
        try:
            begin = encoding.resume if kept else encoding.start
            self._encoder = begin(context.schema, out)
        except ConnectorError as error:
            self._file.abort()
            raise ConnectorError(f"{path}: {error}") from error
        self._done = False

    def write(self, rows: pl.DataFrame) -> None:
        try:
            self._encoder.write(rows)
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
        try:
            self._encoder.finish()
            if self._packer is not None:
                self._packer.finish()
            self._file.close()
        except OSError as error:
            self._file.abort()
            raise self._failed(error) from error

    def abort(self) -> None:
        if not self._done:
            self._done = True
            with suppress(OSError):
                self._encoder.abandon()
            self._file.abort()

    def _failed(self, error: OSError) -> ConnectorError:
        return ConnectorError(f"{self._path}: cannot be written: {error.strerror or error}")


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
