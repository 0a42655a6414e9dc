"""Sinks that are files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import polars as pl

from ..flows.connector import DELETED, Sink, SinkContext, Writer
from .encoders import (
    CsvEncoding,
    Encoding,
    IpcEncoding,
    JsonLinesEncoding,
    ParquetEncoding,
)
from .filewriter import FileWriter
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
        return FileWriter(self.path, self.encoding, context)

    def resume(self, context: SinkContext, position: bytes | None) -> Writer:
        if not self.encoding.appends or self.path.endswith(".gz"):
            return spooled(self.path, position, context, lambda: self.open(context))
        if position is None:
            return FileWriter(self.path, self.encoding, context, lasts=True)
        kept = int(position)
        if is_complete(Path(self.path), kept):
            return Complete(self.path, position)
        return FileWriter(self.path, self.encoding, context, kept, lasts=True)


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
        writer = FileWriter(self.path, self.encoding, context)
        key = context.schema.key
        return writer if key is None else _TableWriter(writer, list(key))

    def resume(self, context: SinkContext, position: bytes | None) -> Writer:
        return spooled(self.path, position, context, lambda: self.open(context))


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
