"""Whole blocks of JSON Lines, checked without an object for each line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from ..ext.jsonfields import Doubt
from .aliases import outer_names
from .boundary import Bad, Boundary, Checked, merged
from .certain import certain_values
from .fieldtypes import FieldType, field_types
from .jsondecoder import JsonDecoder, decoder_of, framed

__all__ = ["CheckedBlock", "JsonBlocks", "LongLine", "json_blocks"]


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line above the bound: its number, how it begins, how many bytes it has."""

    number: int
    head: bytes
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class CheckedBlock:
    """What the lines of a block hold; `checked` has their numbers as places.

    `lines` says how many there were, blank ones, which are no rows, among them.
    """

    checked: Checked
    long: list[LongLine]
    lines: int


@dataclass(frozen=True, slots=True)
class JsonBlocks:
    """Checks blocks of JSON lines for a boundary.

    Lines above `longest` bytes are not looked at; of those, the first `head` bytes are kept.
    `given` are the values of the fields that do not stand in the lines, and `fill` puts them there.
    """

    boundary: Boundary
    decoder: JsonDecoder
    longest: int
    head: int
    given: Mapping[str, pl.Series]
    fill: Callable[[bytes], bytes]

    def check(self, block: Any, begun: bytes, first: int) -> CheckedBlock:
        """Check the complete lines of `begun` and `block`, the first with the number `first`."""
        decoded = self.decoder.decode(block, begun, first, self.longest)
        fields = field_types(self.boundary.event)
        read = {name: kept for name, kept in fields.items() if name not in self.given}
        rows = framed(decoded.columns, read)
        if self.given:
            rows = rows.with_columns(self._constants(rows.height)).select(list(fields))
        checked = Checked(rows, pl.Series("index", decoded.rows), [])
        long: list[LongLine] = []
        lines: list[tuple[int, bytes]] = []
        text = memoryview(block)
        for doubt in decoded.doubts:
            if doubt.reason == "long":
                kept = _cut(begun, text, doubt, self.head)
                long.append(LongLine(doubt.line, kept, doubt.end - doubt.start))
            else:
                lines.append((doubt.line, _cut(begun, text, doubt)))
        if lines:
            checked = merged(checked, self._judged(lines))
        return CheckedBlock(checked, long, decoded.lines)

    def _constants(self, height: int) -> list[pl.Series]:
        return [value.new_from_index(0, height).alias(n) for n, value in self.given.items()]

    def _judged(self, lines: list[tuple[int, bytes]]) -> Checked:
        """What pydantic says to lines that are in doubt."""
        filled = [self.fill(line) for _, line in lines]
        found = self.boundary.each_line(filled, [number for number, _ in lines])
        raw = dict(lines)
        bad = [Bad(one.index, raw[one.index], one.reason) for one in found.bad]
        return Checked(found.rows, found.index, bad)


def _cut(begun: bytes, block: memoryview, doubt: Doubt, longest: int | None = None) -> bytes:
    """The bytes of a line of `begun` and `block`."""
    end = doubt.end if longest is None else min(doubt.end, doubt.start + longest)
    before, after = max(0, doubt.start - len(begun)), max(0, end - len(begun))
    return begun[doubt.start : end] + bytes(block[before:after])


def json_blocks(
    boundary: Boundary,
    longest: int,
    head: int,
    given: Mapping[str, str],
    fill: Callable[[bytes], bytes],
) -> JsonBlocks | None:
    """What checks blocks for a boundary, with values `given` by the keys that they stand for.

    None if pydantic has to look at every line.
    """
    decoder = decoder_of(boundary.event, given)
    if decoder is None:
        return None
    fields = field_types(boundary.event)
    values = {}
    for name, key in (outer_names(boundary.event) or {}).items():
        if key in given:
            value = _constant(fields[name], given[key])
            if value is None:
                return None
            values[name] = value
    return JsonBlocks(boundary, decoder, longest, head, values, fill)


def _constant(kept: FieldType, text: str) -> pl.Series | None:
    """The value that a field has by a JSON string; None if pydantic has to say."""
    if kept.kind in ("enum", "literal") and kept.polars != pl.String:
        return None  # pydantic takes no text for those
    value, sure = certain_values(kept, pl.Series([text], dtype=pl.String))
    return value if sure.all() else None
