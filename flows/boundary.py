"""The boundary: where outside data becomes rows of an event, or bad rows with a reason.

pydantic decides. For columns, a fast path takes those values of which it is certain that pydantic
would take them, and as what; every other row goes to pydantic, whichever way it then decides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, to_json

from .errors import SchemaError
from .event import Event, adapter_of
from .fieldtypes import FieldType, field_types
from .memo import once_per_class
from .rows import checked_frame, constant, shown
from .schema import Schema, schema_of

__all__ = ["Bad", "Boundary", "Checked", "boundary_of"]


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that failed: its place in the input, its bytes, and why."""

    index: int
    raw: bytes
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Checked:
    """The rows that passed, the place of each in the input, and those that failed, in order."""

    rows: pl.DataFrame
    index: pl.Series
    bad: list[Bad]


def _reasons(error: ValidationError) -> str:
    return "; ".join(map(_reason, error.errors(include_url=False)))


def _reason(detail: ErrorDetails) -> str:
    path = ".".join(map(str, detail["loc"]))
    message, kind = detail["msg"], detail["type"]
    if kind == "timezone_aware":
        message += "; end it with Z or an offset such as +02:00"
    found = "" if kind in ("missing", "json_invalid") else f" [found {shown(detail['input'])}]"
    return f"{path}: {message}{found}" if path else f"{message}{found}"


def _judged(validate: Callable[[Any], Any], value: Any) -> tuple[Any, str | None]:
    """The event made of `value`, or why there is none."""
    try:
        return validate(value), None
    except ValidationError as error:
        return None, _reasons(error)
    except Exception as error:  # a validator is a user's function
        return None, f"{type(error).__name__}: {error}"


def _column_names(cls: type[Event]) -> dict[str, str] | None:
    """The column that each field is read from, by its alias; None if pydantic has to look."""
    names = {}
    for name, annotation in cls.__event_fields__.items():
        default = cls.__event_defaults__.get(name)
        notes = (*getattr(annotation, "__metadata__", ()), default)
        alias: Any = None
        for note in notes:
            if isinstance(note, FieldInfo):
                alias = note.validation_alias or note.alias or alias
        if alias is not None and not isinstance(alias, str):
            return None
        names[name] = alias or name
    return names


def _index(places: Sequence[int]) -> pl.Series:
    return pl.Series("index", places, dtype=pl.Int64)


class Boundary:
    """Checks outside data against one event class."""

    __slots__ = ("_fields", "_names", "_validate", "_validate_json", "_words", "event", "schema")

    def __init__(self, event: type[Event]) -> None:
        self.event = event
        self.schema: Schema = schema_of(event)
        adapter = adapter_of(event)
        self._fields: Mapping[str, FieldType] = field_types(event)
        self._names = _column_names(event)
        self._words = {c: self._fields[n].spelled for n, c in (self._names or {}).items()}
        self._validate = adapter.validate_python
        self._validate_json = adapter.validate_json

    def json_lines(self, lines: Sequence[bytes], positions: Sequence[int] | None = None) -> Checked:
        """Check lines that should each hold one JSON object.

        With `positions`, the places reported are those, not 0, 1, 2 and so on.
        """
        validate = self._validate_json
        bad: list[Bad] = []
        places: Sequence[int] = range(len(lines)) if positions is None else positions
        try:
            events = [validate(line) for line in lines]
        except Exception:  # pydantic's, or a user's validator's: the lines are looked at singly
            events, kept = [], []
            for place, line in zip(places, lines, strict=True):
                event, reason = _judged(validate, line)
                if reason is None:
                    events.append(event)
                    kept.append((place, line))
                else:
                    bad.append(Bad(place, line, reason))
            places, lines = [place for place, _ in kept], [line for _, line in kept]
        return self._checked(events, places, lines.__getitem__, bad)

    def _checked(
        self,
        events: list[Any],
        places: Sequence[int],
        raw: Callable[[int], bytes],
        bad: list[Bad],
    ) -> Checked:
        """The events that also fit their columns; `raw` gives the bytes of the n-th event."""
        rows, unfit = checked_frame(events, self.event)
        if unfit:
            bad.extend(Bad(places[n], raw(n), reason) for n, reason in unfit)
            lost = {n for n, _ in unfit}
            places = [place for n, place in enumerate(places) if n not in lost]
        return Checked(rows, _index(places), sorted(bad, key=lambda one: one.index))

    def columns(self, frame: pl.DataFrame, raw: Callable[[int], bytes] | None = None) -> Checked:
        """Check a frame of text or typed columns; columns that the event lacks are dropped.

        `raw` gives the bytes of a row, else a bad row holds itself as JSON. An empty text is null
        in a nullable field that is no str. Raises SchemaError if a required column is missing.
        """
        frame = self._without_empty(frame)
        converted, certain = self._fast(frame)
        if certain.all():
            return Checked(converted, _index(range(frame.height)), [])
        doubtful = (~certain).arg_true()
        slow = self._slow(frame[doubtful], doubtful.to_list(), raw)
        fast = converted.filter(certain)
        index = pl.concat([_index(certain.arg_true().to_list()), slow.index])
        order = index.arg_sort()
        return Checked(pl.concat([fast, slow.rows])[order], index[order], slow.bad)

    def _without_empty(self, frame: pl.DataFrame) -> pl.DataFrame:
        empty = []
        for name, column in (self._names or {}).items():
            kept = self._fields[name]
            if not kept.nullable or kept.kind == "str" or frame.schema.get(column) != pl.String:
                continue
            if kept.kind in ("enum", "literal") and "" in kept.allowed:
                continue
            empty.append(pl.col(column).replace("", None))
        return frame.with_columns(empty) if empty else frame

    def _fast(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
        """The frame converted, and which of its rows are certain."""
        certain = _repeated(not self.event.__event_validated__ and self._names is not None, frame)
        columns = {}
        for name, kept in self._fields.items():
            source = self._names[name] if self._names is not None else None
            if source in frame.columns:
                columns[name], sure = _certain(kept, frame.get_column(source))
                certain = certain & sure
                continue
            values = None if source is None else self._default(name, source, frame)
            if values is None:
                values = pl.Series([None], dtype=kept.polars).new_from_index(0, frame.height)
                certain = _repeated(False, frame)
            columns[name] = values
        return pl.DataFrame(columns), certain

    def _default(self, name: str, source: str, frame: pl.DataFrame) -> pl.Series | None:
        """The default of a field whose column the frame lacks; None if pydantic has to make it."""
        declared = {found.name: found for found in dataclasses.fields(self.event)}[name]
        if declared.default is not dataclasses.MISSING:
            return constant(self._fields[name], declared.default, frame.height)
        if declared.default_factory is not dataclasses.MISSING:
            return None
        raise SchemaError(
            f"column '{source}' is missing for {self.event.__name__}; "
            f"the input has {', '.join(frame.columns) or 'no columns'}"
        )

    def _slow(
        self, frame: pl.DataFrame, places: list[int], raw: Callable[[int], bytes] | None
    ) -> Checked:
        """Have pydantic decide on every row."""
        events: list[Any] = []
        kept: list[int] = []
        sources: list[dict[str, Any]] = []
        bad: list[Bad] = []
        for place, row in zip(places, _rows(frame), strict=True):
            event, reason = _judged(self._validate, self._spelled_out(row))
            if row is None:
                reason = "a time lies outside the years 1 to 9999"
            if reason is None:
                events.append(event)
                kept.append(place)
                sources.append(row or {})
            else:
                bad.append(Bad(place, _bytes_of(place, row, raw), reason))
        return self._checked(events, kept, lambda n: _bytes_of(kept[n], sources[n], raw), bad)

    def _spelled_out(self, row: dict[str, Any] | None) -> dict[str, Any] | None:
        """The row with numbers for the text of literals and enums, of which pydantic takes none."""
        found = {
            column: self._words[column][value]
            for column, value in (row or {}).items()
            if isinstance(value, str) and value in self._words.get(column, ())
        }
        return row if row is None or not found else {**row, **found}


@once_per_class
def boundary_of(cls: type[Event]) -> Boundary:
    """The boundary of an event class, made once. Raises SchemaError."""
    return Boundary(cls)


def _repeated(value: bool, frame: pl.DataFrame) -> pl.Series:
    return pl.Series([value], dtype=pl.Boolean).new_from_index(0, frame.height)


def _rows(frame: pl.DataFrame) -> list[dict[str, Any] | None]:
    """The rows as Python values; None for one that holds a time Python cannot."""
    try:
        return list(frame.iter_rows(named=True))
    except (OverflowError, ValueError):
        if frame.height == 1:
            return [None]
        half = frame.height // 2
        return _rows(frame[:half]) + _rows(frame[half:])


def _bytes_of(place: int, row: Any, raw: Callable[[int], bytes] | None) -> bytes:
    if raw is not None:
        return raw(place)
    return to_json(row, bytes_mode="base64", inf_nan_mode="constants", fallback=str)


# --- columns: values that pydantic would certainly take, and as what ---

_WHOLE = "-?(0|[1-9][0-9]{0,17})"
_FLOAT = rf"^{_WHOLE}(\.[0-9]{{1,18}})?([eE][+-]?[0-9]{{1,2}})?$"
_DATE = "[12][0-9]{3}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
_STAMP = rf"^{_DATE}[T ]{_TIME}(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])$"
_TRUE = ("true", "1", "yes", "on", "t", "y")
_FALSE = ("false", "0", "no", "off", "f", "n")
_DAYS = (-719_162, 2_932_896)
_MICROS = (-62_135_596_800_000_000, 253_402_300_799_999_999)
_INTS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)


def _certain(kept: FieldType, found: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The column converted, and which of its values are certain."""
    height = len(found)
    nothing = pl.Series([None], dtype=kept.polars).new_from_index(0, height)
    if isinstance(found.dtype, pl.Categorical | pl.Enum):
        found = found.cast(pl.String)
    values = None
    if kept.plain and found.dtype != pl.Null:
        values = _of_text(kept, found) if found.dtype == pl.String else _of_typed(kept, found)
    if values is None:
        values = nothing
    sure = values.is_not_null() & _within(kept, values)
    return values, (sure | found.is_null()) if kept.nullable and kept.plain else sure


def _within(kept: FieldType, values: pl.Series) -> pl.Series:
    """Which values keep the bounds; none if a bound is of a kind that needs pydantic."""
    sure = pl.Series([True], dtype=pl.Boolean).new_from_index(0, len(values))
    for name, limit in kept.bounds:
        exact = isinstance(limit, int) or (isinstance(limit, float) and kept.kind == "float")
        if kept.kind not in ("int", "float") or not exact or abs(limit) > 1 << 53:
            return ~sure
        compare = {"ge": values.ge, "gt": values.gt, "le": values.le, "lt": values.lt}[name]
        sure = sure & compare(limit)
    if kept.bounds and kept.kind == "float":
        sure = sure & values.is_not_nan()
    return sure.fill_null(False)


def _where(certain: pl.Series, values: pl.Series) -> pl.Series:
    """The values, with null for those that are not certain."""
    return values.set(~certain.fill_null(False), None)


def _of_text(kept: FieldType, found: pl.Series) -> pl.Series | None:
    dtype = kept.polars
    if kept.kind in ("int", "float", "bool", "str"):
        return _of_plain_text(kept, found)
    if kept.kind in ("enum", "literal"):
        if dtype == pl.String:
            return _among(kept, found)
        words = kept.spelled
        known = _where(found.is_in(list(words)), found)
        return known.replace_strict(words, return_dtype=dtype)
    if kept.kind == "datetime":
        if kept.unit is not None:
            counts = _where(found.str.contains(f"^{_WHOLE}$"), found).cast(pl.Int64, strict=False)
            return _of_epoch(kept, counts)
        text = _where(found.str.contains(_STAMP), found).str.replace(" ", "T", literal=True)
        stamps = text.str.to_datetime(
            "%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False
        )
        return stamps.cast(dtype)
    if kept.kind == "date":
        return _where(found.str.contains(f"^{_DATE}$"), found).str.to_date("%Y-%m-%d", strict=False)
    if kept.kind == "time":
        text = _where(found.str.contains(f"^{_TIME}$"), found)
        return text.str.to_time("%H:%M:%S%.f", strict=False)
    if isinstance(dtype, pl.Decimal):
        whole = (dtype.precision or 38) - dtype.scale
        part = rf"(\.[0-9]{{1,{dtype.scale}}})?" if dtype.scale else ""
        pattern = rf"^-?(0|[1-9][0-9]{{0,{whole - 1}}}){part}$" if whole else "^0$"
        return _where(found.str.contains(pattern), found).cast(dtype, strict=False)
    return None


def _of_plain_text(kept: FieldType, found: pl.Series) -> pl.Series:
    if kept.kind == "str":
        return found
    if kept.kind == "int":
        whole = _where(found.str.contains(f"^{_WHOLE}$"), found)
        return whole.cast(pl.Int64, strict=False).cast(kept.polars, strict=False)
    if kept.kind == "float":
        return _where(found.str.contains(_FLOAT), found).cast(pl.Float64, strict=False)
    text = found.str.to_lowercase()
    return _where(text.is_in([*_TRUE, *_FALSE]), text.is_in(_TRUE))


def _among(kept: FieldType, found: pl.Series) -> pl.Series:
    return _where(found.is_in(kept.allowed), found)


def _of_epoch(kept: FieldType, counts: pl.Series) -> pl.Series:
    """Times that whole numbers of the field's unit stand for, null outside the years 1 to 9999."""
    if kept.unit == "ns":
        micros = counts // 1_000
    else:
        factor = {"s": 1_000_000, "ms": 1_000, "us": 1}[str(kept.unit)]
        low, high = _MICROS[0] // factor, _MICROS[1] // factor
        micros = _where(counts.is_between(low, high), counts) * factor
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(kept.polars)


def _of_typed(kept: FieldType, found: pl.Series) -> pl.Series | None:
    dtype = found.dtype
    if kept.kind == "datetime":
        if kept.unit is not None and dtype in _INTS:
            return _of_epoch(kept, found.cast(pl.Int64, strict=False))
        if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
            return None
        micros = found.dt.cast_time_unit("us")
        sure = micros.to_physical().is_between(*_MICROS)
        if dtype.time_unit == "ms":
            sure = sure & found.to_physical().is_between(_MICROS[0] // 1000, _MICROS[1] // 1000)
        return _where(sure, micros).cast(kept.polars)
    if kept.kind in ("int", "float") and dtype in _INTS:
        return found.cast(kept.polars, strict=False)
    if kept.kind == "float" and dtype == pl.Float32:
        return found.cast(pl.Float64)
    if dtype != kept.polars:
        return None
    if kept.kind in ("enum", "literal"):
        return _among(kept, found)
    if kept.kind == "date":
        return _where(found.to_physical().is_between(*_DAYS), found)
    if kept.kind == "list":
        return _of_lists(kept, found)
    return None if kept.kind == "event" else found


def _of_lists(kept: FieldType, found: pl.Series) -> pl.Series | None:
    item = kept.item
    if item is None or item.bounds or not item.plain:
        return None
    if item.kind not in ("bool", "int", "float", "str", "bytes"):
        return None
    full = found.list.len() == found.list.drop_nulls().list.len()
    return found if item.nullable else _where(full, found)
