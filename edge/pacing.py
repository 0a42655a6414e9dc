"""Recordings at the pace of their own time, or a multiple of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import polars as pl

from ..flows.engine.replayer import Arrival
from .taking import Times, piece, times_of

__all__ = ["paced"]

_NAP: Final = 0.05
"""Seconds after which somebody may want to know that nothing came."""


def paced(
    arrivals: Iterator[Arrival],
    speed: float,
    times: Times,
    sleep: Callable[[float], None],
    now: Callable[[], float],
) -> Iterator[Arrival | None]:
    """Yield arrivals when they are due, cut where only some rows are; None while nothing is.

    `speed` is how many seconds of event time pass in one second; where nothing has event time,
    seconds of the clock that was recorded. Rows are due in their order, whatever their times.
    """
    by_event = any(time is not None for time in times.values())
    origin: int | None = None
    begun = now()
    for arrival in arrivals:
        found = times_of(arrival, times)
        if by_event and found is None:
            yield arrival
            continue
        due = pl.Series([arrival.now]) if found is None or not by_event else found.cum_max()
        if origin is None:
            origin, begun = int(due[0]), now()
        taken = 0
        while taken < due.len():
            reached = origin + int((now() - begun) * speed * 1e6)
            until = int(due.search_sorted(reached, side="right"))
            if until > taken:
                whole = found is None or not by_event
                yield arrival if whole else piece(arrival, taken, until, due.len())
                taken = until
                continue
            sleep(min(_NAP, max(0.0, (int(due[taken]) - reached) / speed / 1e6)))
            yield None
