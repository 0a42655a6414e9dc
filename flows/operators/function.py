"""User functions called once a row, without state: one in, none or one or many out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from ..batch import HIDDEN, Batch, DeadRow, Logic, Output, concatenated, visible
from ..event import Event
from ..graph import Place
from ..merge import Merge
from ..rows import events_of
from .calls import EVENTS, Gathered

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

    @property
    def title(self) -> str:
        return "per row"

    def build(self, place: Place) -> Logic:
        call = self.call
        if self.settings is not None:
            call = functools.partial(call, **{self.settings: place.settings})
        return _RowFunctionLogic(self, place, call)


class _RowFunctionLogic(Logic):
    __slots__ = ("_call", "_merge", "_place", "_spec")

    def __init__(self, spec: RowFunction, place: Place, call: Callable[..., Any]) -> None:
        self._spec = spec
        self._place = place
        self._call = call
        self._merge = Merge(len(spec.inputs), in_order=place.timed)

    def receive(self, port: int, batch: Batch) -> Output:
        if batch.rows is None:
            return Output([self._merge.receive(port, batch)])
        made: list[pl.DataFrame] = []
        dead: list[DeadRow] = []
        for rows in batch.rows.iter_slices(EVENTS):
            found = self._called(port, rows, dead)
            if found is not None:
                made.append(found)
        joined = concatenated(made) if made else None
        return Output([self._merge.receive(port, Batch(joined, batch.watermark))], dead=dead)

    def _called(self, port: int, rows: pl.DataFrame, dead: list[DeadRow]) -> pl.DataFrame | None:
        spec, place = self._spec, self._place
        gathered = Gathered(place.operator, spec.output, spec.many, spec.optional, place.on_error)
        call, take = self._call, gathered.take
        for index, event in enumerate(events_of(visible(rows), spec.inputs[port])):
            try:
                take(index, call(event))
            except Exception as error:  # whatever the user's function raises
                gathered.fail(index, error)
        found = gathered.frame(rows.select(HIDDEN))
        dead.extend(gathered.dead(rows))
        return found
