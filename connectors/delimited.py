"""CSV: records to columns, with pyarrow's reader."""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.csv

from ..flows.boundary import Checked
from ..flows.connector import Chunk, Dead
from ..flows.errors import ConnectorError, SchemaError
from .formats import Format, Origin, Parser, chunk_of, not_utf8, too_long
from .lines import MAX_LINE
from .records import RecordCutter, Records

__all__ = ["Csv"]


@dataclass(frozen=True, slots=True)
class Csv(Format):
    """Comma-separated values (RFC 4180).

    The first record names the columns, unless `header` is false: then they are the event's
    fields, in order. An unquoted field that reads `null` is null, or that text itself where the
    event wants a text. Blank lines are no rows, unless there is only one column.
    """

    delimiter: str = ","
    null: str = ""
    header: bool = True
    max_line: int = MAX_LINE

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n':
            raise ValueError(f"{self.delimiter!r} is no delimiter; give one ASCII character")

    def start(self, origin: Origin) -> Parser:
        return _CsvParser(self, origin)


class _CsvParser(Parser):
    def __init__(self, form: Csv, origin: Origin) -> None:
        self._form = form
        self._origin = origin
        self._cutter = RecordCutter(form.max_line, form.delimiter)
        schema = origin.schema
        self._texts = [
            name
            for name, dtype in schema.columns
            if dtype == pl.String
            and name not in schema.nullable
            and name not in dict(origin.fields)
        ]
        self._names: list[str] | None = None
        self._wanted: list[str] = []
        self._empty = self._check(pl.DataFrame(schema={n: pl.String for n in schema.names}), [])
        if not form.header:
            given = dict(origin.fields)
            self._begin([name for name in schema.names if name not in given])

    def feed(self, block: bytes, after: int = 0) -> Chunk:
        return self._parse(self._cutter.feed(block), after)

    def finish(self) -> Chunk:
        return self._parse(self._cutter.finish())

    def abandon(self, reason: str, *, always: bool) -> Chunk:
        pieces = self._cutter.abandon().unclosed
        if always and not pieces:
            pieces = [(self._cutter.number, b"")]
            self._cutter.skip()
        if self._form.header:
            self._names = None
        return self._nothing([Dead(number, raw, reason) for number, raw in pieces])

    def _parse(self, records: Records, after: int = 0) -> Chunk:
        dead = too_long(records.long, self._form.max_line)
        dead += [
            Dead(number, raw, "a quoted field is not closed") for number, raw in records.unclosed
        ]
        raw, numbers = records.raw, records.numbers
        while self._names is None and (raw or dead):
            bad = min(dead, key=lambda one: one.offset, default=None)
            if bad is not None and not (raw and numbers[0] < bad.offset):
                raise ConnectorError(
                    f"{self._origin.name}: the first line is no CSV header: {bad.reason}"
                )
            first, raw, numbers = raw[0], raw[1:], numbers[1:]
            if first.strip():
                self._begin(self._header(first))
        first_asked = bisect_right(numbers, after)
        raw, numbers = raw[first_asked:], numbers[first_asked:]
        if not raw or self._names is None:
            return self._nothing(dead)
        raw, numbers = self._usable(raw, numbers, dead)
        frame, raw, numbers = self._table(raw, numbers, dead)
        return chunk_of(self._check(frame, raw), numbers, dead)

    def _nothing(self, dead: list[Dead]) -> Chunk:
        return chunk_of(self._empty, (), dead)

    def _header(self, record: bytes) -> list[str]:
        try:
            text = record.decode()
        except UnicodeDecodeError as error:
            raise ConnectorError(
                f"{self._origin.name}: the first line is no CSV header: {not_utf8(error)}"
            ) from error
        names = self._split(text)
        if names is None:
            raise ConnectorError(f"{self._origin.name}: the first line is no CSV header")
        return [name.strip() for name in names]

    def _begin(self, names: list[str]) -> None:
        unique: list[str] = []
        for place, name in enumerate(names, start=1):
            if name in unique and name in self._origin.schema.names:
                raise ConnectorError(f"{self._origin.name}: two columns are called {name!r}")
            unique.append(name if name and name not in unique else f"column {place} {name}")
        self._names = unique
        given = dict(self._origin.fields)
        fields = [name for name in self._origin.schema.names if name not in given]
        # A field whose name is not among the columns may have an alias: the boundary finds it.
        self._wanted = fields if set(fields) <= set(unique) else unique
        self._check(pl.DataFrame(schema={name: pl.String for name in self._wanted}), ())

    def _check(self, frame: pl.DataFrame, raw: Sequence[bytes]) -> Checked:
        filled = frame.with_columns(
            [pl.col(name).fill_null(self._form.null) for name in self._texts if name in frame]
            + [pl.lit(value).alias(name) for name, value in self._origin.fields]
        )
        try:
            return self._origin.boundary.columns(filled, raw.__getitem__)
        except SchemaError as error:
            raise ConnectorError(f"{self._origin.name}: {error}") from error

    def _usable(
        self, raw: list[bytes], numbers: list[int], dead: list[Dead]
    ) -> tuple[list[bytes], list[int]]:
        """Leave out blank records, and those that are not UTF-8."""
        assert self._names is not None
        blanks = len(self._names) > 1 and any(not one or one == b"\r" for one in raw)
        whole = b"\n".join(raw)
        if not blanks and whole.isascii():
            return raw, numbers
        kept: list[tuple[bytes, int]] = []
        for number, one in zip(numbers, raw, strict=True):
            if blanks and not one.strip(b"\r"):
                continue
            try:
                one.decode()
            except UnicodeDecodeError as error:
                dead.append(Dead(number, one.removesuffix(b"\r"), not_utf8(error)))
            else:
                kept.append((one, number))
        return [one for one, _ in kept], [number for _, number in kept]

    def _table(
        self, raw: list[bytes], numbers: list[int], dead: list[Dead]
    ) -> tuple[pl.DataFrame, list[bytes], list[int]]:
        """Return the columns of the records that have the right number of fields."""
        assert self._names is not None
        bad: list[tuple[int, int]] = []
        table = self._read(b"\n".join(raw) + b"\n", bad) if raw else None
        if table is None or len(table) + len(bad) != len(raw):
            return self._one_by_one(raw, numbers, dead)
        frame = pl.DataFrame(pl.from_arrow(table))
        if bad:
            for index, fields in bad:
                dead.append(
                    Dead(numbers[index], raw[index].removesuffix(b"\r"), self._count(fields))
                )
            out = {index for index, _ in bad}
            raw = [one for index, one in enumerate(raw) if index not in out]
            numbers = [one for index, one in enumerate(numbers) if index not in out]
        return frame, raw, numbers

    def _read(self, block: bytes, bad: list[tuple[int, int]]) -> pa.Table:
        assert self._names is not None

        def skip(row: pyarrow.csv.InvalidRow) -> str:
            bad.append((row.number - 1, row.actual_columns))
            return "skip"

        return pyarrow.csv.read_csv(
            pa.BufferReader(block),
            pyarrow.csv.ReadOptions(
                use_threads=False, block_size=len(block) + 1, column_names=self._names
            ),
            pyarrow.csv.ParseOptions(
                delimiter=self._form.delimiter,
                newlines_in_values=True,
                ignore_empty_lines=len(self._names) > 1,
                invalid_row_handler=skip,
            ),
            pyarrow.csv.ConvertOptions(
                check_utf8=False,
                column_types={name: pa.string() for name in self._names},
                include_columns=self._wanted,
                null_values=[self._form.null],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    def _one_by_one(
        self, raw: list[bytes], numbers: list[int], dead: list[Dead]
    ) -> tuple[pl.DataFrame, list[bytes], list[int]]:
        """Parse record by record, where lone carriage returns make the counts differ."""
        assert self._names is not None
        rows: list[list[str | None]] = []
        kept: list[bytes] = []
        places: list[int] = []
        for number, one in zip(numbers, raw, strict=True):
            line = one.removesuffix(b"\r")
            fields = self._split(line.decode())
            if fields is None or len(fields) != len(self._names):
                reason = (
                    "a carriage return in a field" if fields is None else self._count(len(fields))
                )
                dead.append(Dead(number, line, reason))
                continue
            rows.append([None if field == self._form.null else field for field in fields])
            kept.append(one)
            places.append(number)
        schema = {name: pl.String for name in self._names}
        frame = (
            pl.DataFrame(rows, schema=schema, orient="row") if rows else pl.DataFrame(schema=schema)
        )
        return frame.select(self._wanted), kept, places

    def _split(self, text: str) -> list[str] | None:
        try:
            rows = list(csv.reader([text], delimiter=self._form.delimiter, strict=False))
        except csv.Error:
            return None
        return rows[0] if len(rows) == 1 else [""]

    def _count(self, fields: int) -> str:
        assert self._names is not None
        wanted = len(self._names)
        found = f"{fields} field" + ("" if fields == 1 else "s")
        return (
            f"the row has {found}, the header {wanted}"
            if self._form.header
            else (f"the row has {found}, the event {wanted}")
        )
