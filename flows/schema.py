"""Schemas: the columns of a stream, and the column type of each field of an event.

A plain `datetime` is aware and kept as µs UTC; `Annotated[datetime, Zone("Europe/Rome")]` keeps
the zone. `Decimal` keeps 38 digits, 9 of them decimal places, unless its `Field` says otherwise.
Enums and literals are kept by value. A `dict` or `tuple` has no column type.
"""

from __future__ import annotations

import enum
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from math import floor
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import annotated_types
import polars as pl
import pyarrow as pa
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_core import core_schema as cs

from .errors import SchemaError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler

    from .event import Event

__all__ = [
    "EventTimeMark",
    "FieldType",
    "Schema",
    "SiteMark",
    "Unit",
    "Width",
    "Zone",
    "checked_type",
    "conform",
    "differences",
    "field_types",
    "once_per_class",
    "schema_of",
]

T = TypeVar("T")

Kind = Literal[
    "bool", "int", "float", "str", "bytes", "datetime", "date", "time", "duration", "decimal",
    "enum", "literal", "list", "event",
]  # fmt: skip

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=106_751_990)  # what 64 bits of µs hold, in whole days
SECONDS_TO = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_NUMBER = re.compile(r"\s*[-+]?\d{1,30}(\.\d{1,30})?\s*$")


@dataclass(frozen=True, slots=True)
class EventTimeMark:
    """Marks the field that holds an event's time."""


@dataclass(frozen=True, slots=True)
class SiteMark:
    """Marks the field that names an event's site."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Says that numbers in a time field count "s", "ms", "us" or "ns" since 1970 in UTC.

    Whole numbers and text are cut to µs, floats rounded. Raises SchemaError for another unit.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in SECONDS_TO:
            raise SchemaError(f'hw.Unit({self.name!r}): use "s", "ms", "us" or "ns"')

    def instant(self, value: Any) -> Any:
        """The aware time that a number, or text holding one, stands for; others as they are."""
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        if isinstance(value, str) and _NUMBER.match(value):
            value = Decimal(value.strip())
        elif isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            return value
        per = SECONDS_TO[self.name]
        try:
            if isinstance(value, int):
                micros = value * 1_000_000 // per
            elif isinstance(value, float):
                micros = round(Fraction(value) * 1_000_000 / per)
            else:
                micros = floor(Fraction(value) * 1_000_000 / per)
            return EPOCH + timedelta(microseconds=micros)
        except (OverflowError, ValueError):
            raise _outside() from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return cs.no_info_before_validator_function(self.instant, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "number"}, handler(schema)]}


@dataclass(frozen=True, slots=True)
class Zone:
    """Keeps a datetime field in a time zone such as "Europe/Rome".

    Raises SchemaError for an unknown zone.
    """

    name: str

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.name)
        except (ZoneInfoNotFoundError, ValueError):
            raise SchemaError(
                f"hw.Zone({self.name!r}): no such time zone; use an IANA name"
            ) from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        zone = ZoneInfo(self.name)
        return cs.no_info_after_validator_function(lambda at: at.astimezone(zone), handler(source))


@dataclass(frozen=True, slots=True)
class Width:
    """Keeps an int field in 8, 16, 32 or 64 bits (64 without it)."""

    bits: int

    def __post_init__(self) -> None:
        if self.bits not in (8, 16, 32, 64):
            raise SchemaError(f"hw.Width({self.bits!r}): an int has 8, 16, 32 or 64 bits")

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        inner = handler(source)
        low, high = -(1 << self.bits - 1), (1 << self.bits - 1) - 1
        if inner["type"] != "int":
            return cs.chain_schema([inner, cs.int_schema(ge=low, le=high)])
        low, high = max(low, inner.get("ge", low)), min(high, inner.get("le", high))
        return {**inner, "ge": low, "le": high}

    def __get_pydantic_json_schema__(
        self, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        found = handler(schema)
        limits = {"minimum": -(1 << 63), "maximum": (1 << 63) - 1}
        return {k: v for k, v in found.items() if k not in limits or v != limits[k]}


def _outside() -> PydanticCustomError:
    return PydanticCustomError(
        "datetime_range", "Input should lie between the years 1 and 9999 in UTC"
    )


def _no_number(value: Any) -> Any:
    """Refuse epoch numbers, which pydantic would take for seconds or milliseconds by size."""
    if isinstance(value, str | bytes):
        try:
            float(value)
        except ValueError:
            return value
    elif not isinstance(value, int | float | Decimal):
        return value
    raise PydanticCustomError(
        "datetime_number",
        "Input is a number, which needs a unit to be a time; "
        'declare the field as Annotated[hw.EventTime, hw.Unit("ms")]',
    )


def _in_utc(value: datetime) -> datetime:
    try:
        return value if value.tzinfo is UTC else value.astimezone(UTC)
    except OverflowError:
        raise _outside() from None


def _fits_micros(value: timedelta) -> timedelta:
    if abs(value) > LONGEST:
        raise PydanticCustomError("duration_range", "Input should be at most 292 000 years")
    return value


@dataclass(frozen=True, slots=True)
class _Checked:
    """How pydantic checks a type, where a column can hold less than the type."""

    build: Callable[[], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return self.build()


def _instant_schema() -> Any:
    aware = cs.datetime_schema(tz_constraint="aware")
    utc = cs.no_info_after_validator_function(_in_utc, aware)
    return cs.no_info_before_validator_function(_no_number, utc)


def _duration_schema() -> Any:
    return cs.no_info_after_validator_function(_fits_micros, cs.timedelta_schema())


_CHECKED: dict[Any, Any] = {
    int: Annotated[int, Width(64)],
    datetime: Annotated[datetime, _Checked(_instant_schema)],
    time: Annotated[time, _Checked(lambda: cs.time_schema(tz_constraint="naive"))],
    timedelta: Annotated[timedelta, _Checked(_duration_schema)],
    Decimal: Annotated[
        Decimal, _Checked(lambda: cs.decimal_schema(max_digits=38, decimal_places=9))
    ],
}


def checked_type(annotation: Any) -> Any:
    """The annotation by which pydantic takes what the field's column can hold, and no more."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return Annotated[(checked_type(annotation.__origin__), *annotation.__metadata__)]
    if origin in (Union, types.UnionType):
        return reduce(or_, (checked_type(part) for part in get_args(annotation)))
    if origin is list:
        return list[checked_type(get_args(annotation)[0])]  # type: ignore[misc]
    return _CHECKED.get(annotation, annotation) if isinstance(annotation, type) else annotation


@dataclass(frozen=True, slots=True)
class FieldType:
    """How a field's values are kept in a column.

    `of` is the enum or event class, or the values of a literal; `item` the type in a list.
    `bounds` holds (comparison, limit) pairs; `plain` is False if pydantic checks more than these.
    """

    kind: Kind
    polars: pl.DataType
    nullable: bool = False
    of: Any = None
    item: FieldType | None = None
    unit: str | None = None
    bounds: tuple[tuple[str, Any], ...] = ()
    plain: bool = True

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type that polars exports the column as."""
        return pl.Series([], dtype=self.polars).to_arrow().type


_PLAIN: dict[Any, tuple[Kind, pl.DataType]] = {
    bool: ("bool", pl.Boolean()),
    int: ("int", pl.Int64()),
    float: ("float", pl.Float64()),
    str: ("str", pl.String()),
    bytes: ("bytes", pl.Binary()),
    datetime: ("datetime", pl.Datetime("us", "UTC")),
    date: ("date", pl.Date()),
    time: ("time", pl.Time()),
    timedelta: ("duration", pl.Duration("us")),
    Decimal: ("decimal", pl.Decimal(38, 9)),
}

_ADVICE: dict[Any, str] = {
    dict: "declare a nested hw.Event with its keys as fields, or keep the text as str",
    tuple: "use list[...], or a nested hw.Event with a name for each part",
    set: "use list[...]",
    frozenset: "use list[...]",
    list: "say of what: list[...]",
}
_BOUNDS = {
    annotated_types.Ge: "ge",
    annotated_types.Gt: "gt",
    annotated_types.Le: "le",
    annotated_types.Lt: "lt",
}


def _refusal(annotation: Any, where: str) -> SchemaError:
    advice = _ADVICE.get(get_origin(annotation) or annotation) if _hashable(annotation) else None
    advice = advice or (
        "use bool, int, float, str, bytes, datetime, date, time, timedelta, Decimal, "
        "an Enum, a Literal, a nested hw.Event, list[...] of these or `... | None`"
    )
    spelled = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return SchemaError(f"{where}: {spelled} has no column type; {advice}")


def _hashable(value: object) -> bool:
    return type(value).__hash__ is not None


def _by_value(kind: Kind, of: Any, values: Sequence[Any], where: str) -> FieldType:
    """The type of a column that holds one of a few values."""
    kinds = set(map(type, values))
    if kinds == {bool}:
        return FieldType(kind, pl.Boolean(), of=of)
    if values and all(isinstance(value, str) for value in values):
        return FieldType(kind, pl.String(), of=of)
    whole = [value for value in values if isinstance(value, int) and not isinstance(value, bool)]
    if values and len(whole) == len(values) and all(-(1 << 63) <= n < 1 << 63 for n in whole):
        return FieldType(kind, pl.Int64(), of=of)
    raise SchemaError(f"{where}: its values are {values!r}; make them all str or all 64-bit int")


def _is_event(annotation: Any) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "__event_names__")


def _parse(annotation: Any, where: str, above: tuple[type, ...]) -> FieldType:
    origin = get_origin(annotation)
    if origin is Annotated:
        found = _parse(annotation.__origin__, where, above)
        for note in annotation.__metadata__:
            found = _noted(found, note, where)
        return found
    if origin in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        if len(parts) != 1:
            raise SchemaError(
                f"{where}: {annotation} has no column type; use one type, or X | None"
            )
        return replace(_parse(parts[0], where, above), nullable=True)
    if origin is Literal:
        values = [value for value in get_args(annotation) if value is not None]
        if any(isinstance(value, enum.Enum) for value in values):
            raise SchemaError(f"{where}: use the enum class in place of a Literal of its members")
        found = _by_value("literal", tuple(values), values, where)
        return replace(found, nullable=None in get_args(annotation))
    if origin is list:
        item = _parse(get_args(annotation)[0], where, above)
        return FieldType("list", pl.List(item.polars), item=item)
    if _is_event(annotation):
        if annotation in above:
            raise SchemaError(f"{where}: {annotation.__name__} contains itself; keep a key instead")
        fields = _field_types(annotation, above)
        dtype = pl.Struct({name: kept.polars for name, kept in fields.items()})
        return FieldType("event", dtype, of=annotation)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        if issubclass(annotation, enum.Flag):
            raise SchemaError(f"{where}: a Flag has no column type; keep its value as int")
        members = [member.value for member in annotation]
        return _by_value("enum", annotation, members, where)
    if not _hashable(annotation) or annotation not in _PLAIN:
        raise _refusal(annotation, where)
    return FieldType(*_PLAIN[annotation])


def _noted(found: FieldType, note: Any, where: str) -> FieldType:
    """The field type with one piece of metadata taken in."""
    if isinstance(note, FieldInfo):
        for inner in note.metadata:
            found = _noted(found, inner, where)
        return found
    if isinstance(note, annotated_types.GroupedMetadata):
        for inner in note:
            found = _noted(found, inner, where)
        return found
    if isinstance(note, Unit | Zone) and found.kind != "datetime":
        raise SchemaError(f"{where}: {note} is for datetime fields")
    if isinstance(note, Unit):
        return replace(found, unit=note.name)
    if isinstance(note, Zone):
        return replace(found, polars=pl.Datetime("us", note.name))
    if isinstance(note, Width):
        if found.kind != "int":
            raise SchemaError(f"{where}: {note} is for int fields")
        sizes = {8: pl.Int8(), 16: pl.Int16(), 32: pl.Int32(), 64: pl.Int64()}
        return replace(found, polars=sizes[note.bits])
    if found.kind == "decimal" and (digits := _digits(found, note, where)) is not None:
        return replace(found, polars=digits)
    if type(note) in _BOUNDS:
        name = _BOUNDS[type(note)]
        return replace(found, bounds=(*found.bounds, (name, getattr(note, name))))
    if isinstance(note, EventTimeMark | SiteMark | str | annotated_types.DocInfo):
        return found
    return replace(found, plain=False)


def _digits(found: FieldType, note: Any, where: str) -> pl.Decimal | None:
    digits, places = getattr(note, "max_digits", None), getattr(note, "decimal_places", None)
    if digits is None and places is None:
        return None
    places = places if places is not None else 9
    digits = digits if digits is not None else 38
    if not 0 <= places <= digits <= 38:
        raise SchemaError(
            f"{where}: a decimal column has at most 38 digits, and its decimal places are among "
            f"them; give both, hw.Field(max_digits=..., decimal_places=...)"
        )
    return pl.Decimal(digits, places)


def _field_types(cls: type[Event], above: tuple[type, ...] = ()) -> dict[str, FieldType]:
    if not cls.__event_names__:
        raise SchemaError(f"{cls.__name__} has no fields; annotate at least one")
    found = {}
    for name, annotation in cls.__event_fields__.items():
        where = f"{cls.__name__}.{name}"
        kept = _parse(annotation, where, (*above, cls))
        default = cls.__event_defaults__.get(name)
        found[name] = _noted(kept, default, where) if isinstance(default, FieldInfo) else kept
    return found


def once_per_class(build: Callable[[type[Event]], T]) -> Callable[[type[Event]], T]:
    """Keep what `build` makes of an event class for as long as the class lives."""

    def kept(cls: type[Event]) -> T:
        memo = cls.__event_memo__
        if build not in memo:
            memo[build] = build(cls)
        found: T = memo[build]
        return found

    kept.__doc__, kept.__name__ = build.__doc__, build.__name__
    return kept


@once_per_class
def field_types(cls: type[Event]) -> Mapping[str, FieldType]:
    """How each field of an event is kept. Raises SchemaError for one that has no column type."""
    return types.MappingProxyType(_field_types(cls))


@once_per_class
def schema_of(cls: type[Event]) -> Schema:
    """The schema of a stream of these events. Raises SchemaError."""
    kept = field_types(cls)
    names = {
        mark: next((n for n, a in cls.__event_fields__.items() if marked(a, mark)), None)
        for mark in (EventTimeMark, SiteMark)
    }
    at = names[EventTimeMark]
    if at is not None and kept[at].polars != pl.Datetime("us", "UTC"):
        raise SchemaError(f"{cls.__name__}.{at}: an EventTime is kept in UTC; leave hw.Zone out")
    return Schema(
        columns=tuple((name, found.polars) for name, found in kept.items()),
        event_time=at,
        site=names[SiteMark],
        nullable=frozenset(name for name, found in kept.items() if found.nullable),
        name=cls.__name__,
    )


def marked(annotation: Any, mark: type) -> bool:
    """Whether a field's annotation carries a mark of this class, itself or in a union."""
    origin = get_origin(annotation)
    if origin is Annotated and any(isinstance(note, mark) for note in annotation.__metadata__):
        return True
    inner = (annotation.__origin__,) if origin is Annotated else get_args(annotation)
    unions = (Annotated, Union, types.UnionType)
    return origin in unions and any(marked(part, mark) for part in inner)


def spelled(dtype: pl.DataType) -> str:
    """A column type as people write it: `datetime[us, UTC]`, `list[int64]`."""
    if isinstance(dtype, pl.Datetime):
        return f"datetime[{dtype.time_unit}{f', {dtype.time_zone}' if dtype.time_zone else ''}]"
    if isinstance(dtype, pl.Duration):
        return f"duration[{dtype.time_unit}]"
    if isinstance(dtype, pl.Decimal):
        return f"decimal[{dtype.precision}, {dtype.scale}]"
    if isinstance(dtype, pl.List):
        return f"list[{spelled(_instance(dtype.inner))}]"
    if isinstance(dtype, pl.Struct):
        inner = ", ".join(f"{f.name}: {spelled(_instance(f.dtype))}" for f in dtype.fields)
        return f"struct[{inner}]"
    return {"String": "str", "Boolean": "bool"}.get(str(dtype), str(dtype).lower())


def _instance(dtype: Any) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a stream, in order.

    With `key` the stream is upsert(key): a later row replaces the earlier one with its key, and
    rows can be deleted; without, rows are only appended. `nullable` names the columns that may
    hold nulls. `name` is for messages and does not count in comparisons.
    Raises SchemaError for a repeated column, or a role given to a column that is not there.
    """

    columns: tuple[tuple[str, pl.DataType], ...]
    event_time: str | None = None
    site: str | None = None
    key: tuple[str, ...] | None = None
    nullable: frozenset[str] = frozenset()
    name: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        names = self.names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SchemaError(f"column '{twice[0]}' is there twice; rename one")
        for role in (self.event_time, self.site, *(self.key or ()), *sorted(self.nullable)):
            if role is not None and role not in names:
                raise SchemaError(self._without(role))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in order."""
        return tuple(name for name, _ in self.columns)

    def dtype(self, name: str) -> pl.DataType:
        """The type of a column. Raises SchemaError for a name that is not there."""
        for column, dtype in self.columns:
            if column == name:
                return dtype
        raise SchemaError(self._without(name))

    def polars(self) -> pl.Schema:
        """The schema that polars frames of this stream have."""
        return pl.Schema(self.columns)

    def arrow(self) -> pa.Schema:
        """The schema that such frames have as Arrow; there every column may hold nulls."""
        return self.empty().to_arrow().schema

    def empty(self) -> pl.DataFrame:
        """A frame without rows."""
        return pl.DataFrame(schema=self.polars())

    def with_key(self, *names: str) -> Schema:
        """The same columns as an upsert stream with this key; append without a name."""
        return replace(self, key=names or None)

    def select(self, names: Sequence[str]) -> Schema:
        """Only these columns, in this order. Raises SchemaError if a key column is left out."""
        for part in self.key or ():
            if part not in names:
                raise SchemaError(f"column '{part}' is part of the key; select it too")
        return replace(
            self,
            columns=tuple((name, self.dtype(name)) for name in names),
            event_time=self.event_time if self.event_time in names else None,
            site=self.site if self.site in names else None,
            nullable=self.nullable & frozenset(names),
        )

    def _without(self, name: str) -> str:
        return f"column '{name}' is missing; the stream has {', '.join(self.names) or 'none'}"

    def __str__(self) -> str:
        roles = {self.site: " site", self.event_time: " event-time"}
        columns = ", ".join(
            f"{name}: {spelled(dtype)}{'?' * (name in self.nullable)}{roles.get(name, '')}"
            for name, dtype in self.columns
        )
        mode = f" upsert({', '.join(self.key)})" if self.key is not None else ""
        return f"{self.name or 'Stream'}({columns}){mode}"


_LOSSLESS: dict[Any, set[Any]] = {
    pl.Int8: {pl.Int16, pl.Int32, pl.Int64, pl.Float64},
    pl.Int16: {pl.Int32, pl.Int64, pl.Float64},
    pl.Int32: {pl.Int64, pl.Float64},
    pl.UInt8: {pl.Int16, pl.Int32, pl.Int64, pl.Float64},
    pl.UInt16: {pl.Int32, pl.Int64, pl.Float64},
    pl.UInt32: {pl.Int64, pl.Float64},
    pl.Float32: {pl.Float64},
    pl.Categorical: {pl.String},
    pl.Enum: {pl.String},
}


def lossless(found: pl.DataType, wanted: pl.DataType) -> bool:
    """Whether every value of one column type has an equal value in the other."""
    if found == wanted:
        return True
    if isinstance(found, pl.Datetime) and isinstance(wanted, pl.Datetime):
        same_kind = (found.time_zone is None) == (wanted.time_zone is None)
        return same_kind and found.time_unit in ("ms", wanted.time_unit)
    if isinstance(found, pl.Duration) and isinstance(wanted, pl.Duration):
        return found.time_unit in ("ms", wanted.time_unit)
    if isinstance(found, pl.Decimal) and isinstance(wanted, pl.Decimal):
        whole = wanted.precision - wanted.scale - (found.precision - found.scale)
        return whole >= 0 and wanted.scale >= found.scale
    if isinstance(found, pl.List) and isinstance(wanted, pl.List):
        return lossless(_instance(found.inner), _instance(wanted.inner))
    if isinstance(found, pl.Struct) and isinstance(wanted, pl.Struct):
        return [f.name for f in found.fields] == [f.name for f in wanted.fields] and all(
            lossless(_instance(f.dtype), _instance(w.dtype))
            for f, w in zip(found.fields, wanted.fields, strict=True)
        )
    return type(wanted) in _LOSSLESS.get(type(found), set())


def _cast_advice(name: str, found: pl.DataType, wanted: pl.DataType) -> str:
    column = f"pl.col({name!r})"
    if isinstance(wanted, pl.Datetime) and isinstance(found, pl.String):
        return f"parse it with {column}.str.to_datetime(time_zone={wanted.time_zone!r})"
    if isinstance(wanted, pl.Datetime) and isinstance(found, pl.Datetime):
        if found.time_zone is None:
            return f'give it a zone with {column}.dt.replace_time_zone("UTC")'
        return f'cut it with {column}.dt.cast_time_unit("us")'
    if isinstance(wanted, pl.Datetime) and found.is_numeric():
        return f'count from 1970 with pl.from_epoch({name!r}, "ms").dt.replace_time_zone("UTC")'
    if isinstance(wanted, pl.List | pl.Struct):
        return "make the two alike"
    return f"cast it with {column}.cast(pl.{wanted})"


def differences(found: Schema, wanted: Schema) -> list[str]:
    """What keeps a stream from having the wanted columns, a message for each; empty if nothing.

    Other columns do not matter, nor do types that convert without loss (`conform`).
    """
    messages = []
    for name, dtype in wanted.columns:
        if name not in found.names:
            messages.append(found._without(name))
            continue
        have = found.dtype(name)
        if (have == pl.Null() and name in wanted.nullable) or lossless(have, dtype):
            continue
        target = f"{wanted.name}.{name}" if wanted.name else f"'{name}'"
        messages.append(
            f"column '{name}' is {have}, {target} wants {dtype}; {_cast_advice(name, have, dtype)}"
        )
    return messages


def conform(frame: pl.DataFrame, target: Schema) -> pl.DataFrame:
    """The target's columns in its order, others dropped, types converted where nothing is lost.

    Raises SchemaError with every difference that remains.
    """
    if frame.schema == target.polars():
        return frame
    problems = differences(Schema(tuple(frame.schema.items())), target)
    if problems:
        raise SchemaError("\n".join(problems))
    return frame.select(pl.col(name).cast(dtype) for name, dtype in target.columns)
