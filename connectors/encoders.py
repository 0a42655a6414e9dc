"""How rows become bytes: the same bytes however the rows were cut into writes."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, ClassVar, cast

import polars as pl
import pyarrow as pa
from polars.datatypes import DataTypeClass

from ..ext import encodable, write_lines
from ..flows.errors import ConnectorError
from ..flows.schema import Schema
from .columnar import ROWS

if TYPE_CHECKING:
    import pyarrow.parquet

__all__ = [
    "CsvEncoding",
    "Encoder",
    "Encoding",
    "IpcEncoding",
    "JsonLinesEncoding",
    "ParquetEncoding",
    "TextEncoding",
]


class Encoder(ABC):
    """Writes the rows of one stream."""

    @abstractmethod
    def write(self, rows: pl.DataFrame) -> None:
        """Append rows; raises `OSError`."""

    def finish(self) -> None:  # noqa: B027 - lines have no end
        """Append what ends the stream; raises `OSError`."""

    def abandon(self) -> None:  # noqa: B027 - lines need nothing
        """Let go of what is open; what has been written is thrown away. Raises `OSError`."""


class Encoding(ABC):
    """Describes how rows are written."""

    appends: ClassVar[bool] = True
    """Whether a stream that was cut between two writes can be gone on with."""

    @abstractmethod
    def start(self, schema: Schema, out: BinaryIO) -> Encoder:
        """Begin a stream; raises `ConnectorError` for columns that it has no form for."""

    def resume(self, schema: Schema, out: BinaryIO) -> Encoder:
        """Go on with a stream of which `out` holds the beginning, if it `appends`."""
        return self.start(schema, out)


@dataclass(frozen=True, slots=True)
class CsvEncoding(Encoding):
    """Comma-separated values: times as ISO 8601, null as nothing, an empty text as ``""``."""

    delimiter: str = ","
    header: bool = True

    def start(self, schema: Schema, out: BinaryIO) -> Encoder:
        for name, dtype in schema.columns:
            if dtype.is_nested() or dtype == pl.Binary:
                raise ConnectorError(
                    f"column {name!r} is {dtype}, which CSV cannot hold; "
                    "select other columns, or write Parquet"
                )
        encoder = _CsvEncoder(self, schema, out)
        if self.header:
            encoder.begin()
        return encoder

    def resume(self, schema: Schema, out: BinaryIO) -> Encoder:
        return _CsvEncoder(self, schema, out)


class _CsvEncoder(Encoder):
    def __init__(self, form: CsvEncoding, schema: Schema, out: BinaryIO) -> None:
        self._form = form
        self._schema = schema
        self._columns = [_textual(name, dtype) for name, dtype in schema.columns]
        self._out = out

    def begin(self) -> None:
        empty = self._schema.empty().select(self._columns)
        self._put(empty, header=True)

    def write(self, rows: pl.DataFrame) -> None:
        self._put(rows.select(self._columns), header=False)

    def _put(self, rows: pl.DataFrame, *, header: bool) -> None:
        buffer = io.BytesIO()
        rows.write_csv(buffer, include_header=header, separator=self._form.delimiter)
        self._out.write(buffer.getbuffer())


def _textual(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(dtype, pl.Datetime):
        return column.dt.to_string("iso:strict")
    if isinstance(dtype, pl.Duration):
        return column.dt.to_string("iso")
    if isinstance(dtype, pl.Time):
        return column.dt.to_string("%H:%M:%S%.6f")
    return column


@dataclass(frozen=True, slots=True)
class JsonLinesEncoding(Encoding):
    """A JSON object a line; NaN and infinities, which JSON does not have, become null."""

    def start(self, schema: Schema, out: BinaryIO) -> Encoder:
        for name, dtype in schema.columns:
            if _holds_bytes(dtype):
                raise ConnectorError(
                    f"column {name!r} holds bytes, which JSON cannot; "
                    "encode them as text, or write Parquet"
                )
        return _JsonEncoder(schema, out)


class _JsonEncoder(Encoder):
    def __init__(self, schema: Schema, out: BinaryIO) -> None:
        self._names = list(schema.names)
        self._out = out
        self._by_kernel = encodable(schema.empty().select(self._names))

    def write(self, rows: pl.DataFrame) -> None:
        chosen = rows if rows.columns == self._names else rows.select(self._names)
        if self._by_kernel:
            write_lines(chosen.rechunk(), self._out.write)
            return
        buffer = io.BytesIO()
        chosen.write_ndjson(buffer)
        self._out.write(buffer.getbuffer())


def _holds_bytes(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return _holds_bytes(_instance(dtype.inner))
    if isinstance(dtype, pl.Struct):
        return any(_holds_bytes(_instance(field.dtype)) for field in dtype.fields)
    return dtype == pl.Binary


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return cast(pl.DataType, dtype() if isinstance(dtype, DataTypeClass) else dtype)


@dataclass(frozen=True, slots=True)
class TextEncoding(Encoding):
    """One column of text, a line a row; null is an empty line.

    `column` may be left out if the stream has one text column only.
    """

    column: str | None = None

    def start(self, schema: Schema, out: BinaryIO) -> Encoder:
        texts = [name for name, dtype in schema.columns if dtype == pl.String]
        found = ", ".join(texts) or "none"
        if self.column is None:
            if len(texts) != 1:
                raise ConnectorError(f"say which column to write; the text columns are: {found}")
            return _TextEncoder(texts[0], out)
        if self.column not in texts:
            raise ConnectorError(
                f"{self.column!r} is no text column; the text columns are: {found}"
            )
        return _TextEncoder(self.column, out)


class _TextEncoder(Encoder):
    def __init__(self, column: str, out: BinaryIO) -> None:
        self._column = column
        self._out = out

    def write(self, rows: pl.DataFrame) -> None:
        lines = [text or "" for text in rows[self._column].to_list()]
        if lines:
            self._out.write(("\n".join(lines) + "\n").encode())


@dataclass(frozen=True, slots=True)
class ParquetEncoding(Encoding):
    """Apache Parquet, in row groups of 65,536 rows, compressed with Zstandard."""

    appends: ClassVar[bool] = False

    def start(self, schema: Schema, out: BinaryIO) -> Encoder:
        arrow = schema.arrow()
        # Loaded here, as it is large and most flows do without.
        from pyarrow.parquet import ParquetWriter

        writer = ParquetWriter(out, arrow, compression="zstd")
        return _GroupEncoder(arrow, writer)


@dataclass(frozen=True, slots=True)
class IpcEncoding(Encoding):
    """The Arrow IPC file format, in batches of 65,536 rows."""

    appends: ClassVar[bool] = False

    def start(self, schema: Schema, out: BinaryIO) -> Encoder:
        arrow = schema.arrow()
        return _GroupEncoder(arrow, pa.ipc.new_file(out, arrow))


class _GroupEncoder(Encoder):
    """Cuts rows into groups of a fixed size, so that the bytes do not show how they came."""

    def __init__(
        self, schema: pa.Schema, writer: pyarrow.parquet.ParquetWriter | pa.RecordBatchFileWriter
    ) -> None:
        self._schema = schema
        self._writer = writer
        self._held: list[pl.DataFrame] = []
        self._rows = 0

    def write(self, rows: pl.DataFrame) -> None:
        self._held.append(rows)
        self._rows += len(rows)
        if self._rows < ROWS:
            return
        every = pl.concat(self._held)
        whole = self._rows - self._rows % ROWS
        for start in range(0, whole, ROWS):
            self._put(every.slice(start, ROWS))
        self._held, self._rows = [every.slice(whole)], self._rows - whole

    def finish(self) -> None:
        if self._rows:
            self._put(pl.concat(self._held))
        self._writer.close()

    def abandon(self) -> None:
        self._held, self._rows = [], 0
        self._writer.close()

    def _put(self, rows: pl.DataFrame) -> None:
        table = rows.select(self._schema.names).to_arrow().cast(self._schema).combine_chunks()
        for batch in table.to_batches():
            self._writer.write_batch(batch)
