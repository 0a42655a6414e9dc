"""The k best rows of each key: per window when it closes, or so far as an upsert stream.

Rows are ranked from 1 by one column; null and NaN come last, and ties go by all columns. As in
the rows of windows, the event time of a row out is not that of the row that came in: it is
end - 1 µs of the window, or when the row took its rank. Copy the column to keep it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

import polars as pl

from ..batch import DELETED, END, HIDDEN, ORIGIN, START, WATERMARK, Batch, Logic, Output
from ..clock import Clock
from ..errors import SchemaError
from ..graph import Place
from ..schema import Schema
from ..snapshot import Tables, part_of, scalars, scalars_in, with_parts
from ..windows import HoppingWindow
from .ordered import GROUP, OrderedBuffer, microseconds_of, with_group
from .slots import codes_of
from .window import BEGIN, WINDOW_TIME, assigned, checked_keys, delayed

__all__ = ["RANK", "Top", "top_schema"]

RANK: Final = "rank"
_AFRESH: Final = 4096


@dataclass(frozen=True, slots=True)
class Top:
    """Keeps the `k` best rows of each key, of each window if there is one.

    `lateness` (µs) is of the window. See `top_schema` for the rows.
    """

    keys: tuple[str, ...]
    k: int
    by: str
    descending: bool = True
    window: HoppingWindow | None = None
    lateness: int = 0

    @property
    def title(self) -> str:
        """How many, by what, of what."""
        of = f" of {', '.join(self.keys)}" if self.keys else ""
        window = f", {self.window}" if self.window else ""
        return f"top {self.k} by {self.by}{of}{window}"

    def build(self, place: Place) -> Logic:
        """Make the state machine."""
        if self.window is None:
            return _RunningTop(self, place)
        return _WindowTop(self, self.window, place)


def top_schema(
    schema: Schema, keys: Sequence[str], k: int, by: str, window: HoppingWindow | None
) -> Schema:
    """Return the input's columns, `start` and `end` of a window, and `rank` (Int64, from 1).

    Without a window it is an upsert stream by (keys, rank). Raises SchemaError.
    """
    checked_keys(schema, keys)
    if k < 1:
        raise SchemaError(f"top({k}) keeps no row; it takes 1 or more")
    dtype = schema.dtype(by)
    if dtype.is_nested():
        raise SchemaError(f"top(by='{by}') is {dtype}, which has no order; rank by a plain column")
    added: list[tuple[str, pl.DataType]] = [(RANK, pl.Int64())]
    if window is not None:
        if window.time == "event" and schema.event_time is None:
            raise SchemaError(
                f"top in a {window} window needs event time, and the stream has none: "
                f"{', '.join(schema.names)}; give its event a field of type hw.EventTime"
            )
        added = [("start", WINDOW_TIME), ("end", WINDOW_TIME), *added]
    for name, _ in added:
        if name in schema.names:
            raise SchemaError(f"top adds a column '{name}', and the stream has one; rename it")
    columns = (*schema.columns, *added)
    return replace(
        schema, columns=columns, key=(*keys, RANK) if window is None else None, name=None
    )


def _ranked(rows: pl.DataFrame, spec: Top, names: Sequence[str]) -> pl.DataFrame:
    """Sort rows from best to worst; ties go by `names`, all columns."""
    best = pl.col(spec.by)
    if rows[spec.by].dtype.is_float():
        best = best.fill_nan(None)
    by = [best, *(pl.col(name) for name in names), pl.col(ORIGIN)]
    down = [spec.descending, *(False for _ in by[1:])]
    last = [True, *(False for _ in by[1:])]
    return rows.sort(by, descending=down, nulls_last=last, maintain_order=True)


class _WindowTop(Logic):
    """Keeps the candidates of each open window; batches are reduced to these now and then."""

    __slots__ = (
        "_clock",
        "_first_end",
        "_kept",
        "_pending",
        "_place",
        "_spec",
        "_watermark",
        "_window",
        "held_rows",
    )

    def __init__(self, spec: Top, window: HoppingWindow, place: Place) -> None:
        self._spec = spec
        self._window = window
        self._place = place
        self._clock: Clock | None = place.clock if window.time == "processing" else None
        self._pending: list[pl.DataFrame] = []
        self._kept = 0
        self._first_end = END
        """The end of the window that is the first to close."""
        self._watermark = START
        self.held_rows = 0
        """Rows that are kept for open windows."""

    def receive(self, port: int, batch: Batch) -> Output:
        output = Output()
        if batch.rows is not None and batch.rows.height:
            late = self._add(batch.rows)
            if late is not None:
                output.late.append(late)
        if self._clock is None or batch.watermark >= END:
            self._watermark = max(self._watermark, batch.watermark)
        passed = delayed(self._watermark, self._spec.lateness)
        output.batches.append(Batch(self._close(passed), passed))
        return output

    @property
    def ticks(self) -> bool:
        return self._clock is not None

    def tick(self, now: int) -> Output | None:
        if now <= self._watermark:
            return None
        self._watermark = now
        passed = delayed(now, self._spec.lateness)
        return Output([Batch(self._close(passed), passed)])

    def snapshot(self) -> Tables:
        tables = scalars(watermark=self._watermark, kept=self._kept, first_end=self._first_end)
        if self._pending:
            tables["rows"] = pl.concat(self._pending)
        return tables

    def restore(self, tables: Tables) -> None:
        found = scalars_in(tables)
        self._watermark, self._kept = found["watermark"], found["kept"]
        self._first_end = found["first_end"]
        if "rows" in tables:
            rows = tables["rows"]
            # Two frames, since one alone is taken to be ranked as a whole.
            self._pending = [rows.clear(), rows]
            self.held_rows = rows.height

    def _add(self, rows: pl.DataFrame) -> pl.DataFrame | None:
        if self._clock is None:
            assert self._place.schema.event_time is not None
            time = microseconds_of(self._place.schema.event_time)
            passed = pl.col(WATERMARK) - self._spec.lateness
        else:
            rows = rows.with_columns(pl.lit(self._clock.now(), pl.Int64).alias(BEGIN))
            time, passed = pl.col(BEGIN), pl.lit(START, pl.Int64)
        fits, late = assigned(rows, self._window, time, passed)
        if fits.height:
            self._pending.append(self._best(fits))
            self.held_rows += self._pending[-1].height
            first: int = fits.select(pl.col(BEGIN).min()).item()
            self._first_end = min(self._first_end, first + self._window.size)
        if self.held_rows > 2 * self._kept + _AFRESH:
            self._reduce()
        return late

    def _reduce(self) -> pl.DataFrame:
        """Bring all candidates into one frame, and keep those that are still among the best."""
        rows = self._pending[0]
        if len(self._pending) > 1:
            rows = self._best(pl.concat(self._pending))
        self._pending = [rows]
        self._kept = self.held_rows = rows.height
        return rows

    def _best(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the best rows of each key and window, from best to worst."""
        names = self._place.inputs[0].names
        rows = _ranked(rows, self._spec, names)
        nth = pl.int_range(pl.len()).over([*self._spec.keys, BEGIN])
        return rows.filter(nth < self._spec.k)

    def _close(self, passed: int) -> pl.DataFrame | None:
        if not self._pending or self._first_end > passed:
            return None
        rows = self._reduce()
        ended = pl.col(BEGIN) + self._window.size <= passed
        closed, kept = rows.filter(ended), rows.filter(~ended)
        self._pending = [kept] if kept.height else []
        self._kept = self.held_rows = kept.height
        self._first_end = END
        if kept.height:
            first: int = kept.select(pl.col(BEGIN).min()).item()
            self._first_end = first + self._window.size
        return self._rows(closed) if closed.height else None

    def _rows(self, closed: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of closed windows, sorted by (end, key group, keys, rank)."""
        keys, schema = self._spec.keys, self._place.schema
        end = pl.col(BEGIN) + self._window.size
        closed = with_group(closed, keys).with_columns(
            pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over([*keys, BEGIN]).alias(RANK)
        )
        closed = closed.sort([BEGIN, GROUP, *keys, RANK]).with_columns(
            pl.col(BEGIN).cast(WINDOW_TIME).alias("start"),
            end.cast(WINDOW_TIME).alias("end"),
            (end - 1).alias(WATERMARK),
        )
        if schema.event_time is not None:
            time = (end - 1).cast(schema.dtype(schema.event_time))
            closed = closed.with_columns(time.alias(schema.event_time))
        return closed.select(*schema.names, *HIDDEN)


class _RunningTop(Logic):
    """Takes rows in order; after all rows of a key and time, gives the ranks that changed."""

    __slots__ = ("_buffer", "_names", "_place", "_spec", "_table", "_time", "_watermark")

    def __init__(self, spec: Top, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._names = place.inputs[0].names
        self._time = place.inputs[0].event_time
        self._buffer = OrderedBuffer(self._time, spec.keys)
        self._table: pl.DataFrame | None = None
        """The best rows of every key."""
        self._watermark = START

    @property
    def held_rows(self) -> int:
        """Rows that wait for the watermark, and rows that have a rank."""
        return self._buffer.held_rows + self.live

    @property
    def live(self) -> int:
        """Rows that have a rank."""
        return 0 if self._table is None else self._table.height

    def receive(self, port: int, batch: Batch) -> Output:
        output = Output()
        if batch.rows is not None and batch.rows.height:
            late = self._buffer.add(batch.rows)
            if late is not None:
                output.late.append(late)
        self._watermark = max(self._watermark, batch.watermark)
        rows = self._buffer.release(self._watermark)
        made = None if rows is None else self._take(rows)
        output.batches.append(Batch(made, self._watermark))
        return output

    def snapshot(self) -> Tables:
        tables = scalars(watermark=self._watermark) | with_parts(buffer=self._buffer.snapshot())
        if self._table is not None:
            tables["rows"] = self._table
        return tables

    def restore(self, tables: Tables) -> None:
        self._watermark = scalars_in(tables)["watermark"]
        self._buffer.restore(part_of(tables, "buffer"))
        self._table = tables.get("rows")

    def _take(self, rows: pl.DataFrame) -> pl.DataFrame | None:
        if self._time is not None:
            rows = rows.sort(self._time, GROUP, *self._spec.keys, maintain_order=True)
        known = self.live
        seen = rows if self._table is None else pl.concat([self._table, rows])
        codes = pl.Series("code", codes_of(seen, self._spec.keys)[0])
        touched = codes.is_in(codes[known:].unique().implode())
        untouched = seen.filter(~touched)
        seen, codes = seen.filter(touched), codes.filter(touched)
        places, changes = self._changes(seen, codes, seen.height - rows.height)
        self._table = pl.concat([untouched, seen[places]])
        return self._rows(seen, changes) if changes else None

    def _changes(
        self, seen: pl.DataFrame, codes: pl.Series, known: int
    ) -> tuple[list[int], list[tuple[int, int, int]]]:
        """Return the rows that have a rank in the end, and on the way (row, rank, latest row)."""
        order = self._order(seen)
        tables: dict[int, list[tuple[int, int]]] = {code: [] for code in codes.unique()}
        """Of each key, (order, row), the best first."""
        for row, (code, place) in enumerate(zip(codes[:known], order[:known], strict=True)):
            tables[code].append((place, row))
        for table in tables.values():
            table.sort()
        # Most rows are worse than all of a table that is full: they change nothing.
        worst = {c: table[-1][0] for c, table in tables.items() if len(table) == self._spec.k}
        limits = codes.replace_strict(worst, default=None, return_dtype=pl.Int64)
        rows = pl.int_range(seen.height, dtype=pl.Int64, eager=True)
        enters = (limits.is_null() | (order < limits)) & (rows >= known)
        rows = rows.filter(enters)
        times = rows if self._time is None else seen[self._time].to_physical().filter(enters)
        moments = zip(times, codes.filter(enters), order.filter(enters), rows, strict=True)
        changes: list[tuple[int, int, int]] = []
        for (_, code), group in groupby(moments, key=lambda moment: moment[:2]):
            changes.extend(self._changed(tables[code], [entry[2:] for entry in group]))
        return [row for table in tables.values() for _, row in table], changes

    def _order(self, seen: pl.DataFrame) -> pl.Series:
        """Return for each row a number that is less for a better one; equal rows share one."""
        numbered = seen.with_row_index("_hw_row")
        ranked = _ranked(numbered, self._spec, self._names)
        new = pl.any_horizontal(
            pl.col(name).ne_missing(pl.col(name).shift(1)) for name in self._names
        )
        ranked = ranked.select("_hw_row", new.cum_sum().cast(pl.Int64).alias("order"))
        return ranked.sort("_hw_row")["order"]

    def _changed(
        self, table: list[tuple[int, int]], rows: list[tuple[int, int]]
    ) -> list[tuple[int, int, int]]:
        """Put rows of one moment into a table; return (row, rank, latest row) of new ranks."""
        before = list(table)
        for entry in rows:
            if len(table) < self._spec.k or entry < table[-1]:
                table.insert(bisect_left(table, entry), entry)
                del table[self._spec.k :]
        moment = rows[-1][1]
        return [
            (row, rank + 1, moment)
            for rank, (order, row) in enumerate(table)
            if rank >= len(before) or before[rank][0] != order
        ]

    def _rows(self, seen: pl.DataFrame, changes: list[tuple[int, int, int]]) -> pl.DataFrame:
        rows = [row for row, _, _ in changes]
        made = seen[rows].with_columns(
            pl.Series(RANK, [rank for _, rank, _ in changes], dtype=pl.Int64),
            pl.lit(False).alias(DELETED),
        )
        moments = seen[[moment for _, _, moment in changes]]
        if self._time is not None:
            times = moments[self._time]
            made = made.with_columns(times, times.to_physical().alias(WATERMARK))
        else:
            made = made.with_columns(moments[WATERMARK])
        return made.select(*self._place.schema.names, DELETED, *HIDDEN)
