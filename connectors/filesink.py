"""Writers of files: encoded rows, complete or not at all."""

from __future__ import annotations

import gzip
import io
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar, cast

import polars as pl

from ..flows.connector import DELETED, Sink, SinkContext, Writer
from ..flows.errors import ConnectorError
from .atomic import AtomicFile
from .encoders import (
    CsvEncoding,
    Encoding,
    IpcEncoding,
    JsonLinesEncoding,
    ParquetEncoding,
)
from .spool import Complete, is_complete, spooled

__all__ = ["FileSink", "TableSink", "encoding_of"]

_SUFFIXES: dict[str, Encoding] = {
    ".csv": CsvEncoding(),
    ".jsonl": JsonLinesEncoding(),
    ".ndjson": JsonLinesEncoding(),
    ".parquet": ParquetEncoding(),
    ".arrow": IpcEncoding(),
    ".ipc": IpcEncoding(),
}
_PACKED = 2**16
_COMPACT = 2**16


def encoding_of(path: str) -> Encoding:
    """Return the encoding that a path's suffix stands for; raises `ValueError`."""
    suffix = Path(path.removesuffix(".gz")).suffix
    if suffix not in _SUFFIXES:
        raise ValueError(f"{path!r}: the suffix says the format; use one of {', '.join(_SUFFIXES)}")
    return _SUFFIXES[suffix]


@dataclass(frozen=True, slots=True)
class FileSink(Sink):
    """Writes one file; a path that ends with ``.gz`` is compressed."""

    resumes: ClassVar[bool] = True

    path: str
    encoding: Encoding

    def open(self, context: SinkContext) -> Writer:
        return _FileWriter(self.path, self.encoding, context)

    def resume(self, context: SinkContext, position: bytes | None) -> Writer:
        if not self.encoding.appends or self.path.endswith(".gz"):
            return spooled(self.path, position, lambda: self.open(context))
        if position is None:
            return self.open(context)
        kept = int(position)
        if is_complete(Path(self.path), kept):
            return Complete(position)
        return _FileWriter(self.path, self.encoding, context, kept)


class _FileWriter(Writer):
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


@dataclass(frozen=True, slots=True)
class TableSink(Sink):
    """Writes the last row of each key, sorted by key; memory grows with the number of keys.

    A stream that is no upsert stream is written row by row, as it comes.
    """

    upsert: ClassVar[bool] = True
    resumes: ClassVar[bool] = True

    path: str
    encoding: Encoding

    def open(self, context: SinkContext) -> Writer:
        writer = _FileWriter(self.path, self.encoding, context)
        key = context.schema.key
        return writer if key is None else _TableWriter(writer, list(key))

    def resume(self, context: SinkContext, position: bytes | None) -> Writer:
        return spooled(self.path, position, lambda: self.open(context))


class _TableWriter(Writer):
    def __init__(self, file: Writer, key: list[str]) -> None:
        self._file = file
        self._key = key
        self._table: pl.DataFrame | None = None
        self._new: list[pl.DataFrame] = []
        self._rows = 0

    def write(self, rows: pl.DataFrame) -> None:
        self._new.append(rows)
        self._rows += len(rows)
        if self._rows >= max(_COMPACT, 0 if self._table is None else len(self._table)):
            self._compact()

    def _compact(self) -> None:
        held = [] if self._table is None else [self._table]
        if self._new:
            self._table = pl.concat(held + self._new).unique(self._key, keep="last")
        self._new, self._rows = [], 0

    def close(self) -> None:
        self._compact()
        if self._table is not None:
            kept = self._table.filter(~pl.col(DELETED)).drop(DELETED).sort(self._key)
            self._file.write(kept)
            self._table = None
        self._file.close()

    def abort(self) -> None:
        self._table, self._new = None, []
        self._file.abort()
