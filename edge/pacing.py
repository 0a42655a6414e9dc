"""Recordings at the pace of their own time, or a multiple of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import polars as pl

from ..flows.batch import START, Batch
from ..flows.connector import Chunk
from ..flows.engine.replayer import Arrival, Given
from .taking import Times, times_of

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
                yield arrival if whole else _part(arrival, taken, until, due.len())
                taken = until
                continue
            sleep(min(_NAP, max(0.0, (int(due[taken]) - reached) / speed / 1e6)))
            yield None


def _part(arrival: Arrival, first: int, until: int, rows: int) -> Arrival:
    """Return rows `first` to `until` of an arrival; what is not of a row comes with the last."""
    if until - first == rows:
        return arrival
    content, ends = arrival.content, until == rows
    idle = arrival.idle if ends else ()
    if isinstance(content, Given):
        found = content.batch.rows
        assert found is not None
        batch = Batch(found[first:until], content.batch.watermark if ends else START)
        return replace(arrival, content=Given(batch, content.first + first), idle=idle)
    assert isinstance(content, Chunk)
    offsets = content.offsets
    low = -1 if not first else int(offsets[first])
    high = None if ends else int(offsets[until])
    dead = [d for d in content.dead if low <= d.offset and (high is None or d.offset < high)]
    return replace(
        arrival, content=Chunk(content.rows[first:until], offsets[first:until], dead), idle=idle
    )
