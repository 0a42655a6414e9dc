"""Sliding, session and count windows over keyed streams.

Ordered: rows are taken in (event time, key group, all columns) as the watermark passes them, so
that even the bits of a float do not depend on arrival. A row is late when the watermark of its own
partition, less the lateness allowed, had passed it. Without event time, a count window takes rows
as they come.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final

import polars as pl
import pyarrow as pa

from ..batch import DELETED, END, HIDDEN, START, Batch, Logic, Output, concatenated, hide
from ..decompose import Buffered, Incremental
from ..errors import SchemaError
from ..graph import Place
from ..schema import Schema
from ..snapshot import Tables, part_of, scalars, scalars_in, with_parts
from ..windows import CountWindow, SessionWindow, SlidingWindow
from .aggregation import Aggregation
from .ordered import GROUP, OrderedBuffer, canonical, microseconds_of, with_group
from .slides import chunks_of, windows_of
from .slots import Key, codes_of
from .spans import Span, segments, span_table, spans_in, spans_of
from .windowed import WINDOW_TIME, Emit, aggregated_schema, delayed, window_rows

__all__ = ["OrderedWindow", "ordered_window_schema"]

_EXPLODED: Final = 1 << 18
"""Rows of sliding windows that are folded at once."""
_WAKES: Final = {"_hw_wakes": pl.Int64(), "_hw_number": pl.Int64()}
"""Of an open session: when it is looked at next (µs), and as the how manyth it was opened."""


@dataclass(frozen=True, slots=True)
class OrderedWindow:
    """Aggregates per key and sliding, session or count window.

    Sliding: a row for each distinct (key, event time t), over the key's rows in (t - size, t];
    `start` is t - size, which is not part of the window, `end` t + 1 µs. Each window is folded
    anew from its own rows, so the cost is the sum of the sizes of the windows.

    Session: the key's rows that follow each other in less than `gap`; `start` is the first one's
    time, `end` the last one's plus `gap`, where the next session may start.

    Count: every `size` rows of a key; `start` is the first one's time, `end` the last one's plus
    1 µs (neither without event time). What is left when the stream ends is a window too; as time
    has passed it, event-time operators after it take it for late.
    """

    keys: tuple[str, ...]
    window: SlidingWindow | SessionWindow | CountWindow
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
        match self.window:
            case SlidingWindow(size):
                return _SlidingLogic(self, size, place)
            case SessionWindow(gap):
                return _SessionLogic(self, gap, place)
            case CountWindow(size):
                return _CountLogic(self, size, place)


def ordered_window_schema(
    schema: Schema,
    keys: Sequence[str],
    window: SlidingWindow | SessionWindow | CountWindow,
    aggregates: Sequence[Incremental | Buffered],
    emit: Emit = "close",
) -> Schema:
    """Return the columns of the windows' rows: keys, start, end, event time, aggregates.

    Raises SchemaError, also for updates of sliding and count windows.
    """
    if emit == "updates" and not isinstance(window, SessionWindow):
        raise SchemaError(
            f"a {window} window has no updates: its rows are final when they come; "
            f"leave emit='updates' out"
        )
    counted = isinstance(window, CountWindow)
    if schema.event_time is None and not counted:
        raise SchemaError(
            f"a {window} window needs event time, and the stream has none: "
            f"{', '.join(schema.names)}; give its event a field of type hw.EventTime, and keep "
            f"that column in select"
        )
    bounds = schema.event_time is not None
    made = aggregated_schema(schema, keys, aggregates, bounds=bounds)
    return replace(made, key=(*keys, "start")) if emit == "updates" else made


class _OrderedLogic(Logic):
    """Takes rows in order and gives rows of windows."""

    __slots__ = ("_aggregation", "_buffer", "_place", "_spec", "_time", "_watermark")

    def __init__(self, spec: OrderedWindow, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._time = place.inputs[0].event_time
        self._buffer = OrderedBuffer(self._time, spec.keys)
        self._aggregation = Aggregation(spec.aggregates, None, place.operator)
        self._watermark = START

    @property
    def held_rows(self) -> int:
        """Rows that wait for the watermark, or that windows to come may need."""
        return self._buffer.held_rows

    @property
    def live(self) -> int:
        """Open windows."""
        return self._aggregation.live

    def receive(self, port: int, batch: Batch) -> Output:
        output = Output()
        if batch.rows is not None and batch.rows.height:
            late = self._buffer.add(batch.rows, self._spec.lateness)
            if late is not None:
                output.late.append(late)
        before = delayed(self._watermark, self._spec.lateness)
        self._watermark = max(self._watermark, batch.watermark)
        passed = delayed(self._watermark, self._spec.lateness)
        rows = self._advance(self._buffer.release(passed), before, passed)
        output.batches.append(Batch(rows, passed))
        return output

    def snapshot(self) -> Tables:
        """Return what every window has; its own tables come on top."""
        return scalars(watermark=self._watermark) | with_parts(
            buffer=self._buffer.snapshot(), aggregates=self._aggregation.snapshot()
        )

    def restore(self, tables: Tables) -> None:
        self._watermark = scalars_in(tables)["watermark"]
        self._buffer.restore(part_of(tables, "buffer"))
        self._aggregation.restore(part_of(tables, "aggregates"))

    def _advance(self, rows: pl.DataFrame | None, before: int, passed: int) -> pl.DataFrame | None:
        """Take rows in order; time has come from `before` to `passed`."""
        raise NotImplementedError  # pragma: no cover - every window defines it

    def _times(self, rows: pl.DataFrame) -> pl.Series:
        if self._time is None:
            return pl.repeat(START, rows.height, dtype=pl.Int64, eager=True)
        return rows[self._time].to_physical()

    def _rows(self, spans: Sequence[Span], end: int) -> pl.DataFrame:
        """Return the rows of windows that end `end` µs after their last row, as they stand."""
        timed = self._time is not None
        values = self._aggregation.result([span.slot for span in spans])
        return window_rows(
            self._place.schema,
            self._spec.keys,
            [span.key for span in spans],
            [(span.first, span.last + end) for span in spans] if timed else None,
            [span.last + end - 1 for span in spans] if timed else None,
            values,
        )

    def _closed(self, spans: Sequence[Span], end: int, first: Sequence[str]) -> pl.DataFrame:
        """Return the rows of windows that are done, sorted by `first`, key group and keys."""
        rows = with_group(self._rows(spans, end), self._spec.keys)
        self._aggregation.release([span.slot for span in spans])
        # Windows of one key that end at one time stay in their order.
        return rows.sort(*first, GROUP, *self._spec.keys, maintain_order=True).drop(GROUP)


class _SessionLogic(_OrderedLogic):
    __slots__ = ("_ends", "_gap", "_made", "_open")

    def __init__(self, spec: OrderedWindow, gap: int, place: Place) -> None:
        super().__init__(spec, place)
        self._gap = gap
        self._open: dict[Key, Span] = {}
        self._ends: list[tuple[int, int, Span]] = []
        """A heap of (end, number, session); an end may have moved on since."""
        self._made = 0

    def snapshot(self) -> Tables:
        """Return the open sessions; what is in the heap of others means nothing any more."""
        wakes = {id(span): (end, number) for end, number, span in self._ends}
        spans = list(self._open.values())
        found = [wakes[id(span)] for span in spans]
        table = pl.DataFrame(found, schema=_WAKES, orient="row")
        return super().snapshot() | span_table(self._place, self._spec.keys, spans, table)

    def restore(self, tables: Tables) -> None:
        super().restore(tables)
        spans = spans_in(tables, self._spec.keys)
        self._open = {span.key: span for span in spans}
        if spans:
            ends, numbers = (tables["windows"][name].to_list() for name in _WAKES)
            self._ends = sorted(zip(ends, numbers, spans, strict=True), key=itemgetter(0, 1))
            self._made = max(numbers)

    def _advance(self, rows: pl.DataFrame | None, before: int, passed: int) -> pl.DataFrame | None:
        closed: list[Span] = []
        touched: list[Span] = []
        if rows is not None:
            touched = self._add(rows, closed)
        updates = None
        if self._spec.emit == "updates" and touched:
            updates = self._updates(touched, before)
        self._end(passed, closed)
        if self._spec.emit == "updates":
            self._aggregation.release([span.slot for span in closed])
            return updates
        if not closed:
            return None
        return hide(self._closed(closed, self._gap, ["end"]), microseconds_of("end") - 1)

    def _add(self, rows: pl.DataFrame, closed: list[Span]) -> list[Span]:
        """Put rows into sessions; return these, and add to `closed` those that others follow."""
        codes, keys = codes_of(rows, self._spec.keys)
        opened = [self._open.get(key) for key in keys]
        lasts = [None if span is None else span.last for span in opened]
        parts = segments(codes, self._times(rows), lasts, self._gap)
        numbers, found = spans_of(parts)
        touched: list[Span] = []
        for code, part, first, last, _ in found:
            key = keys[code]
            span = self._open.get(key)
            if part == 0 and span is not None:
                span.last = last
            else:
                if span is not None:
                    closed.append(span)
                span = self._open[key] = Span(key, self._aggregation.new_slot(), first, last)
                self._made += 1
                heapq.heappush(self._ends, (last + self._gap, self._made, span))
            touched.append(span)
        slots = pa.array([span.slot for span in touched], pa.int64())
        self._aggregation.add(slots.take(numbers), rows)
        return touched

    def _end(self, passed: int, closed: list[Span]) -> None:
        """Add to `closed` the sessions that no row can join any more."""
        while self._ends and self._ends[0][0] <= passed:
            _, number, span = heapq.heappop(self._ends)
            if self._open.get(span.key) is not span:
                continue  # another session of the key has followed
            if span.last + self._gap > passed:
                heapq.heappush(self._ends, (span.last + self._gap, number, span))
                continue
            closed.append(self._open.pop(span.key))

    def _updates(self, touched: Sequence[Span], before: int) -> pl.DataFrame:
        """Return the present rows of sessions; they stand where time was before."""
        rows = self._rows(touched, self._gap)
        rows = canonical(with_group(rows, self._spec.keys), ["end", GROUP, *self._spec.keys])
        rows = rows.drop(GROUP).with_columns(pl.lit(False).alias(DELETED))
        return hide(rows, pl.lit(before))


class _CountLogic(_OrderedLogic):
    __slots__ = ("_open", "_size")

    def __init__(self, spec: OrderedWindow, size: int, place: Place) -> None:
        super().__init__(spec, place)
        self._size = size
        self._open: dict[Key, Span] = {}

    def snapshot(self) -> Tables:
        """Return the open windows, in the order in which they were opened."""
        spans = list(self._open.values())
        return super().snapshot() | span_table(self._place, self._spec.keys, spans)

    def restore(self, tables: Tables) -> None:
        super().restore(tables)
        self._open = {span.key: span for span in spans_in(tables, self._spec.keys)}

    def _advance(self, rows: pl.DataFrame | None, before: int, passed: int) -> pl.DataFrame | None:
        made: list[pl.DataFrame] = []
        full = [] if rows is None else self._add(rows)
        if full and self._time is None:
            made.append(hide(self._rows(full, 1), pl.lit(START)))
            self._aggregation.release([span.slot for span in full])
        elif full:
            made.append(hide(self._closed(full, 1, ["end"]), microseconds_of("end") - 1))
        if passed >= END and self._open:
            # Time has passed these, so that only here do rows stand behind their watermark.
            rest = self._closed(list(self._open.values()), 1, [])
            made.append(hide(rest, pl.lit(START if self._time is None else END - 1)))
            self._open.clear()
        return concatenated(made) if made else None

    def _add(self, rows: pl.DataFrame) -> list[Span]:
        """Put rows into windows; return those that are full, by the row that filled them."""
        codes, keys = codes_of(rows, self._spec.keys)
        opened = [self._open.get(key) for key in keys]
        counts = pl.Series("rows", [span.rows if span else 0 for span in opened], dtype=pl.Int64)
        frame = pl.DataFrame([pl.Series("code", codes), self._times(rows).alias("time")])
        nth = pl.int_range(pl.len(), dtype=pl.Int64).over("code") + counts.gather(frame["code"])
        frame = frame.with_columns(nth.alias("nth"))
        numbers, found = spans_of(
            frame.select("code", (pl.col("nth") // self._size).alias("part"), "time")
        )
        spans: list[Span] = []
        for code, part, first, last, count in found:
            key = keys[code]
            if part or key not in self._open:
                self._open[key] = Span(key, self._aggregation.new_slot(), first, last)
            span = self._open[key]
            span.last, span.rows = last, span.rows + count
            spans.append(span)
        slots = pa.array([span.slot for span in spans], pa.int64())
        self._aggregation.add(slots.take(numbers), rows)
        filling = pl.col("nth") % self._size == self._size - 1
        places = pl.Series(numbers).filter(frame.select(filling).to_series())
        full = [spans[place] for place in places.to_list()]
        for span in full:
            if self._open.get(span.key) is span:
                del self._open[span.key]
        return full


class _SlidingLogic(_OrderedLogic):
    __slots__ = ("_history", "_size")

    def __init__(self, spec: OrderedWindow, size: int, place: Place) -> None:
        super().__init__(spec, place)
        self._size = size
        self._history: pl.DataFrame | None = None
        """The rows, in order, that windows to come may need."""

    def snapshot(self) -> Tables:
        """Return the rows that windows to come may need as ``history``, in order."""
        kept = {} if self._history is None else {"history": self._history}
        return super().snapshot() | kept

    def restore(self, tables: Tables) -> None:
        super().restore(tables)
        self._history = tables.get("history")

    @property
    def held_rows(self) -> int:
        """Rows that wait for the watermark, or that windows to come may need."""
        kept = 0 if self._history is None else self._history.height
        return kept + self._buffer.held_rows

    def _advance(self, rows: pl.DataFrame | None, before: int, passed: int) -> pl.DataFrame | None:
        made = None
        if rows is not None:
            known = 0 if self._history is None else self._history.height
            seen = rows if self._history is None else pl.concat([self._history, rows])
            self._history = seen
            made = self._slide(seen, known)
        if self._history is not None:
            kept = self._history.filter(self._times(self._history) > passed - self._size)
            self._history = kept if kept.height and passed < END else None
        return made

    def _slide(self, seen: pl.DataFrame, known: int) -> pl.DataFrame:
        """Return a row for each (key, time) of the rows after the first `known`."""
        keys, time, schema = self._spec.keys, self._time, self._place.schema
        assert time is not None
        order, windows = windows_of(codes_of(seen, keys)[0], self._times(seen), self._size)
        windows = windows.filter(pl.col("place") >= known)
        values = concatenated(list(self._folded(seen.drop(HIDDEN)[order], windows)))
        found, times = seen[windows["place"]], windows["time"]
        columns = [
            *(found[key] for key in keys),
            (times - self._size).alias("start").cast(WINDOW_TIME),
            (times + 1).alias("end").cast(WINDOW_TIME),
            times.alias(time).cast(schema.dtype(time)),
            *values.iter_columns(),
        ]
        rows = with_group(pl.DataFrame(columns).select(schema.names), keys)
        rows = canonical(rows, [time, GROUP, *keys]).drop(GROUP)
        return hide(rows, microseconds_of(time))

    def _folded(self, ordered: pl.DataFrame, windows: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Yield the aggregates of windows over rows sorted by key, so many at once as fit."""
        for begin, end in chunks_of((windows["to"] - windows["from"]).to_list(), _EXPLODED):
            part = windows[begin:end].with_columns(pl.int_range(pl.len()).alias("slot"))
            rows = part.select("slot", pl.int_ranges("from", "to").alias("row")).explode("row")
            aggregation = Aggregation(self._spec.aggregates, None, self._place.operator)
            slots = aggregation.new_slots(part.height)
            aggregation.add(rows["slot"].to_arrow(), ordered[rows["row"]])
            yield aggregation.result(slots)
