"""Row-wise work on columns: filter, select, with_columns, and user functions on whole batches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from ..batch import (
    DELETED,
    HIDDEN,
    ORIGIN,
    WATERMARK,
    Batch,
    DeadRow,
    Logic,
    Output,
    visible,
)
from ..certain import MICROS
from ..errors import RowError, SchemaError
from ..expressions import output_name, uses_selector
from ..graph import OnError, Place
from ..schema import Schema
from .calls import reason_of
from .chain import Step, chain
from .dead import dead_rows
from .rowwise import by_rows

__all__ = ["BatchFunction", "Columns", "Step"]

_ROW = "_hw_row"


@dataclass(frozen=True, slots=True)
class Columns:
    """A chain of row-wise steps, run as one polars query a batch."""

    steps: tuple[Step, ...]
    upsert: bool = False

    @property
    def title(self) -> str:
        return ", ".join(step.kind for step in self.steps)

    def build(self, place: Place) -> Logic:
        time = place.schema.event_time if place.schema.key is None else None
        if time is not None and not _makes(self.steps, time):
            time = None
        return _RowWise(place, _plan(self.steps, self.upsert), time)


@dataclass(frozen=True, slots=True)
class BatchFunction:
    """A user function on batches whose rows are independent of each other."""

    call: Callable[..., pl.DataFrame]
    """Takes and gives visible columns; the output's are those of the node's schema."""
    settings: str | None = None
    """The parameter that takes the flow's settings."""

    @property
    def title(self) -> str:
        return "batch function"

    def build(self, place: Place) -> Logic:
        time = place.inputs[0].event_time if place.timed else None
        call = self.call
        if self.settings is not None:
            call = functools.partial(call, **{self.settings: place.settings})

        def run(rows: pl.DataFrame) -> pl.DataFrame:
            return by_rows(lambda some: _aligned(call, some, place.schema, time), rows)

        return _RowWise(place, run, place.schema.event_time)


class _RowWise(Logic):
    """Runs a row-wise function; a row that it fails on becomes a dead letter.

    So does one whose event time `time`, if it is made anew, comes out null or out of all years.
    """

    __slots__ = ("_on_error", "_operator", "_run", "_time")

    def __init__(
        self, place: Place, run: Callable[[pl.DataFrame], pl.DataFrame], time: str | None
    ) -> None:
        self._operator = place.operator
        self._on_error: OnError = place.on_error
        self._run = run
        self._time = time

    def receive(self, port: int, batch: Batch) -> Output:
        if batch.rows is None:
            return Output([batch])
        dead: list[DeadRow] = []
        frames = self._attempt(batch.rows, dead)
        if not frames:
            return Output([Batch(None, batch.watermark)], dead=dead)
        rows = frames[0] if len(frames) == 1 else pl.concat(frames)
        return Output([Batch(rows if rows.height else None, batch.watermark)], dead=dead)

    def _attempt(self, rows: pl.DataFrame, dead: list[DeadRow]) -> list[pl.DataFrame]:
        """Run on all rows, or by halves where that raises, down to the rows that fail alone."""
        try:
            made = self._run(rows)
            if self._time is not None:
                _check_times(made[self._time])
            return [made]
        except Exception as error:  # whatever the user's own expression or function raises
            if rows.height > 1:
                middle = rows.height // 2
                return [
                    *self._attempt(rows[:middle], dead),
                    *self._attempt(rows[middle:], dead),
                ]
            if self._on_error == "stop":
                raise RowError(f"{self._operator}: {reason_of(error)}") from error
            dead.extend(dead_rows(self._operator, rows, [reason_of(error)]))
            return []


def _check_times(times: pl.Series) -> None:
    """Raise SchemaError for event times that are null or that no window could hold."""
    if times.null_count():
        raise SchemaError(f"the event time '{times.name}' became null")
    first, last = MICROS
    if not times.to_physical().is_between(first, last).all():
        raise SchemaError(f"the event time '{times.name}' left the years 1 to 9999")


def _makes(steps: Sequence[Step], column: str) -> bool:
    """Whether a step makes a column anew, and does not only hand it on."""
    return any(
        output_name(expression) == column and not expression.meta.is_column()
        for step in steps
        if step.kind != "filter"
        for expression in step.expressions
        if not uses_selector(expression)
    ) or any(uses_selector(e) for step in steps for e in step.expressions)


def _plan(steps: Sequence[Step], upsert: bool) -> Callable[[pl.DataFrame], pl.DataFrame]:
    kept = (DELETED, *HIDDEN) if upsert else HIDDEN
    if upsert or any(uses_selector(e) for step in steps for e in step.expressions):
        return lambda rows: _one_by_one(steps, rows, kept)
    return chain(steps, kept)


def _one_by_one(steps: Sequence[Step], rows: pl.DataFrame, kept: tuple[str, ...]) -> pl.DataFrame:
    """Run step by step, so that a selector such as ``pl.all()`` never meets a hidden column."""
    for step in steps:
        seen = rows.drop(kept)
        if step.kind == "filter":
            true = pl.all_horizontal(*step.expressions).fill_null(False)
            mask = by_rows(_selects(true), seen).to_series()
            if DELETED in kept:  # a row that leaves the table must take its older version along
                rows = rows.with_columns((pl.col(DELETED) | ~mask).alias(DELETED))
            else:
                rows = rows.filter(mask)
            continue
        made = by_rows(_selects(*step.expressions) if step.kind == "select" else _adds(step), seen)
        rows = made.hstack(rows.select(kept))
    return rows


def _selects(*expressions: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    # With a column of full height beside them, constants have that height as well.
    height = pl.int_range(pl.len()).alias(_ROW)
    return lambda rows: rows.select(*expressions, height).drop(_ROW)


def _adds(step: Step) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(*step.expressions)


def _aligned(
    call: Callable[[pl.DataFrame], pl.DataFrame],
    rows: pl.DataFrame,
    wanted: Schema,
    time: str | None,
) -> pl.DataFrame:
    """Call, and find for each row of the result the row it came from.

    A function that keeps the number of rows, and the columns that it passes on, keeps the rows.
    Any other is called again with the rows numbered; and if it gives something else then, or loses
    the numbers, row by row: as it promises that rows are independent, the result is the same.
    """
    seen, hidden = visible(rows), rows.select(WATERMARK, ORIGIN)
    made = call(seen)
    if made.height == rows.height and (time is None or _passed_on(time, seen, made)):
        return _promised(made, wanted).hstack(hidden)
    places = _places(call, seen, made)
    if places is None:
        parts = [by_rows(call, seen[i : i + 1]) for i in range(rows.height)]
        places = pl.concat(
            [pl.repeat(i, part.height, dtype=pl.UInt32, eager=True) for i, part in enumerate(parts)]
        )
        made = pl.concat([_promised(part, wanted) for part in parts])
    return _promised(made, wanted).hstack(hidden[places])


def _passed_on(time: str, seen: pl.DataFrame, made: pl.DataFrame) -> bool:
    """Whether the event time, and all other columns that have kept their type, are as they were."""
    same = [name for name in seen.columns if made.schema.get(name) == seen.schema[name]]
    return time in same and made.select(same).equals(seen.select(same))


def _places(
    call: Callable[[pl.DataFrame], pl.DataFrame], seen: pl.DataFrame, made: pl.DataFrame
) -> pl.Series | None:
    """Return the row that each row of `made` came from, if the function carries a number along."""
    # As a struct, which a function on all numbers, or all columns, does not take for one of them.
    number = pl.struct(pl.int_range(pl.len(), dtype=pl.UInt32).alias(_ROW)).alias(_ROW)
    try:
        numbered = call(seen.with_columns(number))
    except Exception:  # the user's function may refuse a column that it does not know
        return None
    if _ROW not in numbered.columns or not numbered.drop(_ROW).equals(made):
        return None
    places = numbered[_ROW]
    return places.struct.field(_ROW) if places.dtype == pl.Struct else None


def _promised(made: pl.DataFrame, wanted: Schema) -> pl.DataFrame:
    """Return what a function gave with the columns that it gives for no rows."""
    schema = wanted.polars()
    if made.schema == schema:
        return made
    if any(made.schema.get(name) != dtype for name, dtype in schema.items()):
        raise SchemaError(f"returned {dict(made.schema)}, and for no rows {dict(schema)}")
    return made.select(wanted.names)
