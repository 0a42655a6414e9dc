"""Parquet and Arrow IPC files: columns to checked columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from ..flows.connector import Chunk, Dead, Reader, Signal
from ..flows.errors import ConnectorError, SchemaError
from .formats import Origin, chunk_of
from .pending import Pending
from .soundness import held, sound_rows

if TYPE_CHECKING:
    import pyarrow.parquet

__all__ = ["ROWS", "ColumnReader", "Columnar", "Ipc", "Opened", "Parquet"]

ROWS = 65_536
"""How many rows are read, and written as one group, at a time."""

_MAGIC = b"ARROW1"
_FAILURES = (pa.ArrowException, OSError, EOFError, ValueError)


@dataclass(frozen=True, slots=True)
class Opened:
    """A file of columns: its schema, its batches, and the number of its rows if that is known."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    rows: int | None
    close: Callable[[], None]


class Columnar(ABC):
    """Describes a file format of columns."""

    @abstractmethod
    def open(self, path: str, names: frozenset[str]) -> Opened:
        """Open a file, to give batches of at most `ROWS` rows, of the columns in `names`.

        Raises pyarrow's errors, `OSError`, `EOFError` and `ValueError`, as do the batches.
        """


@dataclass(frozen=True, slots=True)
class Parquet(Columnar):
    """Apache Parquet, read by row group."""

    def open(self, path: str, names: frozenset[str]) -> Opened:
        file = pa.OSFile(path)
        # Loaded here, as it is large and most flows do without.
        from pyarrow.parquet import ParquetFile, read_metadata

        metadata = read_metadata(file)
        file.seek(0)
        repeated = [name for name in _repeated_text(metadata) if name in names]
        parquet = ParquetFile(file, pre_buffer=False, metadata=metadata, read_dictionary=repeated)
        schema = parquet.schema_arrow
        batches = parquet.iter_batches(ROWS, columns=_chosen(schema, names), use_threads=False)
        return Opened(schema, batches, parquet.metadata.num_rows, file.close)


@dataclass(frozen=True, slots=True)
class Ipc(Columnar):
    """Arrow IPC, the file format and the stream format; mapped into memory."""

    def open(self, path: str, names: frozenset[str]) -> Opened:
        file = pa.memory_map(path)
        is_file = file.read(len(_MAGIC)) == _MAGIC
        file.seek(0)
        if is_file:
            indexed = pa.ipc.open_file(file)
            found = (indexed.get_batch(index) for index in range(indexed.num_record_batches))
            return Opened(indexed.schema, _slices(found, names), None, file.close)
        stream = pa.ipc.open_stream(file)
        return Opened(stream.schema, _slices(iter(stream), names), None, file.close)


def _repeated_text(metadata: pyarrow.parquet.FileMetaData) -> list[str]:
    """Return the columns of text that are kept as numbers into a dictionary.

    Reading them as such, and looking the numbers up, takes a quarter of the time.
    """
    if not metadata.num_row_groups:
        return []
    group = metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    return [
        one.path_in_schema
        for place, one in enumerate(columns)
        if metadata.schema.column(place).logical_type.type == "STRING"
        and one.has_dictionary_page
        and one.path_in_schema in metadata.schema.names
    ]


def _chosen(schema: pa.Schema, names: frozenset[str]) -> list[str]:
    """Return the columns to read: all, if one that is wanted may have another name."""
    return [name for name in schema.names if name in names or not names <= set(schema.names)]


def _slices(batches: Iterator[pa.RecordBatch], names: frozenset[str]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        wanted = batch.select(_chosen(batch.schema, names))
        for start in range(0, len(wanted), ROWS):
            yield wanted.slice(start, ROWS)


class ColumnReader(Reader):
    """Reads a file of columns; offsets are row numbers, from 1.

    Raises `ConnectorError` if the file is not of the format, or its columns are not the event's.
    A file that breaks off after its beginning gives the rows before and one dead letter.
    """

    def __init__(self, form: Columnar, path: str, origin: Origin, start: int | None) -> None:
        self._origin = origin
        self._start = start
        self._number = 1
        self._pending = Pending()
        self._ended = False
        given = dict(origin.fields)
        names = frozenset(name for name in origin.schema.names if name not in given)
        try:
            self._file = form.open(path, names)
        except _FAILURES as error:
            kind = type(form).__name__
            raise ConnectorError(
                f"{origin.name}: cannot be read as {kind}: {_one_line(error)}"
            ) from error
        try:
            self._check(_chosen(self._file.schema, names))
            self._empty = self._chunk(_nothing(self._file.schema), range(0), ())
        except ConnectorError:
            self._file.close()
            raise

    def read(self, limit: int) -> Chunk | Signal:
        while not len(self._pending):
            if self._ended:
                return Signal.END
            self._pending.put(self._next(), self._start)
        return self._pending.take(limit)

    def _check(self, chosen: list[str]) -> None:
        """Raise `ConnectorError` for columns that are there twice or of a type without use."""
        for name in chosen:
            fields = self._file.schema.get_all_field_indices(name)
            if len(fields) > 1:
                raise ConnectorError(f"{self._origin.name}: two columns are called {name!r}")
            dtype = self._file.schema.field(fields[0]).type
            if not held(dtype):
                raise ConnectorError(
                    f"{self._origin.name}: column {name!r} is {dtype}, which cannot be read"
                )

    def _next(self) -> Chunk:
        try:
            batch = next(self._file.batches, None)
            if batch is None:
                self._ended = True
                return self._empty
            sound, places, unsound = sound_rows(batch)
        except _FAILURES as error:
            self._ended = True
            reason = f"the file breaks off after row {self._number - 1}: {_one_line(error)}"
            dead = Dead(self._number, b"", reason)
            return Chunk(self._empty.rows, self._empty.offsets, (dead,))
        first = self._number
        self._number += len(batch)
        lost = [Dead(first + one.index, one.raw, one.reason) for one in unsound]
        numbers = range(first, self._number) if not lost else [first + place for place in places]
        return self._chunk(sound, numbers, lost)

    def _chunk(self, batch: pa.RecordBatch, numbers: Sequence[int], dead: Sequence[Dead]) -> Chunk:
        try:
            frame = _frame(_bare(batch))
            if self._origin.fields:
                frame = frame.with_columns(
                    pl.lit(value).alias(name) for name, value in self._origin.fields
                )
            checked = self._origin.boundary.columns(frame)
        except (SchemaError, pl.exceptions.PolarsError) as error:
            raise ConnectorError(f"{self._origin.name}: {_one_line(error)}") from error
        return chunk_of(checked, numbers, dead)

    def close(self) -> None:
        self._ended = True
        self._pending = Pending()
        self._file.close()

    def describe(self, offset: int) -> str:
        return f"{self._origin.name}, row {offset}"

    def progress(self) -> float | None:
        if self._ended:
            return 1.0
        return (self._number - 1) / self._file.rows if self._file.rows else None


def _bare(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch without metadata, which means nothing to a row; polars panics over some.

    Instants are in UTC whatever their zone; polars does not know every name of one.
    """
    fields = [one.remove_metadata() for one in batch.schema]
    columns = batch.columns
    for place, one in enumerate(fields):
        if pa.types.is_timestamp(one.type) and one.type.tz is not None:
            fields[place] = one.with_type(pa.timestamp(one.type.unit, "UTC"))
            columns[place] = columns[place].cast(fields[place].type)
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    """Return a batch as polars has it, text out of dictionaries."""
    columns = [
        _looked_up(name, column) if _is_text_dictionary(column.type) else _column(name, column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pl.DataFrame(columns)


def _is_text_dictionary(dtype: pa.DataType) -> bool:
    return bool(
        pa.types.is_dictionary(dtype)
        and (pa.types.is_string(dtype.value_type) or pa.types.is_large_string(dtype.value_type))
    )


def _column(name: str, column: pa.Array) -> pl.Series:
    return pl.Series(name, pl.from_arrow(column))


def _looked_up(name: str, column: pa.DictionaryArray) -> pl.Series:
    return _column(name, column.dictionary).gather(_column(name, column.indices))


def _nothing(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], one.type) for one in schema], schema=schema)


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
