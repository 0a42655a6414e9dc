"""The decoder of an event's JSON: of the lines that pydantic would certainly take, and as what."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Iterable, Mapping
from math import inf, nextafter
from typing import Any

import polars as pl
import pyarrow as pa
from pydantic.fields import FieldInfo

from ..ext import COMPILED, JsonDecoder
from ..ext.jsonfields import REQUIRED, JsonField
from .aliases import outer_names
from .certain import certain_times
from .event import Event
from .fieldtypes import FieldType, field_types
from .rows import constant

__all__ = ["JsonDecoder", "Unsure", "decoder_of", "framed", "json_fields"]

_EXACT = 1 << 53


class Unsure(Exception):
    """pydantic has to look at every line."""


def decoder_of(cls: type[Event], given: Collection[str] = ()) -> JsonDecoder | None:
    """The decoder of an event's fields in their order, without those whose keys are `given`.

    None if pydantic has to look at every line, and without the compiled kernel, as pydantic is
    faster than its twin.
    """
    if not COMPILED:
        return None
    try:
        return JsonDecoder([one for one in json_fields(cls) if one.name not in given])
    except (Unsure, ValueError):
        return None


def framed(columns: Iterable[pa.Array], fields: Mapping[str, FieldType]) -> pl.DataFrame:
    """The decoded columns of these fields as a frame, which shares their memory."""
    pairs = zip(fields.items(), columns, strict=True)
    return pl.DataFrame([_series(name, kept, column) for (name, kept), column in pairs])


def _series(name: str, kept: FieldType, column: pa.Array) -> pl.Series:
    found = pl.Series(name, column)
    return found if found.dtype == kept.polars else found.cast(kept.polars)


def json_fields(cls: type[Event]) -> tuple[JsonField, ...]:
    """An event's fields as a decoder takes them. Raises Unsure, and ValueError for a key."""
    names = outer_names(cls)
    if names is None or cls.__event_validated__ or _has_own_schema(cls, Event):
        raise Unsure
    declared = {found.name: found for found in dataclasses.fields(cls)}
    return tuple(
        _field(kept, names[name], _default(cls, kept, declared[name]))
        for name, kept in field_types(cls).items()
    )


def _has_own_schema(cls: type, above: type) -> bool:
    """Whether a class tells pydantic itself how to check it."""
    hook = "__get_pydantic_core_schema__"
    mine, base = getattr(cls, hook, None), getattr(above, hook, None)
    return getattr(mine, "__func__", mine) is not getattr(base, "__func__", base)


def _default(cls: type[Event], kept: FieldType, declared: dataclasses.Field[Any]) -> Any:
    """What the column keeps where the key is absent; REQUIRED if pydantic has to say."""
    if declared.default is dataclasses.MISSING:
        return REQUIRED
    info = cls.__event_defaults__.get(declared.name)
    if isinstance(info, FieldInfo) and info.validate_default:
        return REQUIRED
    if declared.default is None:
        return None if kept.nullable else REQUIRED
    column = None if kept.kind in ("list", "event") else constant(kept, declared.default, 1)
    if column is None:
        return REQUIRED
    moment = kept.kind in ("datetime", "date", "time")
    return (column.to_physical() if moment else column).item()


def _field(kept: FieldType, name: str, default: Any = REQUIRED) -> JsonField:
    if not kept.plain or kept.kind in ("duration", "decimal"):
        raise Unsure
    if kept.bounds and kept.kind not in ("int", "float"):
        raise Unsure
    if kept.kind == "list":
        assert kept.item is not None
        item = _field(kept.item, "")
        found = JsonField(name, pa.large_list(item.type), kept.nullable, default, item=item)
    elif kept.kind == "event":
        parts = json_fields(kept.of)
        names = field_types(kept.of)
        kind = pa.struct([(n, part.type) for n, part in zip(names, parts, strict=True)])
        found = JsonField(name, kind, kept.nullable, default, fields=parts)
    else:
        low, high = _limits(kept)
        found = JsonField(
            name, _type(kept), kept.nullable, default, kept.unit, _allowed(kept), low, high
        )
    return found


def _type(kept: FieldType) -> pa.DataType:
    if kept.polars == pl.String:
        return pa.string_view()
    return pa.binary_view() if kept.polars == pl.Binary else kept.arrow


def _allowed(kept: FieldType) -> tuple[Any, ...]:
    if kept.kind == "enum" and _has_own_schema(kept.of, enum.Enum):
        raise Unsure
    return tuple(kept.allowed)


def _limits(kept: FieldType) -> tuple[Any, Any]:
    """The lowest and the highest value that is taken; None for no limit."""
    if kept.kind == "datetime":
        return certain_times(kept.polars)
    limits: dict[str, list[Any]] = {"g": [], "l": []}
    for name, limit in kept.bounds:
        real = kept.kind == "float" and isinstance(limit, float)
        if not (real or type(limit) is int) or not abs(limit) <= _EXACT:
            raise Unsure
        limits[name[0]].append(_inclusive(name, limit, kept.kind == "float"))
    return max(limits["g"], default=None), min(limits["l"], default=None)


def _inclusive(name: str, limit: float, real: bool) -> float:
    if not real:
        return limit + (name == "gt") - (name == "lt")
    beyond = {"gt": inf, "lt": -inf}.get(name)
    return float(limit) if beyond is None else nextafter(float(limit), beyond)
