"""Windows whose aggregates are folded into slots: one for each key and window.

They take every aggregate. Those of numbers alone are folded by a kernel; see `window_table`.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from ..batch import DELETED, END, START, WATERMARK, Batch, Logic, Output, hide
from ..clock import Clock
from ..graph import Place
from ..snapshot import Tables, part_of, scalars, scalars_in, with_parts
from ..windows import HoppingWindow
from .aggregation import Aggregation
from .ordered import microseconds_of
from .rowfolds import SLOT
from .slots import Key, codes_of, key_columns, slots_of
from .windowed import BEGIN, assigned, by_hash, delayed, instants, window_rows

if TYPE_CHECKING:
    from .window import WindowAggregate

__all__ = ["HoppingSlots", "WholeSlots"]

_NEWEST = "_hw_newest"


class HoppingSlots(Logic):
    """Tumbling and hopping windows."""

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
        self._aggregation = Aggregation(spec.aggregates, self._time, place.operator)
        self._slots: dict[Key, int] = {}
        """Slot of (*keys, begin)."""
        self._ends: list[int] = []
        """A heap of the ends of open windows."""
        self._open: dict[int, list[Key]] = {}
        """The open windows of each end."""
        self._watermark = START

    @property
    def live(self) -> int:
        """Open windows."""
        return self._aggregation.live

    def receive(self, port: int, batch: Batch) -> Output:
        output = Output()
        before = delayed(self._watermark, self._spec.lateness)
        rows = None
        if batch.rows is not None and batch.rows.height:
            touched, late = self._add(batch.rows)
            if late is not None:
                output.late.append(late)
            if self._spec.emit == "updates" and touched:
                rows = self._updates(touched, before)
        if self._clock is None or batch.watermark >= END:
            self._watermark = max(self._watermark, batch.watermark)
        closed = self._close()
        passed = delayed(self._watermark, self._spec.lateness)
        output.batches.append(Batch(closed if rows is None else rows, passed))
        return output

    @property
    def ticks(self) -> bool:
        return self._clock is not None

    def tick(self, now: int) -> Output | None:
        if now <= self._watermark:
            return None
        self._watermark = now
        return Output([Batch(self._close(), delayed(now, self._spec.lateness))])

    def snapshot(self) -> Tables:
        """Return the open windows as ``windows``, in the order in which they were opened."""
        tables = scalars(watermark=self._watermark)
        windows = [window for opened in self._open.values() for window in opened]
        if windows:
            columns = key_columns(self._place.inputs[0], self._spec.keys, windows)
            columns.append(instants(BEGIN, [window[-1] for window in windows]))
            columns.append(pl.Series(SLOT, [self._slots[window] for window in windows]))
            tables["windows"] = pl.DataFrame(columns)
        return tables | with_parts(aggregates=self._aggregation.snapshot())

    def restore(self, tables: Tables) -> None:
        self._watermark = scalars_in(tables)["watermark"]
        self._aggregation.restore(part_of(tables, "aggregates"))
        if "windows" not in tables:
            return
        rows = tables["windows"]
        _, windows = codes_of(rows, [*self._spec.keys, BEGIN])
        self._slots = dict(zip(windows, rows[SLOT].to_list(), strict=True))
        for window in windows:
            self._open.setdefault(window[-1] + self._window.size, []).append(window)
        self._ends = sorted(self._open)

    def _add(self, rows: pl.DataFrame) -> tuple[list[Key], pl.DataFrame | None]:
        """Fold rows into their windows; return these, and the rows late for all of theirs."""
        if self._clock is None:
            assert self._time is not None
            time = microseconds_of(self._time)
            passed = pl.col(WATERMARK) - self._spec.lateness
        else:
            rows = rows.with_columns(pl.lit(self._clock.now(), pl.Int64).alias(BEGIN))
            time, passed = pl.col(BEGIN), pl.lit(START, pl.Int64)
        fits, late = assigned(rows, self._window, time, passed)
        if not fits.height:
            return [], late
        names = [*self._spec.keys, BEGIN]
        slots, windows = slots_of(fits, names, self._slots, self._opened)
        self._aggregation.add(slots, fits.drop(BEGIN))
        return windows, late

    def _opened(self, window: Key) -> int:
        end = window[-1] + self._window.size
        if end not in self._open:
            self._open[end] = []
            heapq.heappush(self._ends, end)
        self._open[end].append(window)
        return self._aggregation.new_slot()

    def _close(self) -> pl.DataFrame | None:
        """Let go of the windows that have ended; return their rows unless they were updates."""
        ended: list[Key] = []
        passed = delayed(self._watermark, self._spec.lateness)
        while self._ends and self._ends[0] <= passed:
            ended.extend(self._open.pop(heapq.heappop(self._ends)))
        if not ended:
            return None
        rows = self._rows(ended) if self._spec.emit == "close" else None
        self._aggregation.release([self._slots.pop(window) for window in ended])
        return None if rows is None else hide(rows, microseconds_of("end") - 1)

    def _rows(self, found: Sequence[Key]) -> pl.DataFrame:
        """Return the rows of windows, in their order."""
        size, keys, schema = self._window.size, self._spec.keys, self._place.schema
        bounds = [(window[-1], window[-1] + size) for window in found]
        values = self._aggregation.result([self._slots[window] for window in found])
        times = [end - 1 for _, end in bounds]
        rows = window_rows(schema, keys, found, bounds, times, values)
        return by_hash(rows, ["end"], keys)

    def _updates(self, touched: Sequence[Key], before: int) -> pl.DataFrame:
        """Return the present values of windows; they stand where the watermark was before."""
        rows = self._rows(touched).with_columns(pl.lit(False).alias(DELETED))
        return hide(rows, pl.lit(before))


class WholeSlots(Logic):
    """One window without end."""

    __slots__ = ("_aggregation", "_place", "_slots", "_spec", "_time", "_times", "_watermark")

    def __init__(self, spec: WindowAggregate, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._time = place.inputs[0].event_time
        self._aggregation = Aggregation(spec.aggregates, self._time, place.operator)
        self._slots: dict[Key, int] = {}
        self._times: dict[int, int] = {}
        """The newest event time of each slot."""
        self._watermark = START

    @property
    def live(self) -> int:
        """Keys that have rows."""
        return self._aggregation.live

    def receive(self, port: int, batch: Batch) -> Output:
        rows = None
        touched: list[Key] = []
        if batch.rows is not None and batch.rows.height:
            touched = self._add(batch.rows)
        ended = batch.watermark >= END > self._watermark
        self._watermark = max(self._watermark, batch.watermark)
        if self._spec.emit == "updates":
            rows = self._rows(touched)
        elif ended:
            rows = self._rows(list(self._slots))
        if ended:
            self._aggregation.release(list(self._slots.values()))
            self._slots.clear()
            self._times.clear()
        return Output([Batch(rows, END if self._watermark >= END else START)])

    def snapshot(self) -> Tables:
        """Return the keys as ``keys``, in the order in which they came."""
        tables = scalars(watermark=self._watermark)
        if self._slots:
            slots = pl.Series(SLOT, list(self._slots.values()))
            columns = key_columns(self._place.inputs[0], self._spec.keys, list(self._slots))
            if self._time is not None:
                columns.append(instants(_NEWEST, [self._times[slot] for slot in slots]))
            tables["keys"] = pl.DataFrame([*columns, slots])
        return tables | with_parts(aggregates=self._aggregation.snapshot())

    def restore(self, tables: Tables) -> None:
        self._watermark = scalars_in(tables)["watermark"]
        self._aggregation.restore(part_of(tables, "aggregates"))
        if "keys" not in tables:
            return
        rows = tables["keys"]
        slots = rows[SLOT].to_list()
        self._slots = dict(zip(codes_of(rows, self._spec.keys)[1], slots, strict=True))
        if self._time is not None:
            newest = rows[_NEWEST].to_physical().to_list()
            self._times = dict(zip(slots, newest, strict=True))

    def _add(self, rows: pl.DataFrame) -> list[Key]:
        slots, keys = slots_of(
            rows, self._spec.keys, self._slots, lambda _: self._aggregation.new_slot()
        )
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
        return keys

    def _rows(self, found: Sequence[Key]) -> pl.DataFrame | None:
        if not found:
            return None
        keys, time = self._spec.keys, self._time
        slots = [self._slots[key] for key in found]
        times = None if time is None else [self._times[slot] for slot in slots]
        values = self._aggregation.result(slots)
        rows = window_rows(self._place.schema, keys, found, None, times, values)
        rows = by_hash(rows, [] if time is None else [time], keys)
        if self._spec.emit == "updates":
            rows = rows.with_columns(pl.lit(False).alias(DELETED))
            return hide(rows, pl.lit(START))
        return hide(rows, pl.lit(START) if time is None else microseconds_of(time))
