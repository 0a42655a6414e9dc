"""What the bytes of a stream mean: lines of text, JSON Lines, CSV.

A format is a description; `start` gives its `Parser`, which takes bytes and gives rows. Parsers
do no I/O: files and standard input share them.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from ..flows.boundary import Boundary, Checked
from ..flows.connector import Chunk, Dead
from ..flows.event import Event
from ..flows.jsonblocks import JsonBlocks, json_blocks
from ..flows.schema import Schema, schema_of
from .lines import HEAD, MAX_LINE, Cut, LineCutter, Long, Whole

__all__ = ["Format", "JsonLines", "Origin", "Parser", "Text", "chunk_of"]


@dataclass(frozen=True, slots=True)
class Origin:
    """What a stream is called, and the fields that its name gives every row."""

    name: str
    event: type[Event]
    boundary: Boundary
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def schema(self) -> Schema:
        """The schema of the event."""
        return schema_of(self.event)


class Parser(ABC):
    """Turns the blocks of one stream, in order, into rows with line numbers as offsets."""

    @abstractmethod
    def feed(self, block: bytes, after: int = 0) -> Chunk:
        """Return the rows that `block` completes; raises `ConnectorError` for another format.

        Rows up to the offset `after` are not asked for, and may be left out.
        """

    @abstractmethod
    def finish(self) -> Chunk:
        """Return the row that the end of the stream completes, if there is one."""

    @abstractmethod
    def abandon(self, reason: str, *, always: bool) -> Chunk:
        """Return what is not complete as dead letters; the next block begins a new stream.

        Line numbers go on. With `always` there is a dead letter even if nothing was begun, so
        that the reason is not lost.
        """


class Format(ABC):
    """Describes a format."""

    @abstractmethod
    def start(self, origin: Origin) -> Parser:
        """Return a parser for one stream."""


def chunk_of(
    checked: Checked,
    numbers: Sequence[int],
    dead: Sequence[Dead],
    raw: Sequence[bytes] | None = None,
) -> Chunk:
    """Return checked rows with their line numbers; `dead` joins what the boundary refused."""
    places = pl.Series("offset", numbers, dtype=pl.Int64)
    every = list(dead)
    for bad in checked.bad:
        found = bad.raw if raw is None else raw[bad.index]
        every.append(Dead(numbers[bad.index], found, bad.reason))
    every.sort(key=lambda one: one.offset)
    offsets = places if len(checked.index) == len(places) else places.gather(checked.index)
    return Chunk(checked.rows, offsets, tuple(every))


def too_long(long: Sequence[Long], limit: int) -> list[Dead]:
    """Return the dead letters of lines above the bound."""
    reason = "the line has {} bytes, more than max_line = {}"
    return [Dead(one.number, one.head, reason.format(one.size, limit)) for one in long]


class _LineParser(Parser):
    """A parser whose rows are lines."""

    def __init__(self, origin: Origin, max_line: int) -> None:
        self._origin = origin
        self._max = max_line
        self._cutter = LineCutter(max_line)

    def feed(self, block: bytes, after: int = 0) -> Chunk:
        rest = self._cutter.skip(block, after)
        return self._complete(rest) if rest else self._parse(Cut())

    def _complete(self, block: bytes) -> Chunk:
        return self._parse(self._cutter.feed(block))

    def finish(self) -> Chunk:
        return self._parse(self._cutter.finish())

    def abandon(self, reason: str, *, always: bool) -> Chunk:
        line = self._cutter.abandon()
        if line is None and always:
            line = Long(self._cutter.number, b"", 0)
            self._cutter.number += 1
        dead = () if line is None else (Dead(line.number, line.head, reason),)
        empty = self._parse(Cut())
        return Chunk(empty.rows, empty.offsets, dead)

    @abstractmethod
    def _parse(self, cut: Cut) -> Chunk: ...


@dataclass(frozen=True, slots=True)
class JsonLines(Format):
    """A JSON object a line; blank lines are no rows."""

    max_line: int = MAX_LINE

    def start(self, origin: Origin) -> Parser:
        return _JsonParser(origin, self.max_line)


class _JsonParser(_LineParser):
    """Hands whole blocks to the boundary; lines one by one where pydantic must see each."""

    def __init__(self, origin: Origin, max_line: int) -> None:
        super().__init__(origin, max_line)
        given = dict(origin.fields)
        self._more = json.dumps(given)[1:-1].encode()
        self._blocks = json_blocks(origin.boundary, max_line, HEAD, given, self._fill)

    def _complete(self, block: bytes) -> Chunk:
        if self._blocks is None:
            return super()._complete(block)
        return self._check(self._blocks, self._cutter.take(block))

    def finish(self) -> Chunk:
        if self._blocks is None:
            return super().finish()
        return self._check(self._blocks, self._cutter.take_last())

    def _check(self, blocks: JsonBlocks, whole: Whole) -> Chunk:
        found = blocks.check(whole.block, whole.begun, whole.number)
        self._cutter.number += found.lines
        long = [Long(one.number, one.head, one.size) for one in found.long]
        dead = too_long([*whole.long, *long], self._max)
        dead += [Dead(bad.index, bad.raw, bad.reason) for bad in found.checked.bad]
        dead.sort(key=lambda one: one.offset)
        return Chunk(found.checked.rows, found.checked.index.alias("offset"), tuple(dead))

    def _parse(self, cut: Cut) -> Chunk:
        lines, numbers = cut.lines, cut.numbers
        if not all(lines) or any(line.isspace() for line in lines):
            kept = [pair for pair in zip(numbers, lines, strict=True) if pair[1].strip()]
            numbers, lines = [number for number, _ in kept], [line for _, line in kept]
        checked = self._origin.boundary.json_lines([self._fill(line) for line in lines])
        return chunk_of(checked, numbers, too_long(cut.long, self._max), lines)

    def _fill(self, line: bytes) -> bytes:
        if not self._more:
            return line
        body = line.strip()
        if not (body.startswith(b"{") and body.endswith(b"}")):
            return line
        comma = b"" if body[1:-1].isspace() or len(body) == 2 else b", "
        return body[:-1] + comma + self._more + b"}"


@dataclass(frozen=True, slots=True)
class Text(Format):
    """A row a line: `text`, and `file` and `line` if the event has such fields."""

    max_line: int = MAX_LINE

    def start(self, origin: Origin) -> Parser:
        return _TextParser(origin, self.max_line)


class _TextParser(_LineParser):
    def __init__(self, origin: Origin, max_line: int) -> None:
        super().__init__(origin, max_line)
        self._names = frozenset(origin.schema.names)
        self._fields = dict(origin.fields)
        if "file" in self._names:
            self._fields.setdefault("file", origin.name)

    def _parse(self, cut: Cut) -> Chunk:
        lines, numbers = cut.lines, cut.numbers
        dead = too_long(cut.long, self._max)
        try:
            texts = b"\n".join(lines).decode().split("\n") if lines else []
        except UnicodeDecodeError:
            lines, numbers, texts, refused = _decoded(lines, numbers)
            dead += refused
        columns = [pl.Series("text", texts, dtype=pl.String)]
        if "line" in self._names:
            columns.append(pl.Series("line", numbers, dtype=pl.Int64))
        frame = pl.DataFrame(columns).with_columns(
            pl.lit(value).alias(name) for name, value in self._fields.items()
        )
        checked = self._origin.boundary.columns(frame, lines.__getitem__)
        return chunk_of(checked, numbers, dead)


def _decoded(
    lines: Sequence[bytes], numbers: Sequence[int]
) -> tuple[list[bytes], list[int], list[str], list[Dead]]:
    kept: list[bytes] = []
    places: list[int] = []
    texts: list[str] = []
    dead: list[Dead] = []
    for number, line in zip(numbers, lines, strict=True):
        try:
            texts.append(line.decode())
        except UnicodeDecodeError as error:
            dead.append(Dead(number, line, not_utf8(error)))
        else:
            kept.append(line)
            places.append(number)
    return kept, places, texts, dead


def not_utf8(error: UnicodeDecodeError) -> str:
    """Return the reason of a dead letter that is not UTF-8."""
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start}"
