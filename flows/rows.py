"""Events to frames and back.

A kernel reads events out of columns, and appends those that fit exactly to columns. What does not
fit exactly is looked at here, value by value: it fits after all, or the reason why not is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa

from ..ext import RecordPlan, RecordReader, RecordWriter, call_each
from ..ext.records import Written
from ..ext.recordvalues import FIRST, LAST, Form, Kept, NoMember
from .errors import SchemaError
from .event import Event
from .fieldtypes import FieldType, field_types
from .marks import EPOCH
from .memo import once_per_class
from .schema import conform, schema_of
from .validation import LONGEST

__all__ = [
    "Settled",
    "call_with_events",
    "checked_frame",
    "constant",
    "events_of",
    "frame_of",
    "settled",
    "shown",
    "writer_of",
]

E = TypeVar("E", bound=Event)

_MICROSECOND = timedelta(microseconds=1)
_WIDE = Context(prec=80)


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
    if not FIRST <= (value - EPOCH) // _MICROSECOND <= LAST:
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


def _arrow_column(kept: FieldType, values: Sequence[Any]) -> pl.Series:
    return pl.Series(pl.from_arrow(pa.array(values, kept.arrow)), dtype=kept.polars)


def _by_value(events: Sequence[object], cls: type[Event]) -> tuple[pl.DataFrame, list[str | None]]:
    """The events that fit as rows, and for each event None or why it does not."""
    faults: list[list[str]] = [
        [] if isinstance(event, cls) else [f"Value should be {cls.__name__} [found {shown(event)}]"]
        for event in events
    ]
    sound = [(event, why) for event, why in zip(events, faults, strict=True) if not why]
    columns: dict[str, pl.Series] = {}
    for name, kept in field_types(cls).items():
        fitting: list[Any] = []
        for event, why in sound:
            try:
                fitting.append(_part(kept, getattr(event, name), name))
            except _Misfit as misfit:
                why.append(f"{misfit.path}: {misfit}")
                fitting.append(None)
        columns[name] = _arrow_column(kept, fitting)
    fits = pl.Series([not why for _, why in sound], dtype=pl.Boolean)
    return pl.DataFrame(columns).filter(fits), ["; ".join(why) or None for why in faults]


def constant(kept: FieldType, value: object, height: int) -> pl.Series | None:
    """A column that holds one value throughout; None if the value does not fit."""
    try:
        return _arrow_column(kept, [_one(kept, value)]).new_from_index(0, height)
    except _Misfit:
        return None


# --- how the kernel keeps the fields ---

_FORMS: dict[Any, Form] = {
    pl.Boolean: "bool",
    pl.Int8: "int8",
    pl.Int16: "int16",
    pl.Int32: "int32",
    pl.Int64: "int64",
    pl.Float64: "float",
    pl.String: "text",
    pl.Binary: "bytes",
    pl.Datetime: "instant",
    pl.Date: "date",
    pl.Time: "time",
    pl.Duration: "duration",
    pl.Decimal: "decimal",
    pl.List: "list",
    pl.Struct: "record",
}


def _kept(name: str, field: FieldType) -> Kept:
    form, dtype = _FORMS[type(field.polars)], field.polars
    if field.kind in ("enum", "literal"):
        kind: Form = "member" if field.kind == "enum" else "literal"
        return Kept(name, kind, field.nullable, field.of, (Kept("", form),))
    if field.kind == "event":
        inner = tuple(_kept(one, kept) for one, kept in field_types(field.of).items())
        return Kept(name, form, field.nullable, field.of, inner)
    if field.item is not None:
        return Kept(name, form, field.nullable, None, (_kept("item", field.item),))
    of: Any = LONGEST if field.kind == "duration" else None
    if isinstance(dtype, pl.Decimal):
        of = (dtype.precision or 38, dtype.scale)
    if isinstance(dtype, pl.Datetime) and dtype.time_zone not in (None, "UTC"):
        of = ZoneInfo(str(dtype.time_zone))
    return Kept(name, form, field.nullable, of)


@once_per_class
def _plan(cls: type[Event]) -> RecordPlan:
    return RecordPlan(cls, tuple(_kept(name, kept) for name, kept in field_types(cls).items()))


def _reader(frame: pl.DataFrame, cls: type[Event]) -> tuple[RecordReader, pl.DataFrame]:
    """A reader, and the frame that it reads."""
    plan = _plan(cls)
    try:
        return RecordReader(plan, frame), frame
    except (KeyError, TypeError, ValueError):  # another type, no such column, several chunks
        frame = conform(frame, schema_of(cls)).rechunk()
        return RecordReader(plan, frame), frame


def _unknown(missing: NoMember) -> SchemaError:
    return SchemaError(f"{missing}; filter such rows out before, or add it to the enum")


# --- events and frames ---


def events_of(frame: pl.DataFrame, cls: type[E]) -> list[E]:
    """The rows of a frame as events, unchecked; columns the class lacks are left out.

    Raises SchemaError if the frame lacks a column, has one of another type, or holds what is no
    value of an enum.
    """
    try:
        return _reader(frame, cls)[0].rest()
    except NoMember as missing:
        raise _unknown(missing) from None


def call_with_events(
    call: Callable[[Any], Any],
    frame: pl.DataFrame,
    cls: type[Event],
    writer: RecordWriter | None,
    optional: bool,
    take: Callable[[int, Any], None],
    fail: Callable[[int, Exception], None],
) -> pl.DataFrame:
    """Call with every row of a frame as an event, number 0 first; raises as `events_of` does.

    An event of the writer's class goes straight to the writer, anything else with its number to
    `take`, save None if that is `optional`. An exception of the call or of `take` goes to `fail`.
    Returns the rows as they were read, which `settled` can take columns of.
    """
    reader, read = _reader(frame, cls)
    try:
        call_each(call, reader, writer, optional, take, fail)
    except NoMember as missing:
        raise _unknown(missing) from None
    return read


def writer_of(cls: type[Event], rows: int = 0) -> RecordWriter:
    """Columns that events are appended to, with room for so many at first; then `settled`."""
    return RecordWriter(_plan(cls), rows)


class Settled(NamedTuple):
    """What came of events that were appended."""

    rows: pl.DataFrame
    """Those that fit their class, in the order in which they were appended."""
    places: pl.Series | None
    """The place of each row; None if they are 0, 1, 2 and so on."""
    bad: list[tuple[int, str]]
    """(place, reason) of each that does not fit."""


def settled(writer: RecordWriter, cls: type[Event], read: pl.DataFrame | None = None) -> Settled:
    """Take the events out of a writer, and decide about those that do not fit exactly.

    A column that calls with the rows of `read`, and nothing else, only handed on is not copied.
    """
    written = writer.finish(read is not None)
    found = written.places
    places = None if found is None else pl.Series(pl.from_arrow(found))
    if read is not None and written.passed:
        rows = _completed(written, places, read, cls)
    else:
        rows = pl.DataFrame(written.rows)
    if not written.rest:
        return Settled(rows, places, [])
    if places is None:
        places = pl.int_range(rows.height, eager=True)
    late, reasons = _by_value([one for _, _, one in written.rest], cls)
    bad = [(place, why) for (_, place, _), why in zip(written.rest, reasons, strict=True) if why]
    fits = [one for one, why in zip(written.rest, reasons, strict=True) if not why]
    # What stands before row n of the others is sorted in by n; the sort is stable.
    before = [row for row, _, _ in fits] + list(range(rows.height))
    order = sorted(range(len(before)), key=before.__getitem__)
    where = pl.Series([place for _, place, _ in fits], dtype=pl.Int64)
    return Settled(pl.concat([late, rows])[order], pl.concat([where, places])[order], bad)


def _completed(
    written: Written, places: pl.Series | None, read: pl.DataFrame, cls: type[Event]
) -> pl.DataFrame:
    """The rows with the columns that were passed on, in the order of their class."""
    columns = {column.name: column for column in pl.DataFrame(written.rows).get_columns()}
    for name in written.passed:
        column = read.get_column(name)
        columns[name] = column.head(written.height) if places is None else column.gather(places)
    first, *others = [columns[name] for name in field_types(cls)]
    return first.to_frame().hstack(others)


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
    writer = writer_of(cls, len(events))
    writer.extend(events)
    found = settled(writer, cls)
    return found.rows, found.bad
