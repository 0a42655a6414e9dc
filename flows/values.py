"""Python values in a column of a snapshot, and back: what states and accumulators are written as.

A column in which all values are of one plain type (int, float, str or bool, or None) is of the type
that polars has for them. Any other is Binary and holds, value by value, JSON: what JSON has as it
is, the rest as an object with a tag, such as ``{"$tuple":[1,2]}`` or ``{"$bytes":"AP8="}``. What
comes back is of the same type and, bit for bit, of the same value; a set may iterate in another
order, and what one value holds in two places is two things afterwards.

Reading runs no code that the bytes name: a class is looked up among those of the declared type,
then in modules that are loaded; it has to be a dataclass, a NamedTuple, an Enum, an event or a
pydantic model, and is filled without its constructor.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import struct
import uuid
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from types import NoneType
from typing import Any, Final, NoReturn
from zoneinfo import ZoneInfo

import polars as pl
from pydantic_core import TzInfo, to_json

from .errors import HeadwaterError
from .sketches import DistinctSketch, QuantileSketch
from .valueclasses import ClassNames, Record, record_of

__all__ = ["Encoding", "StateError"]

_COLUMNS: Final[dict[type, pl.DataType]] = {
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    str: pl.String(),
}
_PLAIN_INT: Final = 1 << 1024
"""Integers from here on are hexadecimal: Python refuses to read very long decimal ones."""
_MICROSECOND: Final = timedelta(microseconds=1)
_BROKEN: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What reading bytes that are no value raises."""


class StateError(HeadwaterError):
    """A value that no snapshot can hold, or bytes in a snapshot that are no value."""


class Encoding:
    """Writes the values of one owner, such as ``operator 'watch', state 'seen'``, and reads them.

    `kind` is their declared type, whose classes need not be at the top of a module; None if it is
    not known. Classes of the module `home` are written without its name, so that a flow's file may
    move.
    """

    __slots__ = ("_decoder", "_names", "owner")

    def __init__(self, owner: str, kind: Any = None, home: str | None = None) -> None:
        self.owner = owner
        self._names = ClassNames(kind, home)
        self._decoder = json.JSONDecoder(object_hook=self._untagged, parse_constant=_no_constant)

    def column(self, name: str, values: Sequence[Any]) -> pl.Series:
        """Return values as a column; raises StateError for one that cannot be written."""
        kinds = set(map(type, values)) - {NoneType}
        if len(kinds) == 1 and (dtype := _COLUMNS.get(kinds.pop())) is not None:
            try:
                return pl.Series(name, values, dtype=dtype)
            except (OverflowError, TypeError, UnicodeEncodeError):
                pass  # an int beyond 64 bits, or half a surrogate pair
        return pl.Series(name, [self.encode(value) for value in values], dtype=pl.Binary())

    def values(self, column: pl.Series) -> list[Any]:
        """Return what `column` was given; raises StateError for a column that it did not give."""
        if column.dtype == pl.Binary():
            return [self.decode(data) for data in column.to_list()]
        if column.dtype not in _COLUMNS.values():
            raise StateError(f"{self.owner}: a column of {column.dtype} holds no state")
        return column.to_list()

    def encode(self, value: Any) -> bytes:
        """Return one value as bytes; raises StateError if it, or a part of it, has no form."""
        try:
            return to_json(self._plain(value))
        except (RecursionError, ValueError):  # a ValueError is what pydantic makes of it
            raise StateError(
                f"{self.owner}: a {_name(type(value))} in its state contains itself, or lists in "
                f"lists without end, and cannot be kept in a snapshot; keep a flat list, and places"
                f" in it in place of references"
            ) from None

    def decode(self, data: bytes) -> Any:
        """Return the value that `encode` wrote; raises StateError for other bytes."""
        try:
            return self._decoder.decode(data.decode())
        except _BROKEN as error:
            shown = data[:80] if isinstance(data, bytes) else data
            raise StateError(f"{self.owner}: {shown!r} is no state of it: {error}") from error

    def _plain(self, value: Any) -> Any:
        """Return a value in lists, dicts, text and numbers that JSON gives back as they are."""
        kind = type(value)
        if kind is NoneType or kind is bool:
            return value
        if kind is int:
            return value if -_PLAIN_INT < value < _PLAIN_INT else {"$int": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"$float": struct.pack(">d", value).hex()}
        if kind is str:
            return _text(value)
        if kind is list:
            return self._plain_list(value)
        if kind is dict:
            return self._plain_dict(value)
        known = _WRITTEN.get(kind)
        if known is not None:
            tag, write, _ = known
            try:
                written = write(value)
            except TypeError as error:
                raise StateError(f"{self.owner}: {error}") from error
            return {f"${tag}": self._plain(written)}
        return self._plain_record(value)

    def _plain_list(self, values: list[Any]) -> list[Any]:
        kinds = set(map(type, values))
        if kinds == {float} and all(map(math.isfinite, values)):
            return values
        if kinds == {int} and min(values) > -_PLAIN_INT and max(values) < _PLAIN_INT:
            return values
        return [self._plain(value) for value in values]

    def _plain_dict(self, values: dict[Any, Any]) -> dict[str, Any]:
        if all(type(key) is str and key[:1] != "$" and _text(key) is key for key in values):
            return {key: self._plain(value) for key, value in values.items()}
        return {"$dict": [[self._plain(k), self._plain(v)] for k, v in values.items()]}

    def _plain_record(self, value: Any) -> dict[str, Any]:
        cls: type = type(value)
        record = record_of(cls)
        try:
            if record is None:
                raise TypeError("it is no dataclass, NamedTuple, Enum, hw.Event or pydantic model")
            return {"$of": self._names.name_of(cls), "is": self._plain(record.state(value))}
        except TypeError as error:
            raise StateError(
                f"{self.owner}: a {_name(cls)} in its state cannot be kept in a snapshot: "
                f"{error}. Keep None, bool, int, float, str, bytes, list, tuple, dict, set, deque, "
                f"a date, time or duration, Decimal, or a dataclass of these that is at the top of "
                f"a module"
            ) from None

    def _untagged(self, found: dict[str, Any]) -> Any:
        """Return what an object of the JSON stands for; those within it are done already."""
        tag = next(iter(found), "")
        if tag[:1] != "$":
            return found
        if tag == "$of" and len(found) == 2:
            return self._record(found["$of"]).made(found["is"])
        if len(found) != 1 or tag not in _READ:
            raise ValueError(f"{tag!r} is no tag")
        return _READ[tag](found[tag])

    def _record(self, name: object) -> Record:
        cls = self._names.class_of(name) if isinstance(name, str) else None
        record = None if cls is None else record_of(cls)
        if record is None:
            raise LookupError(
                f"no class {name} that it knows; if it was renamed or moved, give it its name back,"
                f" and import its module in the flow's file"
            )
        return record


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} has a form of its own")


def _text(text: str) -> Any:
    """Return text as it is, unless it is none: halves of surrogate pairs."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return {"$str": _from_bytes(text.encode("utf-8", "surrogatepass"))}
    return text


def _from_bytes(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode()


def _to_bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _pairs(values: dict[Any, Any]) -> list[list[Any]]:
    return [[key, value] for key, value in values.items()]


def _to_float(text: str) -> float:
    found: float = struct.unpack(">d", bytes.fromhex(text))[0]
    return found


def _arguments(zone: timezone) -> tuple[Any, ...]:
    """Return what makes a zone: its offset, and its name if it was given one."""
    found: Any = zone.__reduce__()[1]
    return tuple(found)


def _from_zone(zone: tzinfo | None) -> Any:
    if type(zone) is ZoneInfo and zone.key is not None:
        return zone.key
    if type(zone) is TzInfo:
        offset = zone.utcoffset(None)
        assert offset is not None
        return offset // timedelta(seconds=1)
    if type(zone) is timezone:
        offset, *name = _arguments(zone)
        return [offset // _MICROSECOND, *name]
    raise TypeError(f"a {_name(type(zone))} is no zone that a snapshot keeps; use a ZoneInfo")


def _to_zone(found: Any) -> tzinfo | None:
    match found:
        case str():
            return ZoneInfo(found)
        case int():
            return TzInfo(found)
        case [int(offset)]:
            return timezone(timedelta(microseconds=offset))
        case [int(offset), str(name)]:
            return timezone(timedelta(microseconds=offset), name)
    raise ValueError(f"{found!r} is no zone")


def _is_iso(zone: tzinfo | None) -> bool:
    """Whether ISO 8601 says all of a zone, and Python reads that as it writes it."""
    if zone is None or zone is UTC:
        return True
    return type(zone) is timezone and (
        len(_arguments(zone)) == 1 and not zone.utcoffset(None) % timedelta(minutes=1)
    )


def _from_instant(value: datetime | time) -> Any:
    if _is_iso(value.tzinfo):
        iso = value.isoformat()
        return [iso, None, value.fold] if value.fold else iso
    return [value.replace(tzinfo=None).isoformat(), _from_zone(value.tzinfo), value.fold]


def _to_instant(cls: type[datetime] | type[time], found: Any) -> Any:
    if isinstance(found, str):
        return cls.fromisoformat(found)
    iso, zone, fold = found
    value = cls.fromisoformat(iso).replace(fold=fold)
    return value if zone is None else value.replace(tzinfo=_to_zone(zone))


def _to_duration(found: list[int]) -> timedelta:
    days, seconds, microseconds = found
    return timedelta(days, seconds, microseconds)


_FACTORIES: Final[dict[str, Callable[[], Any]]] = {
    made.__name__: made
    for made in (int, float, str, bool, list, dict, set, tuple, deque, Counter, Decimal)
}


def _from_defaults(value: defaultdict[Any, Any]) -> list[Any]:
    factory = value.default_factory
    name = getattr(factory, "__name__", None)
    if factory is not None and _FACTORIES.get(str(name)) is not factory:
        raise TypeError(
            f"a defaultdict of {factory!r} cannot be kept in a snapshot; use a dict and its "
            f"setdefault, or one of {', '.join(_FACTORIES)}"
        )
    return [name, _pairs(value)]


def _to_defaults(found: list[Any]) -> defaultdict[Any, Any]:
    name, pairs = found
    return defaultdict(None if name is None else _FACTORIES[name], pairs)


def _from_array(value: array[Any]) -> list[Any]:
    return [value.typecode, value.itemsize, _from_bytes(value.tobytes())]


def _to_array(found: list[Any]) -> array[Any]:
    code, size, data = found
    made: array[Any] = array(code)
    if made.itemsize != size:
        raise ValueError(f"an array of {code!r} has other sizes on this machine")
    made.frombytes(_to_bytes(data))
    return made


_Form = tuple[str, Callable[[Any], Any], Callable[[Any], Any]]
_WRITTEN: Final[dict[type, _Form]] = {
    tuple: ("tuple", list, tuple),
    set: ("set", list, set),
    frozenset: ("frozenset", list, frozenset),
    bytes: ("bytes", _from_bytes, _to_bytes),
    bytearray: ("bytearray", _from_bytes, lambda text: bytearray(_to_bytes(text))),
    deque: ("deque", lambda d: [d.maxlen, list(d)], lambda found: deque(found[1], found[0])),
    Counter: ("counter", _pairs, lambda pairs: Counter(dict(pairs))),
    OrderedDict: ("ordered", _pairs, OrderedDict),
    defaultdict: ("defaults", _from_defaults, _to_defaults),
    date: ("date", date.isoformat, date.fromisoformat),
    datetime: ("datetime", _from_instant, lambda found: _to_instant(datetime, found)),
    time: ("time", _from_instant, lambda found: _to_instant(time, found)),
    timedelta: ("duration", lambda d: [d.days, d.seconds, d.microseconds], _to_duration),
    Decimal: ("decimal", str, Decimal),
    Fraction: ("fraction", lambda f: [f.numerator, f.denominator], lambda f: Fraction(*f)),
    uuid.UUID: ("uuid", str, uuid.UUID),
    array: ("array", _from_array, _to_array),
    QuantileSketch: (
        "quantiles",
        lambda sketch: _from_bytes(sketch.to_bytes()),
        lambda text: QuantileSketch.from_bytes(_to_bytes(text)),
    ),
    DistinctSketch: (
        "distinct",
        lambda sketch: _from_bytes(sketch.to_bytes()),
        lambda text: DistinctSketch.from_bytes(_to_bytes(text)),
    ),
}  # fmt: skip
"""Types with a tag: what is written in their place, and what that is read as."""


def _read() -> Iterable[tuple[str, Callable[[Any], Any]]]:
    yield "$int", lambda text: int(text, 16)
    yield "$float", _to_float
    yield "$str", lambda text: _to_bytes(text).decode("utf-8", "surrogatepass")
    yield "$dict", dict
    for tag, _, read in _WRITTEN.values():
        yield f"${tag}", read


_READ: Final = dict(_read())
