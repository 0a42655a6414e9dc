"""Calls user functions row by row and gathers what they return."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import polars as pl

from ..batch import DeadRow
from ..errors import RowError
from ..event import Event
from ..graph import OnError
from ..rows import checked_frame
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
        "failed",
        "made",
        "places",
    )

    def __init__(
        self,
        operator: str,
        event: type[Event] | None,
        many: bool,
        optional: bool,
        on_error: OnError,
    ) -> None:
        self._operator: Final = operator
        self._event: Final = event
        self._many: Final = many
        self._optional: Final = optional
        self._on_error: Final = on_error
        self.made: list[Event] = []
        self.places: list[int] = []
        self.failed: dict[int, str] = {}

    def take(self, place: int, result: object) -> None:
        """Take what call number `place` returned; raises what its generator raises."""
        if result is None:
            if not self._optional:
                raise TypeError("returned None, which its annotation does not allow (… | None)")
            return
        if self._many and isinstance(result, Iterable):
            made = list(result)
            self.made.extend(made)
            self.places.extend([place] * len(made))
        else:
            self.made.append(result)  # type: ignore[arg-type]  # checked when it is a column
            self.places.append(place)

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
        if not self.made or self._event is None:
            return None
        rows, bad = checked_frame(self.made, self._event)
        places = self.places
        if bad:
            for index, reason in bad:
                if self._on_error == "stop":
                    raise RowError(f"{self._operator}: returned {reason}")
                self.failed.setdefault(places[index], f"returned {reason}")
            unfit = {index for index, _ in bad}
            places = [place for i, place in enumerate(places) if i not in unfit]
            lost = pl.Series([place in self.failed for place in places], dtype=pl.Boolean)
            rows = rows.filter(~lost)
            places = [place for place in places if place not in self.failed]
        return rows.hstack(hidden[places]) if rows.height else None

    def dead(self, rows: pl.DataFrame) -> list[DeadRow]:
        """Return a dead letter for each of `rows` (one a call) whose call failed."""
        if not self.failed:
            return []
        lost = sorted(self.failed)
        return dead_rows(self._operator, rows[lost], [self.failed[i] for i in lost])
