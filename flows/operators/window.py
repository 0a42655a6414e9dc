"""Tumbling, hopping and whole windows over keyed streams.

Order-free: a row goes into its windows as it comes. A window closes when the watermark reaches
its end plus the lateness allowed; closed windows leave sorted by (end, key group, keys). A row is
late when, by the watermark of its own partition, all its windows had closed before it.

As updates, every batch gives a row for each window that it changed: how often a window is seen on
its way depends on how rows were cut into batches, the last row of each window does not.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import polars as pl

from ..batch import DELETED, END, START, WATERMARK, Batch, Logic, Output, concatenated, hide
from ..clock import Clock
from ..decompose import Buffered, Incremental
from ..errors import SchemaError
from ..graph import Place
from ..schema import Schema
from ..windows import HoppingWindow, WholeWindow
from .aggregation import Aggregation
from .ordered import GROUP, canonical, microseconds_of, with_group
from .slots import Key, key_columns, slots_of

__all__ = [
    "BEGIN",
    "WINDOW_TIME",
    "Emit",
    "WindowAggregate",
    "aggregated_schema",
    "assigned",
    "checked_keys",
    "delayed",
    "instants",
    "window_rows",
    "window_schema",
]

Emit = Literal["close", "updates"]
WINDOW_TIME: Final = pl.Datetime("us", "UTC")
BEGIN: Final = "_hw_begin"
"""The column (Int64, µs) that holds the begin of a row's window while it is assigned."""


@dataclass(frozen=True, slots=True)
class WindowAggregate:
    """Aggregates per key and window; `lateness` in µs. See `window_schema` for its rows."""

    keys: tuple[str, ...]
    window: HoppingWindow | WholeWindow
    aggregates: tuple[Incremental | Buffered, ...]
    lateness: int = 0
    emit: Emit = "close"

    @property
    def title(self) -> str:
        """The window, by what, and how it is emitted."""
        by = f" by {', '.join(self.keys)}" if self.keys else ""
        return f"{self.window}{by}" + (" as updates" if self.emit == "updates" else "")

    def build(self, place: Place) -> Logic:
        """Make the state machine."""
        if isinstance(self.window, WholeWindow):
            return _WholeLogic(self, place)
        return _HoppingLogic(self, self.window, place)


def window_schema(
    schema: Schema,
    keys: Sequence[str],
    window: HoppingWindow | WholeWindow,
    aggregates: Sequence[Incremental | Buffered],
    emit: Emit = "close",
) -> Schema:
    """Return the columns of the windows' rows: keys, start, end, event time, aggregates.

    A whole window has no start and end, and the event time of its newest row; the others have
    end - 1 µs under the input's event-time name. Raises SchemaError.
    """
    whole = isinstance(window, WholeWindow)
    timed = isinstance(window, HoppingWindow) and window.time == "event"
    if timed and schema.event_time is None:
        raise SchemaError(
            f"a {window} window needs event time, and the stream has none: "
            f"{', '.join(schema.names)}; give its event a field of type hw.EventTime, and keep "
            f"that column in select"
        )
    made = aggregated_schema(schema, keys, aggregates, bounds=not whole)
    if emit == "close":
        return made
    return replace(made, key=tuple(keys) if whole else (*keys, "start"))


def aggregated_schema(
    schema: Schema,
    keys: Sequence[str],
    aggregates: Sequence[Incremental | Buffered],
    *,
    bounds: bool,
) -> Schema:
    """Return the columns: keys, start and end if `bounds`, event time, aggregates."""
    checked_keys(schema, keys)
    time = schema.event_time
    columns = [(key, schema.dtype(key)) for key in keys]
    if bounds:
        columns += [("start", WINDOW_TIME), ("end", WINDOW_TIME)]
    if time is not None:
        columns.append((time, schema.dtype(time)))
    taken = {name for name, _ in columns}
    if len(taken) < len(columns):
        raise SchemaError(
            f"the rows of a window have columns {', '.join(name for name, _ in columns)}; "
            f"rename the key or event-time column that is there twice"
        )
    for aggregate in aggregates:
        if aggregate.name in taken:
            raise SchemaError(
                f"agg({aggregate.name}=…): the rows of a window have a column "
                f"'{aggregate.name}' of their own; give the aggregate another name"
            )
    return Schema(
        (*columns, *((a.name, a.dtype) for a in aggregates)),
        event_time=time,
        site=schema.site if schema.site in keys else None,
        nullable=(schema.nullable & {*keys}) | {a.name for a in aggregates if _may_be_null(a)},
    )


def checked_keys(schema: Schema, keys: Sequence[str]) -> None:
    """Raise SchemaError for a key that is not there, is twice there, or cannot be a key."""
    if schema.key is not None:
        raise SchemaError(
            f"this needs a stream that only appends, and the input replaces earlier rows by "
            f"({', '.join(schema.key)}); use emit='close' before, or .changes()"
        )
    for key in keys:
        if schema.dtype(key).is_nested():
            raise SchemaError(f"the key '{key}' is {schema.dtype(key)}; a key is a plain value")
        if list(keys).count(key) > 1:
            raise SchemaError(f"the key '{key}' is given twice; name it once")


def _may_be_null(aggregate: Incremental | Buffered) -> bool:
    if isinstance(aggregate, Buffered) or len(aggregate.parts) != 1:
        return True
    plain = aggregate.finish.meta.undo_aliases().meta.eq(pl.col("__0"))
    return not plain or aggregate.parts[0].kind not in ("len", "count", "sum")


def delayed(watermark: int, lateness: int) -> int:
    """Return the watermark held back by `lateness` µs; the start and the end stay."""
    return watermark - lateness if START < watermark < END else watermark


def instants(name: str, micros: Sequence[int], dtype: pl.DataType = WINDOW_TIME) -> pl.Series:
    """Return µs since 1970 as a column of times."""
    return pl.Series(name, micros, dtype=pl.Int64).cast(dtype)


def window_rows(
    schema: Schema,
    keys: Sequence[str],
    found: Sequence[Key],
    bounds: Sequence[tuple[int, int]] | None,
    times: Sequence[int] | None,
    values: pl.DataFrame,
) -> pl.DataFrame:
    """Put together the rows of windows: keys, start and end, event time, aggregates.

    `found` are keys as `codes_of` gives them; `bounds` (start, end) in µs, None where a window
    has no bounds; `times` the event times, None where the stream has none. The rows have no
    hidden columns yet.
    """
    columns = key_columns(schema, keys, found)
    if bounds is not None:
        columns.append(instants("start", [start for start, _ in bounds]))
        columns.append(instants("end", [end for _, end in bounds]))
    if times is not None and schema.event_time is not None:
        columns.append(instants(schema.event_time, times, schema.dtype(schema.event_time)))
    return pl.DataFrame([*columns, *values.iter_columns()]).select(schema.names)


def assigned(
    rows: pl.DataFrame, window: HoppingWindow, time: pl.Expr, passed: pl.Expr
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Return the rows, once for each window, with its `BEGIN`; and those that are late for all.

    `time` is the rows' time, `passed` up to where time had passed before each row, in µs: a
    window that had ended by then takes no more rows. Rows stay in their order.
    """
    size, every = window.size, window.every
    # A row at `time` is in the windows that begin at latest, latest - every, …
    latest = time - (time - window.offset) % every
    found = rows.select(
        pl.int_range(pl.len()).alias("row"),
        latest.alias(BEGIN),
        (pl.max_horizontal(time, passed) - size).alias("after"),
    )
    hops = [
        found.select("row", pl.col(BEGIN) - step * every, "after")
        for step in range(-(-size // every))
    ]
    fits = concatenated([hop.filter(pl.col(BEGIN) > pl.col("after")) for hop in hops])
    if len(hops) == 1:
        if fits.height == rows.height:
            return rows.with_columns(fits[BEGIN]), None
    else:
        fits = fits.sort("row", maintain_order=True)
    late = pl.repeat(True, rows.height, eager=True).scatter(fits["row"].unique(), False)
    return rows[fits["row"]].with_columns(fits[BEGIN]), rows.filter(late) if late.any() else None


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

    def tick(self, now: int) -> Output | None:
        if self._clock is None or now <= self._watermark:
            return None
        self._watermark = now
        return Output([Batch(self._close(), delayed(now, self._spec.lateness))])

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
        """Return the rows of windows, sorted by (end, key group, keys)."""
        size, keys, schema = self._window.size, self._spec.keys, self._place.schema
        bounds = [(window[-1], window[-1] + size) for window in found]
        values = self._aggregation.result([self._slots[window] for window in found])
        times = [end - 1 for _, end in bounds]
        rows = window_rows(schema, keys, found, bounds, times, values)
        return canonical(with_group(rows, keys), ["end", GROUP, *keys]).drop(GROUP)

    def _updates(self, touched: Sequence[Key], before: int) -> pl.DataFrame:
        """Return the present values of windows; they stand where the watermark was before."""
        rows = self._rows(touched).with_columns(pl.lit(False).alias(DELETED))
        return hide(rows, pl.lit(before))


class _WholeLogic(Logic):
    __slots__ = ("_aggregation", "_place", "_slots", "_spec", "_time", "_times", "_watermark")

    def __init__(self, spec: WindowAggregate, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._time = place.inputs[0].event_time
        self._aggregation = Aggregation(spec.aggregates, self._time)
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
        first = [GROUP, *keys] if time is None else [time, GROUP, *keys]
        rows = canonical(with_group(rows, keys), first).drop(GROUP)
        if self._spec.emit == "updates":
            rows = rows.with_columns(pl.lit(False).alias(DELETED))
            return hide(rows, pl.lit(START))
        return hide(rows, pl.lit(START) if time is None else microseconds_of(time))
