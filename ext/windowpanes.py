"""Panes of a `WindowTable` and what they hold of each key, for the twin of `_windowing`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pyarrow as pa

from .accumulators import WindowPart, accumulator
from .hashing import row_hashes
from .windowentries import EARLIEST, Held, checked_held, checked_schema, entry_schema, held_by
from .windowkeys import key_column, key_values

__all__ = ["Entry", "Key", "Pane", "taken_back", "written"]

Key: TypeAlias = tuple[Any, ...]


@dataclass(slots=True)
class Entry:
    """What is held of a key; `parts` are its accumulators."""

    key: Key
    hash: int
    parts: list[Any]
    rows: int = 0
    touched: bool = False

    def merge(self, other: Entry) -> None:
        """Take in the rows of a later pane."""
        self.rows += other.rows
        for part, more in zip(self.parts, other.parts, strict=True):
            part.merge(more)

    def copy(self) -> Entry:
        """Return one that may be merged into."""
        return Entry(self.key, self.hash, [part.copy() for part in self.parts], self.rows)

    def held(self) -> dict[Held, Any]:
        """Return what its accumulators hold."""
        return {
            Held(what, part.part.column, part.part.real): value
            for part in self.parts
            for what, value in part.held().items()
        }


@dataclass(slots=True)
class Pane:
    """A stretch of time that no window cuts in two."""

    begin: int
    last_end: int
    """The end of the last window that it is part of."""
    entries: dict[Key, Entry] = field(default_factory=dict)


def written(
    panes: Iterable[Pane], keys: pa.Schema, parts: Sequence[WindowPart], *, whole: bool
) -> pa.RecordBatch:
    """Return the entries of panes, in their order, as `windowentries` says."""
    placed = [(pane.begin, entry) for pane in panes for entry in pane.entries.values()]
    columns = [] if whole else [pa.array([begin for begin, _ in placed], pa.int64())]
    for place, kind in enumerate(keys.types):
        columns.append(key_column([entry.key[place] for _, entry in placed], kind))
    columns.append(pa.array([entry.rows for _, entry in placed], pa.int64()))
    held = [entry.held() for _, entry in placed]
    columns += [pa.array([values[each] for values in held], each.kind) for each in held_by(parts)]
    return pa.RecordBatch.from_arrays(columns, schema=entry_schema(keys, parts, whole=whole))


def taken_back(
    entries: Any, keys: pa.Schema, parts: Sequence[WindowPart], *, whole: bool
) -> Iterator[tuple[int, Entry]]:
    """Yield the entries of a frame, each with the begin of its pane; raises ValueError.

    `whole` is whether there is one window; its pane begins at `EARLIEST`.
    """
    table = pa.RecordBatchReader.from_stream(entries).read_all()
    checked_schema(table.schema, entry_schema(keys, parts, whole=whole))
    if any(column.num_chunks > 1 for column in table.columns):
        raise ValueError("there are several chunks; make them one with rechunk()")
    columns = [column.combine_chunks() for column in table.columns]
    begins = [EARLIEST] * table.num_rows if whole else columns.pop(0).to_pylist()
    if None in begins:
        raise ValueError("begin is null")
    width = len(keys)
    hashes = row_hashes(columns[:width]).to_pylist() if width else [0] * table.num_rows
    values = zip(*map(key_values, columns[:width]), strict=True) if width else [()] * table.num_rows
    named = list(held_by(parts))
    rest = zip(*(column.to_pylist() for column in columns[width:]), strict=True)
    for begin, hashed, key, (rows, *given) in zip(begins, hashes, values, rest, strict=True):
        held = dict(zip(named, given, strict=True))
        checked_held(rows, held)
        yield begin, _entry(key, hashed, rows, parts, held)


def _entry(
    key: Key, hashed: int, rows: int, parts: Sequence[WindowPart], held: dict[Held, Any]
) -> Entry:
    entry = Entry(key, hashed, [accumulator(part) for part in parts], rows)
    for part in entry.parts:
        column, real = part.part.column, part.part.real
        mine = {each.what: v for each, v in held.items() if each[1:] == (column, real)}
        part.take_back(mine, rows)
    return entry
