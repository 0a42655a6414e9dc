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
from pydantic_core import ErrorDetails, to_json

from .aliases import outer_names
from .certain import certain_values
from .errors import SchemaError
from .event import Event, adapter_of
from .fieldtypes import FieldType, field_types
from .jsondecoder import decoder_of, framed
from .memo import once_per_class
from .rows import checked_frame, constant, shown
from .schema import Schema, schema_of

__all__ = ["Bad", "Boundary", "Checked", "boundary_of", "merged"]


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


def _index(places: Sequence[int]) -> pl.Series:
    return pl.Series("index", places, dtype=pl.Int64)


class Boundary:
    """Checks outside data against one event class."""

    __slots__ = (
        "_decoder",
        "_fields",
        "_names",
        "_validate",
        "_validate_json",
        "_words",
        "event",
        "schema",
    )

    def __init__(self, event: type[Event]) -> None:
        self.event = event
        self.schema: Schema = schema_of(event)
        adapter = adapter_of(event)
        self._fields: Mapping[str, FieldType] = field_types(event)
        self._names = outer_names(event)
        self._words = {c: self._fields[n].spelled for n, c in (self._names or {}).items()}
        self._validate = adapter.validate_python
        self._validate_json = adapter.validate_json
        self._decoder = decoder_of(event)

    def json_lines(self, lines: Sequence[bytes], positions: Sequence[int] | None = None) -> Checked:
        """Check lines that should each hold one JSON object.

        With `positions`, the places reported are those, not 0, 1, 2 and so on.
        """
        places: Sequence[int] = range(len(lines)) if positions is None else positions
        if self._decoder is None:
            return self.each_line(lines, places)
        decoded = self._decoder.decode_all(lines)
        fast = framed(decoded.columns, self._fields)
        if not decoded.doubts:
            return Checked(fast, _index(places), [])
        doubts = [doubt.line for doubt in decoded.doubts]
        slow = self.each_line([lines[n] for n in doubts], [places[n] for n in doubts])
        kept = [places[n] for n in decoded.rows.to_pylist()]
        return merged(Checked(fast, _index(kept), []), slow)

    def each_line(self, lines: Sequence[bytes], places: Sequence[int]) -> Checked:
        """Have pydantic decide on every line."""
        validate = self._validate_json
        bad: list[Bad] = []
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
        kept = _index(certain.arg_true().to_list())
        return merged(Checked(converted.filter(certain), kept, []), slow)

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
                columns[name], sure = certain_values(kept, frame.get_column(source))
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


def merged(one: Checked, other: Checked) -> Checked:
    """What two checks of parts of an input found, in its order."""
    index = pl.concat([one.index, other.index])
    order = index.arg_sort()
    bad = sorted([*one.bad, *other.bad], key=lambda found: found.index)
    return Checked(pl.concat([one.rows, other.rows])[order], index[order], bad)


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
