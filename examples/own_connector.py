"""A connector of your own: a source that reads a SQLite table, a sink that writes one.

docs/connectors.md walks through it; tests/test_example_own_connector.py holds it against the
conformance suite.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from headwater.flows.connector import (
    DELETED,
    Chunk,
    Dead,
    Reader,
    Signal,
    Sink,
    SinkContext,
    Source,
    SourceContext,
    Writer,
)
from headwater.flows.errors import ConnectorError

PathLike = str | os.PathLike[str]


def table(path: PathLike, name: str) -> Source[Any]:
    """Return a source of the rows of a SQLite table; the columns are the event's fields."""
    return TableSource(os.fspath(path), name)


@dataclass(frozen=True, slots=True)
class TableSource(Source[Any]):
    """One partition; the offset of a row is its rowid, so that reading can begin anywhere."""

    path: str
    name: str

    def partitions(self) -> Sequence[str]:
        return [f"{self.path}#{self.name}"]

    def open(self, partition: str, context: SourceContext) -> Reader:
        return TableReader(self, context)


class TableReader(Reader):
    """Asks for the rows above the last one, so it holds no more than it was asked for."""

    def __init__(self, source: TableSource, context: SourceContext) -> None:
        if not Path(source.path).is_file():
            raise ConnectorError(f"{source.path}: there is no such file")
        self._source = source
        self._boundary = context.boundary
        self._last = -(2**63) if context.start is None else context.start
        self._database = sqlite3.connect(f"file:{source.path}?mode=ro", uri=True)
        self._open = True

    def read(self, limit: int) -> Chunk | Signal:
        if not self._open:
            return Signal.END
        query = f"SELECT rowid, * FROM {quoted(self._source.name)} WHERE rowid > ? ORDER BY rowid"
        try:
            cursor = self._database.execute(f"{query} LIMIT ?", (self._last, limit))
            found = cursor.fetchall()
        except sqlite3.Error as error:
            raise ConnectorError(f"{self._source.path}: {error}") from error
        if not found:
            self.close()
            return Signal.END
        self._last = found[-1][0]
        names = [column[0] for column in cursor.description[1:]]
        return self._checked(names, found)

    def _checked(self, names: list[str], found: list[tuple[Any, ...]]) -> Chunk:
        # As text, for SQLite has no types that hold: the boundary makes the event's types of it.
        texts = [[None if cell is None else str(cell) for cell in row[1:]] for row in found]
        frame = pl.DataFrame(texts, schema=dict.fromkeys(names, pl.String), orient="row")
        checked = self._boundary.columns(frame, lambda index: repr(found[index][1:]).encode())
        rowids = [row[0] for row in found]
        offsets = pl.Series("offset", rowids, dtype=pl.Int64).gather(checked.index)
        dead = [Dead(rowids[bad.index], bad.raw, bad.reason) for bad in checked.bad]
        return Chunk(checked.rows, offsets, dead)

    def close(self) -> None:
        self._open = False
        self._database.close()

    def describe(self, offset: int) -> str:
        return f"{self._source.path}, table {self._source.name}, rowid {offset}"


def to_table(path: PathLike, name: str) -> Sink:
    """Return a sink that writes a SQLite table; an upsert stream's key is the primary key."""
    return TableSink(os.fspath(path), name)


@dataclass(frozen=True, slots=True)
class TableSink(Sink):
    """Writes in one transaction, which ends at close: others see all of it or nothing."""

    upsert: ClassVar[bool] = True

    path: str
    name: str

    def open(self, context: SinkContext) -> Writer:
        for name, dtype in context.schema.columns:
            if dtype.is_nested():
                raise ConnectorError(f"column {name!r} is {dtype}, which SQLite cannot hold")
        return TableWriter(self, context)


class TableWriter(Writer):
    def __init__(self, sink: TableSink, context: SinkContext) -> None:
        self._names = list(context.schema.names)
        self._key = list(context.schema.key or ())
        self._table = quoted(sink.name)
        self._database = sqlite3.connect(sink.path, isolation_level=None)
        columns = ", ".join(quoted(name) for name in self._names)
        primary = ", ".join(quoted(name) for name in self._key)
        key = f", PRIMARY KEY ({primary})" if primary else ""
        self._database.execute("BEGIN")
        self._database.execute(f"CREATE TABLE IF NOT EXISTS {self._table} ({columns}{key})")
        self._open = True

    def write(self, rows: pl.DataFrame) -> None:
        marks = ", ".join("?" for _ in self._names)
        insert = f"INSERT OR REPLACE INTO {self._table} VALUES ({marks})"
        where = " AND ".join(f"{quoted(name)} IS ?" for name in self._key)
        for row in rows.iter_rows(named=True):
            if row.get(DELETED):
                values = [stored(row[name]) for name in self._key]
                self._database.execute(f"DELETE FROM {self._table} WHERE {where}", values)
            else:
                self._database.execute(insert, [stored(row[name]) for name in self._names])

    def close(self) -> None:
        self._end("COMMIT")

    def abort(self) -> None:
        self._end("ROLLBACK")

    def _end(self, how: str) -> None:
        if self._open:
            self._open = False
            with closing(self._database):
                self._database.execute(how)


def quoted(name: str) -> str:
    """Return a name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def stored(value: object) -> object:
    """Return a value as SQLite holds it: numbers and texts as they are, times as ISO 8601."""
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
