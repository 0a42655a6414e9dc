"""User functions called once a row, without state: one in, none or one or many out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from ..batch import HIDDEN, Batch, DeadRow, Logic, Output
from ..event import Event
from ..graph import Place
from ..merge import Merge
from ..vectorized.nodes import ByRows
from ..vectorized.program import Program
from .calls import Gathered

__all__ = ["RowFunction"]


@dataclass(frozen=True, slots=True)
class RowFunction:
    """Calls `call` with each row as an event."""

    call: Callable[..., Any]
    inputs: tuple[type[Event], ...]
    """The event class of each input."""
    output: type[Event] | None
    """None for a sink that is a function."""
    many: bool = False
    optional: bool = True
    """Whether it may return None, for no row."""
    settings: str | None = None
    """The parameter that takes the flow's settings."""
    program: Program | None = None
    """The same on columns, for batches where it gives the same."""
    why: str = ""
    """Why there is none."""

    @property
    def title(self) -> str:
        if self.program is not None:
            return "per row, on columns"
        return f"per row: {self.why}" if self.why else "per row"

    def build(self, place: Place) -> Logic:
        call = self.call
        if self.settings is not None:
            call = functools.partial(call, **{self.settings: place.settings})
        return _RowFunctionLogic(self, place, call)


class _RowFunctionLogic(Logic):
    __slots__ = ("_call", "_merge", "_place", "_spec", "by_columns", "by_rows", "why_by_rows")

    def __init__(self, spec: RowFunction, place: Place, call: Callable[..., Any]) -> None:
        self._spec = spec
        self._place = place
        self._call = call
        self._merge = Merge(len(spec.inputs), in_order=place.timed)
        self.by_columns = 0
        """Batches that went by columns."""
        self.by_rows = 0
        self.why_by_rows = spec.why
        """Why the last of those that went by rows did."""

    def receive(self, port: int, batch: Batch) -> Output:
        if batch.rows is None:
            return Output([self._merge.receive(port, batch)])
        made, dead = self._made(port, batch.rows)
        return Output([self._merge.receive(port, Batch(made, batch.watermark))], dead=dead)

    def _made(self, port: int, rows: pl.DataFrame) -> tuple[pl.DataFrame | None, list[DeadRow]]:
        program = self._spec.program
        if program is not None:
            try:
                made = program.over(rows, self._place.settings)
            except ByRows as reason:
                self.why_by_rows = str(reason)
            else:
                self.by_columns += 1
                return made, []
        self.by_rows += 1
        return self._called(port, rows)

    def _called(self, port: int, rows: pl.DataFrame) -> tuple[pl.DataFrame | None, list[DeadRow]]:
        spec, place = self._spec, self._place
        gathered = Gathered(
            place.operator, spec.output, spec.many, spec.optional, place.on_error, rows.height
        )
        gathered.call_each(self._call, rows, spec.inputs[port])
        return gathered.frame(_hidden(rows)), gathered.dead(rows)


def _hidden(rows: pl.DataFrame) -> pl.DataFrame:
    # As `rows.select(HIDDEN)`, without a query for two columns that are there.
    first, *others = [rows.get_column(name) for name in HIDDEN]
    return first.to_frame().hstack(others)
