"""Runs a row function on a batch in both ways, and says what came of each to the last bit."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import polars as pl

import headwater as hw
from headwater.flows.batch import ORIGIN, WATERMARK, Batch
from headwater.flows.clock import ManualClock
from headwater.flows.graph import OnError, Place
from headwater.flows.operators.function import RowFunction
from headwater.flows.schema import schema_of
from headwater.flows.vectorized.program import program_of

from .harness import at
from .rowgrammar import Row, function_of

__all__ = [
    "Outcome",
    "bits",
    "both_ways",
    "equal_ways",
    "frame_of",
    "hidden",
    "returning",
    "spec_of",
]


@dataclass(frozen=True)
class Outcome:
    """What an operator gave for a batch."""

    columns: Any
    """Of what came out: name, type and values of each column; None for no row."""
    watermark: Any
    dead: Any
    raised: str | None
    by_columns: bool
    why: str

    @property
    def result(self) -> Any:
        """All but the way it went."""
        return self.columns, self.watermark, self.dead, self.raised


def bits(series: pl.Series) -> list[Any]:
    """Return values so that they are equal only if they are the same to the last bit."""
    values = series.to_list()
    if series.dtype != pl.Float64:
        return values
    return [
        None if value is None else "nan" if value != value else struct.pack("d", value)
        for value in values
    ]


def spec_of(
    function: Callable[..., Any],
    event: type[hw.Event],
    output: type[hw.Event],
    *,
    optional: bool = True,
    settings: tuple[str, Any] | None = None,
) -> RowFunction:
    """Return the operator as it runs on columns; raises `Refused`."""
    name, given = (None, None) if settings is None else settings
    program = program_of(
        function,
        event,
        output,
        optional=optional,
        settings=name,
        settings_class=None if given is None else type(given),
    )
    return RowFunction(function, (event,), output, False, optional, name, program)


def both_ways(
    spec: RowFunction, rows: pl.DataFrame, *, settings: Any = None, on_error: OnError = "dead"
) -> tuple[Outcome, Outcome]:
    """Return what comes of a batch on columns, where it can, and row by row."""
    return (
        _outcome(spec, rows, settings, on_error),
        _outcome(replace(spec, program=None), rows, settings, on_error),
    )


def _outcome(spec: RowFunction, rows: pl.DataFrame, settings: Any, on_error: OnError) -> Outcome:
    assert spec.output is not None
    schemas = tuple(schema_of(event) for event in spec.inputs)
    clock = ManualClock()
    place = Place("made", schemas, schema_of(spec.output), clock, 0, on_error, settings)
    logic: Any = spec.build(place)
    try:
        output = logic.receive(0, Batch(rows, 5))
    except (hw.HeadwaterError, ArithmeticError, ValueError, pl.exceptions.PolarsError) as error:
        return Outcome(None, None, None, str(error), False, logic.why_by_rows)
    (batch,) = output.batches
    columns = None
    if batch.rows is not None:
        columns = [(one.name, one.dtype, bits(one)) for one in batch.rows.get_columns()]
    by_columns = bool(logic.by_columns)
    return Outcome(columns, batch.watermark, output.dead, None, by_columns, logic.why_by_rows)


def hidden(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows as they are within the engine."""
    numbers = pl.Series(range(frame.height), dtype=pl.Int64)
    return frame.with_columns(numbers.alias(WATERMARK), (numbers * 7).alias(ORIGIN))


def frame_of(height: int, **columns: list[Any]) -> pl.DataFrame:
    """Return rows of `Row` with these columns, of which the others are plain."""
    plain: dict[str, Any] = {
        "at": at(1), "i": 5, "j": 3, "small": 1, "oi": 4, "x": 1.5, "y": 2.5, "ox": 0.5, "s": "ab",
        "u": "b", "os": "a", "b": True, "ob": False, "c": "red", "oc": "blue", "lit": "p",
        "due": at(2), "day": date(2026, 1, 1), "span": timedelta(1), "tags": ["t"],
    }  # fmt: skip
    filled = {name: columns.get(name, [value] * height) for name, value in plain.items()}
    return hidden(pl.DataFrame(filled, schema=schema_of(Row).polars()))


def returning(expression: str, field: str, **names: Any) -> Callable[..., Any]:
    return function_of(f"def drawn(row):\n    return row.replace({field}={expression})\n", **names)


def equal_ways(
    function: Callable[..., Any], rows: pl.DataFrame, output: type[hw.Event] = Row
) -> Outcome:
    """Return what came of a batch, the same in both ways."""
    columns, loop = both_ways(spec_of(function, Row, output), rows)
    assert loop.result == columns.result
    return columns
