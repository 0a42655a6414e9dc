"""JSON into columns: the plain Python twin of `_jsondecoding`.

A decoder takes the lines of which it is certain what they say, and reports every other as in
doubt; it never refuses one. It is strict about what JSON is (RFC 8259): text is UTF-8, numbers
have at most 64 bytes and values nest at most 64 deep. Keys may come in any order; those that are
no field are passed over, whatever their values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from math import isinf
from typing import Any, Final

import pyarrow as pa

from .jsonfields import (
    FACTORS,
    REQUIRED,
    Decoded,
    Doubt,
    JsonField,
    checked_fields,
    checked_sizes,
)

__all__ = ["JsonDecoder"]

_SPACES: Final = {False: re.compile(rb"[ \t\r]*"), True: re.compile(rb"[ \t\r\n]*")}
_STRING: Final = re.compile(
    rb'"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+)"', re.DOTALL
)
_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?([eE][+-]?[0-9]++)?(?![0-9.eE+-])")
_WORD: Final = re.compile(rb"true|false|null")
_WORDS: Final = {b"true": True, b"false": False, b"null": None}
_DATE: Final = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}", re.ASCII)
_CLOCK: Final = r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?"
_TIME: Final = re.compile(_CLOCK, re.ASCII)
_INSTANT: Final = re.compile(rf"({_DATE.pattern})[T ]{_CLOCK}(Z|[+-][0-9]{{2}}:[0-9]{{2}})")
_LONGEST_NUMBER: Final = 64
_LONGEST_INT: Final = 18
_DEEPEST: Final = 64
_DAY: Final = 86_400_000_000
_FIRST: Final = date(1970, 1, 1).toordinal()


class _Doubtful(Exception):
    """The line is in doubt: the reason, and where."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at


class JsonDecoder:
    """Decodes JSON objects that have these fields; safe between threads.

    Raises ValueError if a name stands twice, or fields nest more than 16 deep.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Sequence[JsonField]) -> None:
        self._fields = checked_fields(fields)

    def decode(
        self, block: Any, head: bytes = b"", first: int = 0, longest: int | None = None
    ) -> Decoded:
        """Decode the lines of `head` and `block` (any buffer of bytes) together.

        A line ends at a line feed, and a carriage return before it belongs to the end; what
        stands after the last is not looked at. The first line has the number `first`. A line of
        white space is no row; one above `longest` bytes is in doubt. Memory behind a `block` that
        is read-only must not change meanwhile; another is copied. Raises ValueError for 2 GiB and
        more.
        """
        text = head + bytes(block)
        checked_sizes(len(text))
        rows: list[list[Any]] = []
        numbers: list[int] = []
        doubts: list[Doubt] = []
        start, lines = 0, text.split(b"\n")[:-1]
        for number, line in enumerate(lines, first):
            size = len(line) - line.endswith(b"\r")
            try:
                if longest is not None and size > longest:
                    raise _Doubtful("long", longest)
                if line.strip():
                    rows.append(_message(self._fields, line, False))
                    numbers.append(number)
            except _Doubtful as found:
                doubts.append(Doubt(number, start, start + size, found.reason, found.at))
            start += len(line) + 1
        return self._decoded(rows, numbers, len(lines), doubts)

    def decode_all(self, messages: Sequence[bytes]) -> Decoded:
        """Decode messages that hold one object each; the first has the number 0.

        Places of doubts are in the message. Raises ValueError for 2 GiB and more in all.
        """
        checked_sizes(*map(len, messages))
        rows: list[list[Any]] = []
        numbers: list[int] = []
        doubts: list[Doubt] = []
        for number, message in enumerate(messages):
            try:
                rows.append(_message(self._fields, message, True))
                numbers.append(number)
            except _Doubtful as found:
                doubts.append(Doubt(number, 0, len(message), found.reason, found.at))
        return self._decoded(rows, numbers, len(messages), doubts)

    def _decoded(
        self, rows: list[list[Any]], numbers: list[int], lines: int, doubts: list[Doubt]
    ) -> Decoded:
        columns = [
            pa.array([row[place] for row in rows], one.type)
            for place, one in enumerate(self._fields)
        ]
        return Decoded(columns, pa.array(numbers, pa.int64()), lines, doubts)


def _message(fields: Sequence[JsonField], text: bytes, feeds: bool) -> list[Any]:
    reader = _Text(text, feeds)
    reader.at = reader.spaces(0)
    if reader.byte() != b"{":
        raise _Doubtful("json", reader.at)
    found = reader.object(fields)
    reader.at = reader.spaces(reader.at)
    if reader.at < len(text):
        raise _Doubtful("json", reader.at)
    return found


class _Text:
    """The text of a message, read up to `at`; with `feeds`, line feeds are white space."""

    def __init__(self, text: bytes, feeds: bool) -> None:
        self.text = text
        self.at = 0
        self._spaces = _SPACES[feeds]

    def byte(self) -> bytes:
        """The next byte; none at the end."""
        return self.text[self.at : self.at + 1]

    def spaces(self, at: int) -> int:
        """Where the white space ends that stands at `at`."""
        match = self._spaces.match(self.text, at)
        assert match is not None
        return match.end()

    def object(self, fields: Sequence[JsonField]) -> list[Any]:
        """What the fields of the object that begins here hold."""
        known = {one.name: one for one in fields}
        found: dict[str, Any] = {}
        if self._begins(b"}"):
            while True:
                name, start = self._key(b"\\")
                if name not in known:
                    self._skip(0)
                elif name in found:
                    raise _Doubtful("key", start)
                else:
                    found[name] = self._value(known[name])
                if self._ends(b"}"):
                    break
        for one in fields:
            if one.name not in found:
                if one.default is REQUIRED:
                    raise _Doubtful("missing", self.at)
                found[one.name] = one.default
        return [_written(one, found[one.name]) for one in fields]

    def _begins(self, closing: bytes) -> bool:
        """Pass the bracket here; whether something stands in it."""
        self.at = self.spaces(self.at + 1)
        if self.byte() != closing:
            return True
        self.at += 1
        return False

    def _ends(self, closing: bytes) -> bool:
        """Pass the comma or the bracket that is next; whether it is the bracket."""
        self.at = self.spaces(self.at)
        byte = self.byte()
        if byte not in (b",", closing) or not byte:
            raise _Doubtful("json", self.at)
        self.at += 1
        if byte == b",":
            self.at = self.spaces(self.at)
        return byte == closing

    def _key(self, refused: bytes = b"") -> tuple[str, int]:
        start = self.at
        name = self._string("json")
        if refused and refused in self.text[start : self.at]:
            raise _Doubtful("key", start)
        self.at = self.spaces(self.at)
        if self.byte() != b":":
            raise _Doubtful("json", self.at)
        self.at = self.spaces(self.at + 1)
        return name, start

    def _string(self, reason: str) -> str:
        match = _STRING.match(self.text, self.at)
        if match is None:
            raise _Doubtful(reason, self.at)
        try:
            value = match[1].decode()
            if "\\" in value:
                value = json.loads(f'"{value}"')
                value.encode()
        except UnicodeError:
            raise _Doubtful(reason, self.at) from None
        self.at = match.end()
        return value

    def _number(self, reason: str) -> int | float:
        """An int if it is written as one, else a float."""
        match = _NUMBER.match(self.text, self.at)
        if match is None or len(match[0]) > _LONGEST_NUMBER:
            raise _Doubtful(reason, self.at)
        self.at = match.end()
        return int(match[0]) if match[1] is match[2] is None else float(match[0])

    def _scalar(self, reason: str) -> Any:
        byte = self.byte()
        if byte == b'"':
            return self._string(reason)
        word = _WORD.match(self.text, self.at)
        if word is None:
            return self._number(reason)
        self.at = word.end()
        return _WORDS[word[0]]

    def _value(self, one: JsonField) -> Any:
        start = self.at
        byte = self.byte()
        if one.kind == "object" and byte == b"{":
            return dict(zip(_names(one), self.object(one.fields), strict=True))
        if one.kind == "list" and byte == b"[":
            return self._list(one)
        value = self._scalar("value")
        if value is None and one.nullable:
            return None
        if one.kind in ("object", "list"):
            raise _Doubtful("value", start)
        taken = _TAKEN[one.kind](one, value, self.text[start : self.at])
        if taken is None or (one.allowed and taken not in one.allowed):
            raise _Doubtful("value", start)
        return taken

    def _list(self, one: JsonField) -> list[Any]:
        assert one.item is not None
        found: list[Any] = []
        if self._begins(b"]"):
            while True:
                found.append(_written(one.item, self._value(one.item)))
                if self._ends(b"]"):
                    break
        return found

    def _skip(self, depth: int) -> None:
        byte = self.byte()
        if byte not in (b"{", b"["):
            self._scalar("json")
            return
        if depth == _DEEPEST:
            raise _Doubtful("json", self.at)
        closing = b"}" if byte == b"{" else b"]"
        if self._begins(closing):
            while True:
                if byte == b"{":
                    self._key()
                self._skip(depth + 1)
                if self._ends(closing):
                    break


def _names(one: JsonField) -> list[str]:
    return [part.name for part in one.type]


def _written(one: JsonField, value: Any) -> Any:
    """A value as pyarrow takes it."""
    return value.encode() if isinstance(value, str) and one.type == pa.binary_view() else value


def _bool(one: JsonField, value: Any, text: bytes) -> bool | None:
    return value if isinstance(value, bool) else None


def _int(one: JsonField, value: Any, text: bytes) -> int | None:
    low, high = one.reach
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and low <= value <= high else None


def _float(one: JsonField, value: Any, text: bytes) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or isinf(value):
        return None
    if isinstance(value, int) and len(text.lstrip(b"-")) > _LONGEST_INT:
        return None
    real = float(value)
    below = one.low is not None and real < one.low
    above = one.high is not None and real > one.high
    return None if below or above else real


def _text(one: JsonField, value: Any, text: bytes) -> str | None:
    return value if isinstance(value, str) else None


def _instant(one: JsonField, value: Any, text: bytes) -> int | None:
    micros = _micros_of_text(value) if isinstance(value, str) else _micros(one, value)
    low, high = one.reach
    return micros if micros is not None and low <= micros <= high else None


def _micros(one: JsonField, value: Any) -> int | None:
    """µs since 1970 that a number of the field's unit stands for."""
    if one.unit is None or value is None or isinstance(value, bool):
        return None
    if isinstance(value, int):
        fits = -(1 << 63) <= value < 1 << 63
        return value * FACTORS[one.unit] // (1000 if one.unit == "ns" else 1) if fits else None
    if one.unit == "ns" or isinf(value):
        return None
    micros = Fraction(value) * FACTORS[one.unit]
    return round(micros) if abs(micros) < 1 << 62 else None


def _micros_of_text(value: str) -> int | None:
    match = _INSTANT.fullmatch(value)
    days = None if match is None else _days(match[1])
    clock = None if match is None else _micros_of_clock(match[2], match[3], match[4], match[5])
    if match is None or days is None or clock is None:
        return None
    offset = 0
    if match[6] != "Z":
        hours, minutes = int(match[6][1:3]), int(match[6][4:6])
        if hours > 13 or minutes > 59:
            return None
        offset = (hours * 60 + minutes) * 60_000_000 * (-1 if match[6][0] == "-" else 1)
    return days * _DAY + clock - offset


def _days(value: str) -> int | None:
    try:
        return date.fromisoformat(value).toordinal() - _FIRST
    except ValueError:
        return None


def _micros_of_clock(hour: str, minute: str, second: str, fraction: str | None) -> int | None:
    try:
        at = datetime(1970, 1, 1, int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError:
        return None
    return int(at.timestamp()) * 1_000_000 + int((fraction or "").ljust(6, "0"))


def _date(one: JsonField, value: Any, text: bytes) -> int | None:
    return _days(value) if isinstance(value, str) and _DATE.fullmatch(value) else None


def _time(one: JsonField, value: Any, text: bytes) -> int | None:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    micros = None if match is None else _micros_of_clock(*match.groups())
    return None if micros is None else micros * 1000


_TAKEN: Final[dict[str, Callable[[JsonField, Any, bytes], Any]]] = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "text": _text,
    "instant": _instant,
    "date": _date,
    "time": _time,
}
