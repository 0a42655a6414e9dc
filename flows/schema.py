"""Schemas: the columns of a stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from .errors import SchemaError
from .fieldtypes import field_types
from .marks import EventTimeMark, SiteMark, marked
from .memo import once_per_class

if TYPE_CHECKING:
    from .event import Event

__all__ = [
    "Schema",
    "can_be_key",
    "conform",
    "conforming",
    "differences",
    "lossless",
    "schema_of",
    "spelled",
]


def can_be_key(dtype: pl.DataType) -> bool:
    """Whether values of a type can be keys: plain ones, integers of at most 64 bits."""
    return not dtype.is_nested() and not isinstance(dtype, pl.Int128 | pl.UInt128)


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


def conforming(found: Schema, wanted: Schema) -> tuple[pl.Expr, ...]:
    """Return the expressions that give a stream the wanted columns; there are no `differences`."""
    return tuple(
        pl.col(name) if found.dtype(name) == dtype else pl.col(name).cast(dtype)
        for name, dtype in wanted.columns
    )


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


def _instance(dtype: Any) -> pl.DataType:
    return dtype() if isinstance(dtype, type) else dtype  # type: ignore[no-any-return]
