"""What a column holds for a value of a record's field, and the value for what a column holds.

    form      a value                           its column
    bool      bool                              bool
    int8-64   int                               int8 to int64
    float     float                             float64
    text      str                               string_view
    bytes     bytes                             binary_view
    instant   datetime with a time zone         timestamp[us] in the zone `of`, or UTC
    date      date                              date32
    time      time without a zone               time64[ns]
    duration  timedelta of at most `of`         duration[us]
    decimal   Decimal of `of` (digits, places)  decimal128
    member    member of the enum `of`           that of `inner`: text, int64 or bool
    literal   one of the values `of`            likewise
    record    record of the class `of`          struct of `inner`
    list      list                              large_list of `inner`

A value fits a field if it has exactly this class (an int fits a float as well, and None what is
nullable) and the column can hold it. A time is in `timezone.utc`, any other `timezone`, or a
`ZoneInfo`. A text or bytes has less than 2 GiB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import pyarrow as pa

__all__ = ["Form", "Kept", "NoMember", "Unfit", "array_of", "fields_of", "rounding", "values_of"]

Form = Literal[
    "bool", "int8", "int16", "int32", "int64", "float", "text", "bytes", "instant", "date",
    "time", "duration", "decimal", "member", "literal", "record", "list",
]  # fmt: skip

FIRST: Final = -62_135_596_800_000_000
LAST: Final = 253_402_300_799_999_999
"""The µs since 1970 between which a datetime lies, years 1 to 9999."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MIDNIGHT: Final = datetime(1970, 1, 1)
_ROOM: Final = (1 << 31) - 1  # bytes of one text


class NoMember(LookupError):
    """A column holds what is no value of its enum; the text names both."""


class Unfit(Exception):
    """A value does not fit its field exactly."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How a field is kept; see the module. `inner` holds a list's item, or a record's fields."""

    name: str
    form: Form
    nullable: bool = False
    of: Any = None
    inner: tuple[Kept, ...] = ()

    @property
    def arrow(self) -> pa.DataType:
        """The type of the column."""
        if self.form in ("member", "literal"):
            return self.inner[0].arrow
        if self.form == "instant":
            return pa.timestamp("us", "UTC" if self.of is None else self.of.key)
        if self.form == "decimal":
            return pa.decimal128(*self.of)
        if self.form == "record":
            return pa.struct([(field.name, field.arrow) for field in self.inner])
        return pa.large_list(self.inner[0].arrow) if self.form == "list" else _ARROW[self.form]


_ARROW: Final[dict[str, pa.DataType]] = {
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float": pa.float64(),
    "text": pa.string_view(),
    "bytes": pa.binary_view(),
    "date": pa.date32(),
    "time": pa.time64("ns"),
    "duration": pa.duration("us"),
}


def values_of(kept: Kept, column: pa.Array) -> list[Any]:
    """The values of a column, None for null."""
    if kept.form in ("member", "literal"):
        return _chosen(kept, column.to_pylist())
    if kept.form == "record":
        return _nested(kept, column)
    if kept.form == "list":
        items = iter(values_of(kept.inner[0], column.flatten()))
        sizes = column.value_lengths().to_pylist()
        return [None if size is None else [next(items) for _ in range(size)] for size in sizes]
    numbers = _NUMBERED.get(kept.form)
    if numbers is None:
        found: list[Any] = column.to_pylist()
        return found
    kind, value_of = numbers
    counts = column.view(kind).to_pylist()
    return [None if count is None else value_of(kept, count) for count in counts]


def _chosen(kept: Kept, values: list[Any]) -> list[Any]:
    if kept.form == "literal":
        return values
    members: dict[Any, Any] = {None: None} | {member.value: member for member in kept.of}
    for value in values:
        if value not in members:
            raise NoMember(f"{value!r} is no {kept.of.__name__}")
    return [members[value] for value in values]


def _nested(kept: Kept, column: pa.Array) -> list[Any]:
    setters = [getattr(kept.of, field.name).__set__ for field in kept.inner]
    parts = zip(*map(values_of, kept.inner, column.flatten()), strict=True)
    found: list[Any] = []
    for valid, part in zip(column.is_valid().to_pylist(), parts, strict=True):
        record = object.__new__(kept.of) if valid else None
        for setter, value in zip(setters, part, strict=True) if valid else ():
            setter(record, value)
        found.append(record)
    return found


def _instant(kept: Kept, count: int) -> datetime:
    at = _EPOCH + timedelta(microseconds=count)
    return at if kept.of is None else at.astimezone(kept.of)


_NUMBERED: Final[dict[str, tuple[pa.DataType, Callable[[Kept, int], Any]]]] = {
    "instant": (pa.int64(), _instant),
    "date": (pa.int32(), lambda kept, count: (_MIDNIGHT + timedelta(count)).date()),
    "time": (
        pa.int64(),
        lambda kept, count: (_MIDNIGHT + timedelta(microseconds=count // 1000)).time(),
    ),
    "duration": (pa.int64(), lambda kept, count: timedelta(microseconds=count)),
}


def array_of(kept: Kept, values: list[Any]) -> pa.Array:
    """The column of what `fields_of` gave for its rows."""
    if kept.form in _NUMBERED:
        return pa.array(values, _NUMBERED[kept.form][0]).view(kept.arrow)
    if kept.form == "record":
        nulls = pa.array([value is None for value in values], pa.bool_())
        rows = [[None] * len(kept.inner) if value is None else value for value in values]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in kept.inner]
        arrays = list(map(array_of, kept.inner, columns))
        fields = list(kept.arrow)
        return pa.StructArray.from_arrays(arrays, fields=fields, mask=nulls)
    if kept.form == "list":
        items = [item for value in values for item in value or ()]
        offsets = [0]
        for value in values:
            offsets.append(offsets[-1] + len(value or ()))
        nulls = pa.array([value is None for value in values], pa.bool_())
        inner = array_of(kept.inner[0], items)
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), inner, mask=nulls)
    return pa.array(values, kept.arrow)


def fields_of(fields: tuple[Kept, ...], record: object) -> list[Any]:
    """What the columns get for a record. Raises Unfit."""
    try:
        return [_kept(field, getattr(record, field.name)) for field in fields]
    except AttributeError:  # a slot that is empty
        raise Unfit from None


def _kept(kept: Kept, value: Any) -> Any:
    """What the column gets for the value; raises Unfit."""
    if value is None:
        if not kept.nullable:
            raise Unfit
        return None
    if kept.form == "literal":
        if not any(type(value) is type(one) and value == one for one in kept.of):
            raise Unfit
        return _kept(kept.inner[0], value)
    wanted = kept.of if kept.form in ("member", "record") else _CLASSES[kept.form]
    if type(value) is not wanted and not (kept.form == "float" and type(value) is int):
        raise Unfit
    finish = _FINISH.get(kept.form)
    return value if finish is None else finish(kept, value)


_CLASSES: Final[dict[str, type]] = {
    "bool": bool, "int8": int, "int16": int, "int32": int, "int64": int, "float": float,
    "text": str, "bytes": bytes, "instant": datetime, "date": date, "time": time,
    "duration": timedelta, "decimal": Decimal, "list": list,
}  # fmt: skip


def _kept_int(kept: Kept, value: int) -> int:
    bits = int(kept.form[3:])
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise Unfit
    return value


def _kept_float(kept: Kept, value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Unfit from None


def _kept_text(kept: Kept, value: str) -> str:
    try:
        if len(value.encode()) > _ROOM:
            raise Unfit
    except UnicodeEncodeError:
        raise Unfit from None
    return value


def _kept_bytes(kept: Kept, value: bytes) -> bytes:
    if len(value) > _ROOM:
        raise Unfit
    return value


def _kept_instant(kept: Kept, value: datetime) -> int:
    if type(value.tzinfo) not in (timezone, ZoneInfo):
        raise Unfit
    micros = (value - _EPOCH) // _MICROSECOND
    if not FIRST <= micros <= LAST:
        raise Unfit
    return micros


def _kept_time(kept: Kept, value: time) -> int:
    if value.tzinfo is not None:
        raise Unfit
    seconds = value.hour * 3600 + value.minute * 60 + value.second
    return (seconds * 1_000_000 + value.microsecond) * 1000


def _kept_duration(kept: Kept, value: timedelta) -> int:
    if abs(value) > kept.of:
        raise Unfit
    return value // _MICROSECOND


def _kept_decimal(kept: Kept, value: Decimal) -> Decimal:
    digits, places = kept.of
    try:
        scaled = value.quantize(Decimal((0, (1,), -places)), context=rounding(digits))
    except InvalidOperation:
        raise Unfit from None
    if scaled != value:
        raise Unfit
    return scaled


def rounding(digits: int) -> Context:
    """The context in which a Decimal is brought to a column's places."""
    return Context(prec=digits, traps=[InvalidOperation])


_FINISH: Final[dict[str, Callable[[Kept, Any], Any]]] = {
    "int8": _kept_int,
    "int16": _kept_int,
    "int32": _kept_int,
    "int64": _kept_int,
    "float": _kept_float,
    "text": _kept_text,
    "bytes": _kept_bytes,
    "instant": _kept_instant,
    "date": lambda kept, value: value.toordinal() - _MIDNIGHT.toordinal(),
    "time": _kept_time,
    "duration": _kept_duration,
    "decimal": _kept_decimal,
    "member": lambda kept, value: _kept(kept.inner[0], value.value),
    "record": lambda kept, value: fields_of(kept.inner, value),
    "list": lambda kept, value: [_kept(kept.inner[0], item) for item in value],
}
