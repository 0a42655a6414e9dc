"""Row-wise work on columns: filter, select, with_columns, and user functions on whole batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, TypeVar

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
    by_rows,
    visible,
)
from ..errors import RowError
from ..expressions import uses_selector
from ..graph import OnError, Place
from .calls import reason_of
from .dead import dead_rows

__all__ = ["BatchFunction", "Columns", "Step"]

_ROW = "_hw_row"
Rows = TypeVar("Rows", pl.DataFrame, pl.LazyFrame)


@dataclass(frozen=True, slots=True)
class Step:
    """One row-wise step over a frame."""

    kind: Literal["filter", "select", "with_columns"]
    expressions: tuple[pl.Expr, ...]

    def __str__(self) -> str:
        return f"{self.kind} {', '.join(str(e) for e in self.expressions)}"


@dataclass(frozen=True, slots=True)
class Columns:
    """A chain of row-wise steps, run as one polars query a batch."""

    steps: tuple[Step, ...]
    upsert: bool = False

    @property
    def title(self) -> str:
        return ", ".join(step.kind for step in self.steps)

    def build(self, place: Place) -> Logic:
        return _RowWise(place, _plan(self.steps, self.upsert))


@dataclass(frozen=True, slots=True)
class BatchFunction:
    """A user function on batches whose rows are independent of each other."""

    call: Callable[[pl.DataFrame], pl.DataFrame]
    """Takes and gives visible columns; the output's are those of the node's schema."""

    @property
    def title(self) -> str:
        return "batch function"

    def build(self, place: Place) -> Logic:
        return _RowWise(place, lambda rows: by_rows(lambda r: _aligned(self.call, r), rows))


class _RowWise(Logic):
    """Runs a row-wise function; a row that it fails on becomes a dead letter."""

    __slots__ = ("_on_error", "_operator", "_run")

    def __init__(self, place: Place, run: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        self._operator = place.operator
        self._on_error: OnError = place.on_error
        self._run = run

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
            return [self._run(rows)]
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


def _plan(steps: Sequence[Step], upsert: bool) -> Callable[[pl.DataFrame], pl.DataFrame]:
    kept = (DELETED, *HIDDEN) if upsert else HIDDEN
    if upsert or any(uses_selector(e) for step in steps for e in step.expressions):
        return lambda rows: _one_by_one(steps, rows, kept)

    # A filter is a query of its own: with others in one, polars would run them on the rows that
    # are left, chunk by chunk, and a chunk may be a single row (see `by_rows`).
    queries = [
        _query(tuple(group), kept) for _, group in groupby(steps, lambda s: s.kind == "filter")
    ]

    def run(rows: pl.DataFrame) -> pl.DataFrame:
        for query in queries:
            rows = by_rows(query, rows)
        return _hidden_last(rows, kept)

    return run


def _query(
    steps: tuple[Step, ...], kept: tuple[str, ...]
) -> Callable[[pl.DataFrame], pl.DataFrame]:
    if len(steps) == 1:
        return lambda rows: _done(steps[0], rows, kept)
    if steps[0].kind == "filter":
        predicates = [predicate for step in steps for predicate in step.expressions]
        return lambda rows: rows.filter(*predicates)

    def run(rows: pl.DataFrame) -> pl.DataFrame:
        query = rows.lazy()
        for step in steps:
            query = _done(step, query, kept)
        return query.collect()

    return run


def _done(step: Step, rows: Rows, kept: tuple[str, ...]) -> Rows:
    if step.kind == "filter":
        return rows.filter(*step.expressions)
    if step.kind == "select":
        return rows.select(*step.expressions, *kept)
    return rows.with_columns(*step.expressions)


def _hidden_last(rows: pl.DataFrame, kept: tuple[str, ...]) -> pl.DataFrame:
    """Put the hidden columns behind those that `with_columns` added."""
    names = rows.columns
    if tuple(names[-len(kept) :]) == kept:
        return rows
    return rows[[*(name for name in names if name not in kept), *kept]]


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
        if made.height != rows.height:  # nothing but constants was selected
            made = pl.concat([made] * rows.height)
        rows = made.hstack(rows.select(kept))
    return rows


def _selects(*expressions: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.select(*expressions)


def _adds(step: Step) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda rows: rows.with_columns(*step.expressions)


def _aligned(call: Callable[[pl.DataFrame], pl.DataFrame], rows: pl.DataFrame) -> pl.DataFrame:
    """Call, and find for each row of the result the row it came from.

    A function that neither keeps the number of rows nor the columns it does not know is called
    row by row: as it promises that rows are independent, the result is the same.
    """
    numbered = visible(rows).with_row_index(_ROW)
    made = call(numbered)
    if _ROW in made.columns:
        places = made[_ROW]
        made = made.drop(_ROW)
    elif made.height == rows.height:
        places = numbered[_ROW]
    else:
        parts = [by_rows(call, visible(rows[i : i + 1])) for i in range(rows.height)]
        places = pl.concat(
            [pl.repeat(i, part.height, dtype=pl.UInt32, eager=True) for i, part in enumerate(parts)]
        )
        made = pl.concat(parts)
    return made.hstack(rows.select(WATERMARK, ORIGIN)[places])
