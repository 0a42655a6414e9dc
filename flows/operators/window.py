"""Tumbling, hopping and whole windows over keyed streams.

Order-free: a row goes into its windows as it comes. A window closes when the watermark reaches
its end plus the lateness allowed; closed windows leave sorted by (end, key group, keys). A row is
late when, by the watermark of its own partition, all its windows had closed before it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl

from ..aggregates import Buffered, Incremental
from ..batch import DELETED, END, START, WATERMARK, Batch, Logic, Output, concatenated, hide
from ..clock import Clock
from ..errors import SchemaError
from ..graph import Place
from ..schema import Schema
from ..windows import HoppingWindow, WholeWindow
from .aggregation import Aggregation
from .ordered import GROUP, canonical, microseconds_of, with_group
from .slots import slots_of

__all__ = ["WINDOW_TIME", "Emit", "WindowAggregate", "window_rows", "window_schema"]

Emit = Literal["close", "updates"]
Key = tuple[Any, ...]
WINDOW_TIME: Final = pl.Datetime("us", "UTC")
_START: Final = "_hw_start"


@dataclass(frozen=True, slots=True)
class WindowAggregate:
    """Aggregates per key and window."""

    keys: tuple[str, ...]
    window: HoppingWindow | WholeWindow
    aggregates: tuple[Incremental | Buffered, ...]
    lateness: int = 0
    emit: Emit = "close"

    @property
    def title(self) -> str:
        by = f" by {', '.join(self.keys)}" if self.keys else ""
        return f"{self.window}{by}" + (" as updates" if self.emit == "updates" else "")

    def build(self, place: Place) -> Logic:
        if isinstance(self.window, WholeWindow):
            return _WholeLogic(self, place)
        return _HoppingLogic(self, self.window, place)


def window_rows(
    schema: Schema,
    keys: Sequence[str],
    found: Sequence[Key],
    bounds: Sequence[tuple[int, int]] | None,
    times: Sequence[int] | None,
    values: pl.DataFrame,
) -> pl.DataFrame:
    """Put together the rows of windows: keys, start and end, event time, aggregates.

    `bounds` are (start, end) in µs, None where a window has no bounds; `times` the event times,
    None where the stream has none. The rows have no hidden columns yet.
    """
    columns = [
        pl.Series(key, [values[i] for values in found], dtype=schema.dtype(key))
        for i, key in enumerate(keys)
    ]
    if bounds is not None:
        for i, name in enumerate(("start", "end")):
            physical = pl.Series(name, [bound[i] for bound in bounds], dtype=pl.Int64)
            columns.append(physical.cast(WINDOW_TIME))
    if times is not None and schema.event_time is not None:
        physical = pl.Series(schema.event_time, times, dtype=pl.Int64)
        columns.append(physical.cast(schema.dtype(schema.event_time)))
    return pl.DataFrame(columns).hstack(values).select(schema.names)


class _HoppingLogic(Logic):
    __slots__ = (
        "_aggregation",
        "_clock",
        "_ends",
        "_open",
        "_place",
        "_slots",
        "_spec",
        "_time",
        "_watermark",
        "_window",
    )

    def __init__(self, spec: WindowAggregate, window: HoppingWindow, place: Place) -> None:
        self._spec = spec
        self._window = window
        self._place = place
        self._time = place.inputs[0].event_time
        self._clock: Clock | None = place.clock if window.time == "processing" else None
        self._aggregation = Aggregation(spec.aggregates, self._time)
        self._slots: dict[Key, int] = {}
        """Slot of (*keys, start)."""
        self._ends: list[int] = []
        """A heap of the ends of open windows."""
        self._open: dict[int, list[Key]] = {}
        """The open windows of each end."""
        self._watermark = START

    def receive(self, port: int, batch: Batch) -> Output:
        output = Output()
        touched: list[int] = []
        if batch.rows is not None:
            late = self._add(batch.rows, touched)
            if late is not None:
                output.late.append(late)
        if self._clock is None:
            self._watermark = batch.watermark
        elif batch.watermark >= END:
            self._watermark = END
        rows = self._close(self._watermark)
        if self._spec.emit == "updates":
            rows = self._updates(touched)
        passed = self._watermark
        if START < passed < END:
            passed -= self._spec.lateness
        output.batches.append(Batch(rows, passed))
        return output

    def tick(self, now: int) -> Output | None:
        if self._clock is None or now <= self._watermark:
            return None
        self._watermark = now
        rows = self._close(now)
        if self._spec.emit == "updates":
            rows = None
        return Output([Batch(rows, now)])

    def _add(self, rows: pl.DataFrame, touched: list[int]) -> pl.DataFrame | None:
        """Fold rows into their windows; return those that are late for all of them."""
        size, every, offset = self._window.size, self._window.every, self._window.offset
        if self._clock is None:
            assert self._time is not None
            time = microseconds_of(self._time)
            passed = pl.col(WATERMARK) - self._spec.lateness
        else:
            time = pl.lit(self._clock.now(), pl.Int64)
            passed = pl.lit(START, pl.Int64)
        latest = time - (time - offset) % every
        # A row of event time t is in the windows that begin at latest, latest - every, …
        found = rows.select(
            latest.alias(_START), time.alias("time"), passed.alias("passed")
        )
        accepted: pl.Series | None = None
        for step in range(-(-size // every)):
            begins = found[_START] - step * every
            ends = begins + size
            fits = (ends > found["time"]) & (ends > found["passed"])
            self._fold(rows, begins, fits, touched)
            accepted = fits if accepted is None else accepted | fits
        assert accepted is not None
        return None if accepted.all() else rows.filter(~accepted)

    def _fold(
        self, rows: pl.DataFrame, begins: pl.Series, fits: pl.Series, touched: list[int]
    ) -> None:
        if not fits.all():
            rows, begins = rows.filter(fits), begins.filter(fits)
        if not rows.height:
            return
        columns = [*(rows[key] for key in self._spec.keys), begins]
        slots, distinct = slots_of(columns, self._slots, self._opened)
        self._aggregation.add(slots, rows)
        touched.extend(distinct)

    def _opened(self, window: Key) -> int:
        end = window[-1] + self._window.size
        if end not in self._open:
            self._open[end] = []
            heapq.heappush(self._ends, end)
        self._open[end].append(window)
        return self._aggregation.new_slot()

    def _close(self, watermark: int) -> pl.DataFrame | None:
        closed: list[pl.DataFrame] = []
        slots: list[int] = []
        while self._ends and self._ends[0] + self._spec.lateness <= watermark:
            windows = self._open.pop(heapq.heappop(self._ends))
            ended = [self._slots.pop(window) for window in windows]
            if self._spec.emit == "close":
                closed.append(self._rows(windows, ended))
            slots.extend(ended)
        if not slots:
            return None
        self._aggregation.release(slots)
        return concatenated(closed) if closed else None

    def _rows(self, windows: list[Key], slots: list[int]) -> pl.DataFrame:
        """Return the rows of windows, sorted by (end, key group, keys)."""
        size, keys, schema = self._window.size, self._spec.keys, self._place.schema
        bounds = [(window[-1], window[-1] + size) for window in windows]
        times = [end - 1 for _, end in bounds]
        values = self._aggregation.result(slots)
        rows = window_rows(schema, keys, windows, bounds, times, values)
        rows = canonical(with_group(rows, keys), ["end", GROUP, *keys]).drop(GROUP)
        return hide(rows, microseconds_of("end") - 1)

    def _updates(self, touched: list[int]) -> pl.DataFrame | None:
        """Return the present values of the windows that rows went into and that are open."""
        asked = set(touched)
        found = [(window, slot) for window, slot in self._slots.items() if slot in asked]
        if not found:
            return None
        rows = self._rows([w for w, _ in found], [s for _, s in found])
        hidden = rows.select(pl.col("^_hw_.*$"))
        visible = rows.drop(hidden.columns).with_columns(pl.lit(False).alias(DELETED))
        # Updates are not due at a time; they stand where the watermark is.
        return visible.hstack(hidden.with_columns(pl.lit(self._watermark).alias(WATERMARK)))


class _WholeLogic(Logic):
    __slots__ = ("_aggregation", "_place", "_slots", "_spec", "_time", "_times", "_watermark")

    def __init__(self, spec: WindowAggregate, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._time = place.inputs[0].event_time
        self._aggregation = Aggregation(spec.aggregates, self._time)
        self._slots: dict[Key, int] = {}
        self._times: dict[int, int] = {}
        self._watermark = START

    def receive(self, port: int, batch: Batch) -> Output:
        rows = None
        touched: list[int] = []
        if batch.rows is not None:
            touched = self._add(batch.rows)
        ended = batch.watermark >= END > self._watermark
        self._watermark = batch.watermark
        if self._spec.emit == "updates":
            asked = set(touched)
            rows = self._rows([(k, s) for k, s in self._slots.items() if s in asked])
        elif ended:
            rows = self._rows(list(self._slots.items()))
        if ended:
            self._aggregation.release(list(self._slots.values()))
            self._slots.clear()
        return Output([Batch(rows, END if ended else START)])

    def _add(self, rows: pl.DataFrame) -> list[int]:
        keys = [rows[key] for key in self._spec.keys]
        columns = keys or [pl.repeat(0, rows.height, dtype=pl.Int8, eager=True)]
        slots, distinct = slots_of(columns, self._slots, lambda _: self._aggregation.new_slot())
        self._aggregation.add(slots, rows)
        if self._time is not None:
            newest = (
                rows.select(microseconds_of(self._time).alias("time"))
                .with_columns(pl.Series("slot", slots))
                .group_by("slot")
                .agg(pl.col("time").max())
            )
            for slot, time in newest.rows():
                self._times[slot] = max(time, self._times.get(slot, START))
        return distinct

    def _rows(self, found: Sequence[tuple[Key, int]]) -> pl.DataFrame | None:
        if not found:
            return None
        keys, time = self._spec.keys, self._time
        slots = [slot for _, slot in found]
        times = None if time is None else [self._times[slot] for slot in slots]
        values = self._aggregation.result(slots)
        groups = [key for key, _ in found]
        rows = window_rows(self._place.schema, keys, groups, None, times, values)
        first = [GROUP, *keys] if time is None else [time, GROUP, *keys]
        rows = canonical(with_group(rows, keys), first).drop(GROUP)
        if self._spec.emit == "updates":
            rows = rows.with_columns(pl.lit(False).alias(DELETED))
        return hide(rows, pl.lit(START) if time is None else microseconds_of(time))


def window_schema(
    schema: Schema,
    keys: Sequence[str],
    window: HoppingWindow | WholeWindow,
    aggregates: Sequence[Incremental | Buffered],
    emit: Emit,
) -> Schema:
    """Return the schema of window rows: keys, start, end, event time, aggregates.

    Windows without bounds (whole) have no start and end. Raises `SchemaError` where an aggregate
    takes a name that is already there.
    """
    columns = [(key, schema.dtype(key)) for key in keys]
    bounded = isinstance(window, HoppingWindow)
    if bounded:
        columns += [("start", WINDOW_TIME), ("end", WINDOW_TIME)]
    if schema.event_time is not None:
        columns.append((schema.event_time, schema.dtype(schema.event_time)))
    columns += [(aggregate.name, aggregate.dtype) for aggregate in aggregates]
    names = [name for name, _ in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SchemaError(
            f"window rows would have {', '.join(twice)} twice (they have the keys, start, end and "
            f"the event time); call the aggregate or the key something else"
        )
    key = (*keys, "start") if bounded else tuple(keys)
    return Schema(
        tuple(columns),
        event_time=schema.event_time,
        site=schema.site if schema.site in keys else None,
        key=key if emit == "updates" else None,
    )
