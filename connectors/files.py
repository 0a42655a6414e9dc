"""Files: text, CSV, JSON Lines, Parquet and Arrow IPC.

A pattern is a path, a list of paths, or a path with wildcards (``*``, ``?``, ``[...]``, ``**``).
A placeholder matches like ``*`` and fills a field of every row: ``data/{origin}/dep.csv``. There
is a partition per file, in name order. A file that is compressed with gzip is recognised by its
content; a ``.zip`` archive stands for its members. Text is UTF-8. Offsets are line numbers (from
1, a header counts), or row numbers for Parquet and IPC.

Memory is bounded whatever the size of a file: 4 MiB of text, a Parquet row group, or 65,536 rows
of a mapped IPC file are parsed at a time. A line above `max_line` bytes is a dead letter.
A run that goes on passes over the lines before its place without parsing them.

With ``follow=True`` a file is read as it grows and never ends. The files are those that match
when the flow starts. When a file is replaced (rotation) the old one is read to its end and then
the new one from its beginning; when it becomes shorter it is read from its beginning. Line
numbers go on; so after either, a restarted flow does not find its place again. Looked at every
100 ms.

What is written appears under its name once it is complete: before that it is ``.NAME.partial``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..flows.connector import Reader, Sink, Source, SourceContext
from .blocks import FileBlocks
from .columnar import Columnar, ColumnReader, Ipc, Parquet
from .delimited import Csv
from .encoders import (
    CsvEncoding,
    IpcEncoding,
    JsonLinesEncoding,
    ParquetEncoding,
    TextEncoding,
)
from .filesink import FileSink, TableSink, encoding_of
from .follow import FollowBlocks
from .formats import Format, JsonLines, Origin, Text
from .lines import MAX_LINE
from .patterns import PathLike, Patterns, find, locate, patterns
from .stream import StreamReader

__all__ = [
    "csv",
    "ipc",
    "json_lines",
    "parquet",
    "text",
    "to_csv",
    "to_ipc",
    "to_json_lines",
    "to_parquet",
    "to_table",
    "to_text",
]


@dataclass(frozen=True, slots=True)
class _StreamFiles(Source[Any]):
    """Files that are read as streams of bytes."""

    files: Patterns
    form: Format

    def partitions(self) -> Sequence[str]:
        return [one.name for one in find(self.files)]

    def open(self, partition: str, context: SourceContext) -> Reader:
        found = locate(self.files, partition)
        origin = Origin(partition, context.event, context.boundary, found.fields)
        parser = self.form.start(origin)
        return StreamReader(partition, FileBlocks(found), parser, context.start)


@dataclass(frozen=True, slots=True)
class _FollowedFiles(Source[Any]):
    """Files that are read as they grow."""

    bounded: ClassVar[bool] = False

    files: Patterns
    form: Format

    def partitions(self) -> Sequence[str]:
        return [one.name for one in find(self.files)]

    def open(self, partition: str, context: SourceContext) -> Reader:
        found = locate(self.files, partition)
        origin = Origin(partition, context.event, context.boundary, found.fields)
        parser = self.form.start(origin)
        blocks = FollowBlocks(found, context.wake)
        return StreamReader(partition, blocks, parser, context.start)


@dataclass(frozen=True, slots=True)
class _ColumnFiles(Source[Any]):
    """Files that hold columns."""

    files: Patterns
    form: Columnar

    def partitions(self) -> Sequence[str]:
        return [one.name for one in find(self.files)]

    def open(self, partition: str, context: SourceContext) -> Reader:
        found = locate(self.files, partition)
        origin = Origin(partition, context.event, context.boundary, found.fields)
        return ColumnReader(self.form, found.path, origin, context.start)


def _streams(pattern: PathLike | Sequence[PathLike], form: Format, *, follow: bool) -> Source[Any]:
    wanted = patterns(pattern)
    return _FollowedFiles(wanted, form) if follow else _StreamFiles(wanted, form)


def text(
    pattern: PathLike | Sequence[PathLike], *, follow: bool = False, max_line: int = MAX_LINE
) -> Source[Any]:
    """Return a source of lines of text: the field `text`, and `file` and `line` if declared."""
    return _streams(pattern, Text(max_line), follow=follow)


def csv(
    pattern: PathLike | Sequence[PathLike],
    *,
    delimiter: str = ",",
    null: str = "",
    header: bool = True,
    follow: bool = False,
    max_line: int = MAX_LINE,
) -> Source[Any]:
    """Return a source of CSV rows (RFC 4180); columns are found by name, others are left out.

    Without `header` the columns are the event's fields in order. An unquoted field that reads
    `null` is null. Blank lines are no rows. A row with another number of fields is a dead letter,
    as is a row above `max_line` bytes; a quote that does not close costs its own line.
    """
    return _streams(pattern, Csv(delimiter, null, header, max_line), follow=follow)


def json_lines(
    pattern: PathLike | Sequence[PathLike], *, follow: bool = False, max_line: int = MAX_LINE
) -> Source[Any]:
    """Return a source of JSON objects, one a line; blank lines are no rows."""
    return _streams(pattern, JsonLines(max_line), follow=follow)


def parquet(pattern: PathLike | Sequence[PathLike]) -> Source[Any]:
    """Return a source of the rows of Parquet files; columns are found by name."""
    return _ColumnFiles(patterns(pattern), Parquet())


def ipc(pattern: PathLike | Sequence[PathLike]) -> Source[Any]:
    """Return a source of the rows of Arrow IPC files (file or stream format).

    The file is mapped into memory: do not cut it while it is read.
    """
    return _ColumnFiles(patterns(pattern), Ipc())


def to_csv(path: PathLike, *, delimiter: str = ",", header: bool = True) -> Sink:
    """Return a sink that writes a CSV file; ``.gz`` compresses."""
    return FileSink(os.fspath(path), CsvEncoding(delimiter, header))


def to_json_lines(path: PathLike) -> Sink:
    """Return a sink that writes a JSON object a line; ``.gz`` compresses."""
    return FileSink(os.fspath(path), JsonLinesEncoding())


def to_text(path: PathLike, column: str | None = None) -> Sink:
    """Return a sink that writes one text column, a line a row; ``.gz`` compresses."""
    return FileSink(os.fspath(path), TextEncoding(column))


def to_parquet(path: PathLike) -> Sink:
    """Return a sink that writes a Parquet file, in row groups of 65,536 rows."""
    return FileSink(os.fspath(path), ParquetEncoding())


def to_ipc(path: PathLike) -> Sink:
    """Return a sink that writes an Arrow IPC file, in batches of 65,536 rows."""
    return FileSink(os.fspath(path), IpcEncoding())


def to_table(path: PathLike) -> Sink:
    """Return a sink that takes upsert streams and writes the final table, sorted by key.

    The suffix says the format: .csv, .jsonl, .ndjson, .parquet, .arrow or .ipc. Memory grows with
    the number of keys. Raises `ValueError` for another suffix.
    """
    return TableSink(os.fspath(path), encoding_of(os.fspath(path)))
