"""What the decoder of JSON is told about fields, and what it gives back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import pyarrow as pa

Kind = Literal["bool", "int", "float", "text", "instant", "date", "time", "list", "object"]

REQUIRED: Final = ...
LARGEST: Final = 2**31 - 1
DEEPEST: Final = 16

REASONS: Final = ("long", "json", "key", "value", "missing")
"""Why a line is in doubt.

It is longer than allowed; it is not certain to be JSON; a key stands twice or is written with an
escape; a field's value is not certain; a field without a default is absent.
"""

_PLAIN: Final[dict[pa.DataType, Kind]] = {
    pa.bool_(): "bool",
    pa.int8(): "int",
    pa.int16(): "int",
    pa.int32(): "int",
    pa.int64(): "int",
    pa.float64(): "float",
    pa.string_view(): "text",
    pa.binary_view(): "text",
    pa.date32(): "date",
    pa.time64("ns"): "time",
}
_CLASSES: Final[dict[Kind, type | None]] = {
    "bool": bool,
    "int": int,
    "float": float,
    "text": str,
    "instant": int,
    "date": int,
    "time": int,
    "list": None,
    "object": None,
}
_ESCAPED: Final = re.compile(r'[\x00-\x1f"\\]')


@dataclass(frozen=True, slots=True)
class JsonField:
    """A key of an object, and the column that its values are kept in.

    `type` is bool, int8 to int64, float64, string_view, binary_view, timestamp of µs with a zone,
    date32, time64 of ns, large_list of `item`, or a struct of `fields`, whose own names may be
    other than the keys. A value is taken

    - in a bool column if it is true or false;
    - in an int column if it is an integer that fits; in a float column if it is a number, finite,
      an integer of at most 18 digits;
    - in a column of text or bytes if it is a string;
    - as a time if it is ISO 8601 text with an offset, or, with a `unit` ("s", "ms", "us", "ns"), a
      number of those since 1970: an integer is cut to µs, a fraction rounded half to even (of ns
      it is not taken). A date is "YYYY-MM-DD", a time of day "HH:MM:SS" with up to 6 digits more;
      years are 1000 to 2999 in text;
    - if it is among `allowed`, unless that is empty (bool, int and str);
    - if it is at least `low` and at most `high` (int; float; time, in µs as an int);
    - as null if the field is nullable.

    `default` is what the column keeps where the key is absent, as an int for times: if REQUIRED,
    the line is in doubt. Lists and structs have no other default than None.
    """

    name: str
    type: pa.DataType
    nullable: bool = False
    default: Any = REQUIRED
    unit: str | None = None
    allowed: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    item: JsonField | None = None
    fields: tuple[JsonField, ...] = ()
    kind: Kind = field(init=False)
    """How values are written."""

    def __post_init__(self) -> None:
        """Raise ValueError for what no decoder could do."""
        object.__setattr__(self, "kind", _kind(self))
        if _ESCAPED.search(self.name):
            raise ValueError(f"the key {self.name!r} would be written with an escape")
        self.name.encode()
        if self.unit is not None and self.unit not in FACTORS:
            raise ValueError(f'a unit is "s", "ms", "us" or "ns", not {self.unit!r}')
        if self.default is None and not self.nullable:
            raise ValueError(f"{self.name}: null is the default of a field that is not nullable")
        if self.allowed and self._class not in (bool, int, str):
            raise ValueError(f"{self.name}: a column of {self.type} has no list of what is allowed")
        values = [*self.allowed, *([] if self.default in (REQUIRED, None) else [self.default])]
        if not all(type(value) is self._class for value in values):
            raise ValueError(f"{self.name}: {values} are not of a column of {self.type}")
        for value in values:
            if isinstance(value, str):
                value.encode()
            elif type(value) is int and not self._first <= value <= -self._first - 1:
                raise ValueError(f"{self.name}: {value} does not fit a column of {self.type}")
        for limit in (self.low, self.high):
            if limit is not None and not _is_limit(self, limit):
                raise ValueError(f"{self.name}: {limit!r} is no limit of a column of {self.type}")

    @property
    def _class(self) -> type | None:
        """The class of the column's values, None for lists and structs."""
        if self.type == pa.binary_view():
            return bytes
        return _CLASSES[self.kind]

    @property
    def _first(self) -> int:
        """The lowest int that the column can hold."""
        bits: int = self.type.bit_width
        return -(1 << bits - 1)

    @property
    def reach(self) -> tuple[int, int]:
        """The lowest and the highest int that are taken."""
        first = self._first
        low = first if self.low is None else max(first, int(self.low))
        high = -first - 1 if self.high is None else min(-first - 1, int(self.high))
        return low, high


FACTORS: Final = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 1}
"""How many µs a number of each unit is; ns are divided by 1000 instead."""


def _is_limit(one: JsonField, limit: float) -> bool:
    if one.kind == "float":
        return isinstance(limit, float) and limit == limit
    return one.kind in ("int", "instant") and type(limit) is int and abs(limit) < 1 << 63


def _kind(one: JsonField) -> Kind:
    kind = one.type
    if kind in _PLAIN:
        return _PLAIN[kind]
    if pa.types.is_timestamp(kind) and kind.unit == "us" and kind.tz is not None:
        return "instant"
    if pa.types.is_large_list(kind) and one.item is not None and kind.value_type == one.item.type:
        return "list"
    keys = {part.name for part in one.fields}
    columns = {part.name for part in kind} if pa.types.is_struct(kind) else set()
    same = len(keys) == len(columns) == len(one.fields) > 0
    if same and [part.type for part in kind] == [part.type for part in one.fields]:
        return "object"
    raise ValueError(f"{one.name}: JSON is not decoded into {kind}")


class Doubt(NamedTuple):
    """A line that was not taken.

    `start` and `end` say where it stands, without its end; at `offset` bytes from its start is
    what it was not taken for, `reason` (of `REASONS`).
    """

    line: int
    start: int
    end: int
    reason: str
    offset: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """The lines that were taken, as columns; `rows` (int64) has the number of each.

    `lines` counts all lines, blank ones too.
    """

    columns: list[pa.Array]
    rows: pa.Array
    lines: int
    doubts: list[Doubt]


def checked_fields(fields: Sequence[JsonField]) -> tuple[JsonField, ...]:
    """The fields of an object; raises ValueError if a name stands twice, or they nest too deep."""
    names = [one.name for one in fields]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"an object has at least one key, each once, not {names}")
    if max(map(_depth, fields)) > DEEPEST:
        raise ValueError(f"fields nest more than {DEEPEST} deep")
    return tuple(fields)


def _depth(one: JsonField) -> int:
    parts = one.fields if one.item is None else (one.item,)
    return 1 + max(map(_depth, parts), default=0)


def checked_sizes(*sizes: int) -> None:
    """Raise ValueError for more bytes than one call takes."""
    if sum(sizes) > LARGEST:
        raise ValueError(f"at most {LARGEST} bytes are decoded in one call, not {sum(sizes)}")
