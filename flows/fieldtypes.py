"""Field types: the column type of each field of an event, from its annotation.

A plain `datetime` is aware and kept as µs UTC; `Annotated[datetime, Zone("Europe/Rome")]` keeps
the zone. `Decimal` keeps 38 digits, 9 of them decimal places, unless its `Field` says otherwise.
Enums and literals are kept by value. A `dict` or `tuple` has no column type.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import polars as pl
import pyarrow as pa
from pydantic.fields import FieldInfo

from .errors import SchemaError
from .marks import EventTimeMark, SiteMark, Unit, Width, Zone
from .memo import once_per_class

if TYPE_CHECKING:
    from .event import Event

__all__ = ["FieldType", "field_types"]

Kind = Literal[
    "bool", "int", "float", "str", "bytes", "datetime", "date", "time", "duration", "decimal",
    "enum", "literal", "list", "event",
]  # fmt: skip
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

    @property
    def allowed(self) -> list[Any]:
        """The values of an enum or literal; none of any other."""
        if self.kind == "enum":
            return [member.value for member in self.of]
        return list(self.of) if self.kind == "literal" else []

    @property
    def spelled(self) -> dict[str, Any]:
        """The values of an enum or literal that are no text, by how text spells them."""
        return {str(value).lower(): value for value in self.allowed if not isinstance(value, str)}


@once_per_class
def field_types(cls: type[Event]) -> Mapping[str, FieldType]:
    """How each field of an event is kept. Raises SchemaError for one that has no column type."""
    return types.MappingProxyType(_field_types(cls))


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


def _is_event(annotation: Any) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "__event_names__")


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
