"""Calls user functions row by row and gathers what they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import polars as pl

from ..batch import DeadRow
from ..errors import RowError
from ..event import Event
from ..graph import OnError
from ..rows import call_with_events, settled, writer_of
from .dead import dead_rows

__all__ = ["EVENTS", "Gathered", "reason_of"]

EVENTS: Final = 8192
"""Rows of which events are made at a time: so few stay in the processor's cache."""


def reason_of(error: BaseException) -> str:
    """Return an exception as one line for a dead letter."""
    text = str(error).split("\n", 1)[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Gathered:
    """The results of a step's calls: events, and for each the call it came from.

    A call's results count only as a whole: a generator that raises half-way gives none.
    """

    __slots__ = (
        "_event",
        "_many",
        "_on_error",
        "_operator",
        "_optional",
        "_read",
        "_writer",
        "failed",
    )

    def __init__(
        self,
        operator: str,
        event: type[Event] | None,
        many: bool,
        optional: bool,
        on_error: OnError,
        calls: int = 0,
    ) -> None:
        """Make room for so many `calls` with one result each."""
        self._operator: Final = operator
        self._event: Final = event
        self._many: Final = many
        self._optional: Final = optional
        self._on_error: Final = on_error
        self._writer: Final = None if event is None else writer_of(event, calls)
        self._read: pl.DataFrame | None = None
        self.failed: dict[int, str] = {}

    def call_each(self, call: Callable[[Any], Any], rows: pl.DataFrame, event: type[Event]) -> None:
        """Call with each row as an event, number 0 first, and take what it returns."""
        writer = None if self._many else self._writer
        take, fail = self.take, self.fail
        self._read = call_with_events(call, rows, event, writer, self._optional, take, fail)

    def take(self, place: int, result: object) -> None:
        """Take what call number `place` returned; raises what its generator raises."""
        if result is None:
            if not self._optional:
                raise TypeError("returned None, which its annotation does not allow (… | None)")
            return
        made = [result]
        if self._many and isinstance(result, Iterable):
            made = list(result)
        if self._writer is not None:
            for one in made:
                self._writer.add(place, one)

    def fail(self, place: int, error: Exception) -> None:
        """Call number `place` raised."""
        if self._on_error == "stop":
            raise RowError(f"{self._operator}: {reason_of(error)}") from error
        self.failed[place] = reason_of(error)

    def frame(self, hidden: pl.DataFrame) -> pl.DataFrame | None:
        """Return the results as rows; a result that does not fit fails its whole call.

        `hidden` has one row a call: the hidden columns that its results take over. Afterwards
        `failed` says which calls gave nothing, and why.
        """
        if self._writer is None or self._event is None:
            return None
        rows, places, bad = settled(self._writer, self._event, self._read)
        if bad and self._on_error == "stop":
            raise RowError(f"{self._operator}: returned {bad[0][1]}")
        for place, reason in bad:
            self.failed.setdefault(place, f"returned {reason}")
        if bad and places is not None:
            whole = ~places.is_in(list(self.failed))
            rows, places = rows.filter(whole), places.filter(whole)
        if not rows.height:
            return None
        return rows.hstack(hidden.head(rows.height) if places is None else hidden[places])

    def dead(self, rows: pl.DataFrame) -> list[DeadRow]:
        """Return a dead letter for each of `rows` (one a call) whose call failed."""
        if not self.failed:
            return []
        lost = sorted(self.failed)
        return dead_rows(self._operator, rows[lost], [self.failed[i] for i in lost])
