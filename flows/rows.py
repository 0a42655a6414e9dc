"""Events to frames and back.

Whole columns are converted at once; only those of a column that refuses are looked at singly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Context, Decimal
from itertools import accumulate, chain, repeat
from operator import attrgetter
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa

from .errors import SchemaError
from .event import Event
from .fieldtypes import FieldType, field_types
from .marks import EPOCH
from .memo import once_per_class
from .schema import conform, schema_of
from .validation import LONGEST

__all__ = ["checked_frame", "constant", "events_of", "frame_of", "shown"]

E = TypeVar("E", bound=Event)

_MICROSECOND = timedelta(microseconds=1)
_FIRST = -62_135_596_800_000_000
_LAST = 253_402_300_799_999_999
# Below this many µs from 1970, a double of seconds still tells every µs apart.
_EXACT_MICROS = 1 << 52
_WIDE = Context(prec=80)

_Faults = dict[int, list[str]]  # why rows do not fit, by index


class _Misfit(Exception):
    """A value, or one of a column's, that does not fit; the text says why."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.path = path


def shown(value: object) -> str:
    """A value as a reason quotes it, cut to 60 characters."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refuse(message: str, value: object) -> _Misfit:
    return _Misfit(f"{message} [found {shown(value)}]")


# --- one value at a time: what the column keeps for it, or a _Misfit ---

_WANTED: dict[str, tuple[Any, str]] = {
    "bool": (bool, "a bool"),
    "int": (int, "an int"),
    "float": ((int, float), "a float"),
    "str": (str, "a str"),
    "bytes": (bytes, "bytes"),
    "datetime": (datetime, "a datetime"),
    "date": (date, "a date"),
    "time": (time, "a time"),
    "duration": (timedelta, "a timedelta"),
    "decimal": (Decimal, "a Decimal"),
    "list": (list, "a list"),
    "literal": (object, ""),
}


def _one(kept: FieldType, value: Any) -> Any:
    if value is None:
        if kept.nullable:
            return None
        raise _refuse("Value should not be None", value)
    by_class = kept.kind in ("enum", "event")
    wanted, spelled = (kept.of, kept.of.__name__) if by_class else _WANTED[kept.kind]
    stray = (isinstance(value, bool) and kept.kind in ("int", "float")) or (
        isinstance(value, datetime) and kept.kind == "date"
    )
    if stray or not isinstance(value, wanted):
        raise _refuse(f"Value should be {spelled}", value)
    finish = _FINISH.get(kept.kind)
    return value if finish is None else finish(kept, value)


def _one_int(kept: FieldType, value: int) -> int:
    bits = kept.arrow.bit_width
    if not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise _refuse(f"Value should be an int of {bits} bits", value)
    return int(value)


def _one_float(kept: FieldType, value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise _refuse("Value should be a float, this int is too large", value) from None


def _one_str(kept: FieldType, value: str) -> str:
    try:
        return value.encode().decode()
    except UnicodeEncodeError:
        raise _refuse("Value should be text that UTF-8 can hold", value) from None


def _one_datetime(kept: FieldType, value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise _refuse("Value should have a time zone, such as datetime.UTC", value)
    if not _FIRST <= (value - EPOCH) // _MICROSECOND <= _LAST:
        raise _refuse("Value should lie between the years 1 and 9999 in UTC", value)
    return value.astimezone(UTC)


def _one_time(kept: FieldType, value: time) -> time:
    if value.tzinfo is not None:
        raise _refuse("Value should be a time without a zone", value)
    return value


def _one_duration(kept: FieldType, value: timedelta) -> timedelta:
    if abs(value) > LONGEST:
        raise _refuse("Value should be at most 292 000 years", value)
    return value


def _one_decimal(kept: FieldType, value: Decimal) -> Decimal:
    assert isinstance(kept.polars, pl.Decimal)
    precision, scale = kept.polars.precision or 38, kept.polars.scale
    if not value.is_finite():
        raise _refuse("Value should be a finite Decimal", value)
    if not value:
        return Decimal(0)
    if value.adjusted() >= precision - scale:
        raise _refuse(f"Value should have {precision - scale} digits before the point", value)
    rounded = value.quantize(Decimal((0, (1,), -scale)), context=_WIDE)
    if rounded != value:
        raise _refuse(f"Value should have {scale} decimal places at most", value)
    return rounded


def _one_literal(kept: FieldType, value: Any) -> Any:
    for allowed in kept.of:
        if value == allowed and type(value) is type(allowed):
            return value
    raise _refuse(f"Value should be {' or '.join(map(repr, kept.of))}", value)


def _one_list(kept: FieldType, value: list[Any]) -> list[Any]:
    assert kept.item is not None
    return [_part(kept.item, item, str(place)) for place, item in enumerate(value)]


def _one_event(kept: FieldType, value: Event) -> dict[str, Any]:
    return {
        name: _part(inner, getattr(value, name), name)
        for name, inner in field_types(kept.of).items()
    }


def _part(kept: FieldType, value: Any, name: str) -> Any:
    try:
        return _one(kept, value)
    except _Misfit as misfit:
        path = f"{name}.{misfit.path}" if misfit.path else name
        raise _Misfit(str(misfit), path) from None


_FINISH: dict[str, Callable[[FieldType, Any], Any]] = {
    "int": _one_int,
    "float": _one_float,
    "str": _one_str,
    "datetime": _one_datetime,
    "time": _one_time,
    "duration": _one_duration,
    "decimal": _one_decimal,
    "enum": lambda kept, value: value.value,
    "literal": _one_literal,
    "list": _one_list,
    "event": _one_event,
}


# --- a whole column: the series, or a _Misfit if some value has to be looked at ---


def _column(kept: FieldType, values: Sequence[Any]) -> pl.Series:
    """The column, if every value has exactly the class that is declared."""
    kinds = set(map(type, values))
    if kept.nullable:
        kinds.discard(type(None))
    if kept.kind in ("event", "time", "duration") or not kinds <= _exact(kept):
        raise _Misfit("type")
    try:
        return _BUILD.get(kept.kind, _plain_column)(kept, values)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError, pa.ArrowException):
        raise _Misfit("value") from None


def _exact(kept: FieldType) -> set[type]:
    if kept.kind == "float":
        return {float}
    if kept.kind == "literal":
        return set(map(type, kept.of))
    return {kept.of} if kept.kind == "enum" else {_WANTED[kept.kind][0]}


def _plain_column(kept: FieldType, values: Sequence[Any]) -> pl.Series:
    return pl.Series(values, dtype=kept.polars, strict=True)


def _datetime_column(kept: FieldType, values: Sequence[Any]) -> pl.Series:
    zones = {value.tzinfo for value in values if value is not None}
    if not all(isinstance(zone, timezone | ZoneInfo) for zone in zones):
        raise _Misfit("zone")
    series = pl.Series(pl.from_arrow(pa.array(values, pa.timestamp("us", "UTC"))))
    micros = series.to_physical()
    low, high = micros.min(), micros.max()
    if isinstance(low, int) and isinstance(high, int) and (low < _FIRST or high > _LAST):
        raise _Misfit("range")
    return series.cast(kept.polars)


def _arrow_column(kept: FieldType, values: Sequence[Any]) -> pl.Series:
    return pl.Series(pl.from_arrow(pa.array(values, kept.arrow)), dtype=kept.polars)


def _enum_column(kept: FieldType, values: Sequence[Any]) -> pl.Series:
    return _plain_column(kept, [None if value is None else value.value for value in values])


def _literal_column(kept: FieldType, values: Sequence[Any]) -> pl.Series:
    if not set(values) - {None} <= set(kept.of):
        raise _Misfit("value")
    return _plain_column(kept, values)


def _list_column(kept: FieldType, values: Sequence[Any]) -> pl.Series:
    assert kept.item is not None
    items = list(chain.from_iterable(value for value in values if value is not None))
    inner = _column(kept.item, items).to_arrow()
    sizes = (0 if value is None else len(value) for value in values)
    offsets = pa.array(accumulate(sizes, initial=0), pa.int64())
    nulls = pa.array([value is None for value in values], pa.bool_())
    lists = pa.LargeListArray.from_arrays(offsets, inner, mask=nulls)
    return pl.Series(pl.from_arrow(lists), dtype=kept.polars)


_BUILD: dict[str, Callable[[FieldType, Sequence[Any]], pl.Series]] = {
    "datetime": _datetime_column,
    "enum": _enum_column,
    "decimal": _arrow_column,
    "literal": _literal_column,
    "list": _list_column,
}


def _column_by_value(
    name: str, kept: FieldType, values: list[Any], index: Sequence[int], faults: _Faults
) -> pl.Series:
    """The column with null in place of what does not fit, which `faults` then names."""
    fitting: list[Any] = []
    for place, value in zip(index, values, strict=True):
        try:
            fitting.append(_part(kept, value, name))
        except _Misfit as misfit:
            faults.setdefault(place, []).append(f"{misfit.path}: {misfit}")
            fitting.append(None)
    return _arrow_column(kept, fitting)


# --- a series back to values ---


def _values(kept: FieldType, series: pl.Series) -> Iterable[Any]:
    if kept.kind == "datetime":
        return _instants(kept, series)
    if kept.kind == "enum":
        return _members(kept, series)
    if kept.kind == "event":
        return _nested(kept, series)
    if kept.kind == "list":
        return _lists(kept, series)
    return series.to_list()


def _instants(kept: FieldType, series: pl.Series) -> Iterable[Any]:
    """Times in UTC carry `datetime.UTC`; polars would make one of a ZoneInfo, in twice the time."""
    if kept.polars != pl.Datetime("us", "UTC"):
        return series.to_list()
    micros = series.to_physical()
    low, high = micros.min(), micros.max()
    exact = isinstance(low, int) and isinstance(high, int) and high < _EXACT_MICROS and low >= 0
    if exact and not series.null_count():
        return map(datetime.fromtimestamp, (micros / 1_000_000).to_list(), repeat(UTC))
    return [
        None if count is None else EPOCH + timedelta(microseconds=count)
        for count in micros.to_list()
    ]


def _members(kept: FieldType, series: pl.Series) -> Iterable[Any]:
    members: dict[Any, Any] = {member.value: member for member in kept.of}
    members[None] = None
    try:
        return [members[value] for value in series.to_list()]
    except KeyError as missing:
        raise SchemaError(
            f"{missing.args[0]!r} is no {kept.of.__name__}; filter such rows out before, "
            f"or add it to the enum"
        ) from None


def _nested(kept: FieldType, series: pl.Series) -> Iterable[Any]:
    present = iter(_built(series.drop_nulls().struct.unnest(), kept.of))
    return [None if null else next(present) for null in series.is_null().to_list()]


def _lists(kept: FieldType, series: pl.Series) -> Iterable[Any]:
    assert kept.item is not None
    if kept.item.kind not in ("datetime", "enum", "event", "list"):
        return series.to_list()
    flat = pl.Series(pl.from_arrow(series.drop_nulls().to_arrow().flatten()))
    flat = flat if flat.dtype == kept.item.polars else flat.cast(kept.item.polars)
    items = iter(_values(kept.item, flat))
    return [
        None if size is None else [next(items) for _ in range(size)]
        for size in series.list.len().to_list()
    ]


def _built(frame: pl.DataFrame, cls: type[E]) -> list[E]:
    """Events made without `__init__`, each column set on all of them in one pass."""
    events: list[E] = list(map(object.__new__, repeat(cls, frame.height)))
    for name, kept in field_types(cls).items():
        column = _values(kept, frame.get_column(name))
        any(map(getattr(cls, name).__set__, events, column))  # a slot's setter returns None
    return events


def constant(kept: FieldType, value: object, height: int) -> pl.Series | None:
    """A column that holds one value throughout; None if the value does not fit."""
    try:
        return _arrow_column(kept, [_one(kept, value)]).new_from_index(0, height)
    except _Misfit:
        return None


@once_per_class
def _getters(cls: type[Event]) -> list[tuple[str, FieldType, Callable[[Any], Any]]]:
    return [(name, kept, attrgetter(name)) for name, kept in field_types(cls).items()]


def events_of(frame: pl.DataFrame, cls: type[E]) -> list[E]:
    """The rows of a frame as events, unchecked; columns the class lacks are left out.

    Raises SchemaError if the frame lacks a column, or has one of another type.
    """
    return _built(conform(frame, schema_of(cls)), cls)


def frame_of(events: Sequence[E], cls: type[E]) -> pl.DataFrame:
    """The events as a frame with the columns of their class.

    Raises SchemaError for the first value that does not fit its field.
    """
    frame, bad = checked_frame(events, cls)
    if bad:
        index, reason = bad[0]
        raise SchemaError(f"event {index} of {len(events)} does not fit {cls.__name__}: {reason}")
    return frame


def checked_frame(events: Sequence[E], cls: type[E]) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """The events that fit their class as a frame, and (index, reason) of those that do not."""
    faults: _Faults = {}
    if not set(map(type, events)) <= {cls}:
        for place, event in enumerate(events):
            if not isinstance(event, cls):
                faults[place] = [f"Value should be {cls.__name__} [found {shown(event)}]"]
    index = [place for place in range(len(events)) if place not in faults]
    sound = [events[i] for i in index] if faults else events
    columns: dict[str, pl.Series] = {}
    for name, kept, getter in _getters(cls):
        values = list(map(getter, sound))
        try:
            columns[name] = _column(kept, values)
        except _Misfit:
            columns[name] = _column_by_value(name, kept, values, index, faults)
    frame = pl.DataFrame(columns)
    if faults:
        frame = frame.filter(pl.Series([i not in faults for i in index], dtype=pl.Boolean))
    return frame, [(i, "; ".join(why)) for i, why in sorted(faults.items())]
