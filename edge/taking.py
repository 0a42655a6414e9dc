"""Parts of a recording, and several rounds of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

import polars as pl

from ..flows.batch import END, START, WATERMARK, Batch
from ..flows.connector import Chunk, Dead
from ..flows.engine.replayer import Arrival, Given, Place

__all__ = ["Between", "piece", "repeated", "times_of"]

Times = Mapping[str, str | None]
"""The column of the event time, by stream."""


def times_of(arrival: Arrival, times: Times) -> pl.Series | None:
    """Return the event times (µs) of an arrival's rows, None if there are none."""
    if arrival.place is None or arrival.content is None:
        return None
    time = times[arrival.place[0]]
    content = arrival.content
    rows = content.rows if isinstance(content, Chunk) else content.batch.rows
    if time is None or rows is None or not rows.height:
        return None
    return rows[time].to_physical()


def piece(arrival: Arrival, first: int, until: int, rows: int) -> Arrival:
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


@dataclass(slots=True)
class Between:
    """What lies from `first` on and before `last` (µs; None: no bound).

    Rows go by event time; a dead letter by the row before it; what has none by when it came.
    """

    first: int | None
    last: int | None
    times: Times
    _newest: dict[Place, int] = field(default_factory=dict)
    """The event time of the row that came last, by partition."""

    def of(self, arrivals: Iterator[Arrival]) -> Iterator[Arrival]:
        """Yield the arrivals with what lies between; time goes on in all of them."""
        for arrival in arrivals:
            if arrival.place is None or arrival.content is None:
                yield arrival
            elif self.times[arrival.place[0]] is None:
                yield arrival if self._holds(arrival.now) else _without(arrival)
            else:
                yield self._cut(arrival, arrival.place)

    def _holds(self, time: int | None) -> bool:
        if time is None:
            return self.first is None
        above = self.first is None or time >= self.first
        return above and (self.last is None or time < self.last)

    def _cut(self, arrival: Arrival, place: Place) -> Arrival:
        content, times = arrival.content, times_of(arrival, self.times)
        assert content is not None
        if isinstance(content, Given):
            rows = content.batch.rows
            if times is None or rows is None:
                return arrival
            kept = rows.filter(self._between(times))
            batch = Batch(kept if kept.height else None, content.batch.watermark)
            return replace(arrival, content=Given(batch, content.first))
        dead = [d for d in content.dead if self._holds(self._before(d, content, times, place))]
        if times is None:
            chunk = Chunk(content.rows, content.offsets, dead)
        else:
            self._newest[place] = times[-1]
            mask = self._between(times)
            chunk = Chunk(content.rows.filter(mask), content.offsets.filter(mask), dead)
        return replace(arrival, content=chunk)

    def _before(
        self, letter: Dead, chunk: Chunk, times: pl.Series | None, place: Place
    ) -> int | None:
        index = chunk.offsets.search_sorted(letter.offset) if times is not None else 0
        if times is None or not index:
            return self._newest.get(place)
        return int(times[int(index) - 1])

    def _between(self, times: pl.Series) -> pl.Series:
        first = START if self.first is None else self.first
        last = END if self.last is None else self.last
        return (times >= first) & (times < last)


def _without(arrival: Arrival) -> Arrival:
    if isinstance(arrival.content, Given):  # the watermark goes on
        batch = Batch(None, arrival.content.batch.watermark)
        return replace(arrival, content=Given(batch, arrival.content.first))
    return replace(arrival, place=None, content=None)


def repeated(
    once: Callable[[], Iterator[Arrival]], rounds: int | None, times: Times
) -> Iterator[Arrival]:
    """Yield `rounds` rounds (None: without end), each later than the one before it.

    Event time, watermarks, the clock and offsets go on; other columns are as they were. Nothing
    ends before the last round does.
    """
    extent = _Extent()
    for number in count() if rounds is None else range(rounds):
        for arrival in once():
            if number == 0:
                extent.learn(arrival, times_of(arrival, times))
            yield extent.shifted(arrival, number, times, last=number + 1 == rounds)
        if not extent.any:
            return


@dataclass(slots=True)
class _Extent:
    """How much time, and how many offsets, a round takes."""

    first: int = END
    last: int = START
    begun: int = END
    ended: int = START
    offsets: dict[Place, int] = field(default_factory=dict)
    any: bool = False

    def learn(self, arrival: Arrival, times: pl.Series | None) -> None:
        self.begun, self.ended = min(self.begun, arrival.now), max(self.ended, arrival.now)
        if times is not None:
            lowest, highest = int(times.min()), int(times.max())  # type: ignore[arg-type]  # ints
            self.first, self.last = min(self.first, lowest), max(self.last, highest)
        content, place = arrival.content, arrival.place
        if content is None or place is None:
            return
        self.any = True
        known = self.offsets.get(place, 0)
        if isinstance(content, Given):
            rows = content.batch.rows
            self.offsets[place] = max(known, content.first + (0 if rows is None else rows.height))
        else:
            ends = [d.offset for d in content.dead[-1:]] + content.offsets[-1:].to_list()
            self.offsets[place] = max(known, *(end + 1 for end in ends), 0)

    def shifted(self, arrival: Arrival, number: int, times: Times, *, last: bool) -> Arrival:
        by = number * max(0, self.last - self.first + 1)
        now = arrival.now + number * (self.ended - self.begun + 1)
        place, content = arrival.place, arrival.content
        if place is None:
            return replace(arrival, now=now)
        if content is None:
            return replace(arrival, now=now) if last else Arrival(now, idle=arrival.idle)
        offset = number * self.offsets.get(place, 0)
        time = times[place[0]]
        if isinstance(content, Given):
            rows, watermark = content.batch.rows, content.batch.watermark
            if rows is not None and number:
                mark = pl.col(WATERMARK)
                moved = pl.when(mark > START).then(mark + by).otherwise(mark)
                rows = _moved(rows, time, by).with_columns(moved.alias(WATERMARK))
            if watermark >= END and not last:
                watermark = START  # it promises nothing more
            elif START < watermark < END:
                watermark += by
            given = Given(Batch(rows, watermark), content.first + offset)
            return Arrival(now, place, given, arrival.idle)
        if not number:
            return arrival
        dead = [Dead(d.offset + offset, d.raw, d.reason) for d in content.dead]
        chunk = Chunk(_moved(content.rows, time, by), content.offsets + offset, dead)
        return Arrival(now, place, chunk, arrival.idle)


def _moved(rows: pl.DataFrame, time: str | None, by: int) -> pl.DataFrame:
    return rows if time is None else rows.with_columns(pl.col(time) + pl.duration(microseconds=by))
