"""Windows whose aggregates a kernel folds: those of numbers, over plain keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl

from ...ext import WindowPart, WindowTable
from ..batch import DELETED, END, NO_ORIGIN, ORIGIN, START, WATERMARK, Batch, Logic, Output
from ..clock import Clock
from ..graph import Place
from ..snapshot import Tables, scalars, scalars_in
from ..values import StateError
from ..windows import WholeWindow
from .aggregation import part_names
from .rowwise import RowWise
from .window_columns import TableColumns
from .windowed import WINDOW_TIME, delayed

if TYPE_CHECKING:
    from .window import WindowAggregate

__all__ = ["WindowsByTable"]

_END = "_hw_end"
_NEWEST = "_hw_newest"
_MOST_KEPT: Final = 1 << 18
"""Values of a constant column that are kept for the next rows."""


class WindowsByTable(Logic):
    """Tumbling, hopping and whole windows; `columns` are those of the aggregates of `spec`."""

    __slots__ = (
        "_clock", "_columns", "_inputs", "_keys", "_lateness", "_names", "_newest", "_origins",
        "_place", "_spec", "_table", "_time", "_watermark", "_whole",
    )  # fmt: skip

    def __init__(self, spec: WindowAggregate, columns: TableColumns, place: Place) -> None:
        self._spec = spec
        self._columns = columns
        self._place = place
        self._time = place.inputs[0].event_time
        self._whole = isinstance(spec.window, WholeWindow)
        self._newest = self._whole and self._time is not None
        """Whether the newest time is one more part, the last."""
        self._clock: Clock | None = None
        self._lateness = 0 if self._whole else spec.lateness
        self._inputs = RowWise(columns.inputs)
        self._watermark = START
        self._table = self._opened()
        keys = [f"_hw_key_{number}" for number in range(len(spec.keys))]
        self._names = [*keys, _END, *part_names(len(columns.parts))]
        if self._newest:
            self._names.append(_NEWEST)
        dtypes = [place.schema.dtype(key) for key in spec.keys]
        self._keys = list(zip(keys, spec.keys, dtypes, strict=True))
        self._origins = _constant(ORIGIN, NO_ORIGIN, 0)

    @property
    def live(self) -> int:
        """Keys that have rows, summed over the stretches of time that windows are made of."""
        return self._table.live

    def receive(self, port: int, batch: Batch) -> Output:
        output = Output()
        before = delayed(self._watermark, self._lateness)
        if batch.rows is not None and batch.rows.height:
            late = self._table.add(self._read(batch.rows), self._now())
            if late is not None:
                output.late.append(batch.rows[pl.Series(late)])
            if self._spec.emit == "updates":
                self._table.update()
        if self._clock is None or batch.watermark >= END:
            self._watermark = max(self._watermark, batch.watermark)
        output.batches.append(self._closed(before))
        return output

    @property
    def ticks(self) -> bool:
        return self._clock is not None

    def tick(self, now: int) -> Output | None:
        if now <= self._watermark:
            return None
        before = delayed(self._watermark, self._lateness)
        self._watermark = now
        return Output([self._closed(before)])

    def snapshot(self) -> Tables:
        """Return what is held of each key and stretch of time as ``entries``.

        A row has the begin of the stretch, unless there is one window, the keys, how many rows
        there were, and what is held of the columns that aggregates read; `ext/windowentries.py`
        says of each what it is.
        """
        table = self._table
        state = scalars(watermark=self._watermark, passed=table.passed, sequence=table.sequence)
        if table.live:
            state["entries"] = self._shown(pl.DataFrame(table.entries()))
        return state

    def restore(self, tables: Tables) -> None:
        single = scalars_in(tables)
        self._watermark = single["watermark"]
        entries = pl.DataFrame(self._table.entries())
        if "entries" in tables:
            found, shown = tables["entries"], self._shown(entries)
            if shown.schema != found.schema:
                raise StateError(f"{self._place.operator}: {found.schema} are no entries of it")
            plain = dict(zip(found.columns, entries.columns, strict=True))
            entries = found.rechunk().rename(plain).cast(entries.schema)
        self._table.take_back(entries, passed=single["passed"], sequence=single["sequence"])

    def _shown(self, entries: pl.DataFrame) -> pl.DataFrame:
        """Entries with the begin as a time and the keys' own names, which others make way for."""
        first, keys = 0 if self._whole else 1, self._spec.keys
        plain = entries.columns[first : first + len(keys)]
        names = dict(zip(plain, keys, strict=True))
        taken = set(keys)
        for name in entries.columns:
            shown = name
            while name not in plain and shown in taken:
                shown += "_"
            taken.add(names.setdefault(name, shown))
        begins = [column.cast(WINDOW_TIME) for column in entries.get_columns()[:first]]
        return entries.with_columns(begins).rename(names)

    def _opened(self) -> WindowTable:
        window, columns = self._spec.window, self._columns
        updates = self._spec.emit == "updates"
        if isinstance(window, WholeWindow):
            newest = (WindowPart("max", self._time),) if self._newest else ()
            parts = (*columns.parts, *newest)
            return WindowTable(columns.keys, parts, time=self._time, updates=updates)
        if window.time == "processing":
            self._clock = self._place.clock
        return WindowTable(
            columns.keys,
            columns.parts,
            size=window.size,
            every=window.every,
            offset=window.offset,
            lateness=self._lateness,
            time=self._time,
            watermark=WATERMARK,
            updates=updates,
        )

    def _read(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the columns that the table reads, among others."""
        columns = self._columns
        if columns.inputs:
            rows = rows.with_columns(self._inputs.columns(rows))
        if columns.selected is None:
            return rows
        times = [WATERMARK] if self._time is None else [self._time, WATERMARK]
        computed = [expr.meta.output_name() for expr in columns.inputs]
        return rows.select({*columns.selected, *computed, *times})

    def _now(self) -> int | None:
        # A clock that goes back must not reach into windows that have closed.
        return None if self._clock is None else max(self._clock.now(), self._watermark)

    def _closed(self, before: int) -> Batch:
        """Close what has ended; return it with what changed, and where time has passed."""
        self._table.close(self._watermark)
        found = self._table.take()
        passed = delayed(self._watermark, self._lateness)
        if self._whole:
            passed = END if self._watermark >= END else START
        return Batch(None if found is None else self._rows(pl.DataFrame(found), before), passed)

    def _rows(self, found: pl.DataFrame, before: int) -> pl.DataFrame:
        """Return the rows of windows as others see them; as updates they stand at `before`."""
        found.columns = self._names
        newest = self._newest_of(found)
        columns = [found.get_column(name).cast(t).alias(key) for name, key, t in self._keys]
        columns += self._bounds(found)
        time = self._place.schema.event_time
        if time is not None:
            columns.append(newest.cast(self._place.schema.dtype(time)).alias(time))
        columns += self._columns.finish.over(found)
        if self._spec.emit == "updates":
            columns.append(_constant(DELETED, False, found.height))
            newest = _constant(WATERMARK, START if self._whole else before, found.height)
        rows = pl.DataFrame([*columns, newest.alias(WATERMARK), self._no_origins(found.height)])
        if self._newest and self._time is not None:
            rows = rows.sort(self._time, maintain_order=True)
        return rows

    def _newest_of(self, found: pl.DataFrame) -> pl.Series:
        """The event time of the rows of windows; START if they have none."""
        if self._newest:
            return found.get_column(_NEWEST)
        if self._whole:
            return _constant(WATERMARK, START, found.height)
        return found.get_column(_END) - 1

    def _bounds(self, found: pl.DataFrame) -> list[pl.Series]:
        """Start and end, unless there is one window."""
        window = self._spec.window
        if isinstance(window, WholeWindow):
            return []
        ends = found.get_column(_END)
        return [
            (ends - window.size).cast(WINDOW_TIME).alias("start"),
            ends.cast(WINDOW_TIME).alias("end"),
        ]

    def _no_origins(self, height: int) -> pl.Series:
        if height > _MOST_KEPT:
            return _constant(ORIGIN, NO_ORIGIN, height)
        if height > self._origins.len():
            self._origins = _constant(ORIGIN, NO_ORIGIN, min(2 * height, _MOST_KEPT))
        return self._origins[:height]


def _constant(name: str, value: bool | int, height: int) -> pl.Series:
    return pl.Series(name, [value]).new_from_index(0, height)
