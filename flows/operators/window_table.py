"""Windows whose aggregates a kernel folds: those of numbers, over plain keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ...ext import WindowPart, WindowTable
from ..batch import DELETED, END, NO_ORIGIN, ORIGIN, START, WATERMARK, Batch, Logic, Output
from ..clock import Clock
from ..graph import Place
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


class WindowsByTable(Logic):
    """Tumbling, hopping and whole windows; `columns` are those of the aggregates of `spec`."""

    __slots__ = (
        "_clock", "_columns", "_given", "_hidden", "_inputs", "_lateness", "_names", "_newest",
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
        self._given = [*self._bounds(keys), *self._times()]
        self._hidden = self._positions()

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

    def tick(self, now: int) -> Output | None:
        if self._clock is None or now <= self._watermark:
            return None
        before = delayed(self._watermark, self._lateness)
        self._watermark = now
        return Output([self._closed(before)])

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

    def _bounds(self, keys: list[str]) -> list[pl.Expr]:
        """Make the keys and, unless there is one window, start and end."""
        schema = self._place.schema
        made = [
            pl.col(name).cast(schema.dtype(key)).alias(key)
            for name, key in zip(keys, self._spec.keys, strict=True)
        ]
        window = self._spec.window
        if not isinstance(window, WholeWindow):
            made.append((pl.col(_END) - window.size).cast(WINDOW_TIME).alias("start"))
            made.append(pl.col(_END).cast(WINDOW_TIME).alias("end"))
        return made

    def _times(self) -> list[pl.Expr]:
        """Make the event time, if there is one."""
        time = self._place.schema.event_time
        if time is None:
            return []
        micros = pl.col(_NEWEST) if self._whole else pl.col(_END) - 1
        return [micros.cast(self._place.schema.dtype(time)).alias(time)]

    def _positions(self) -> list[pl.Expr]:
        """Make the hidden columns of rows that are not updates."""
        mark = pl.lit(START, pl.Int64) if self._whole else pl.col(_END) - 1
        if self._newest:
            mark = pl.col(_NEWEST)
        return [mark.alias(WATERMARK), pl.lit(NO_ORIGIN, pl.Int64).alias(ORIGIN)]

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
        hidden = self._hidden
        if self._spec.emit == "updates":
            mark = pl.lit(START if self._whole else before, pl.Int64).alias(WATERMARK)
            hidden = [pl.lit(False).alias(DELETED), mark, hidden[-1]]
        rows = found.select(*self._given, *self._columns.finish.over(found), *hidden)
        if self._newest and self._time is not None:
            rows = rows.sort(self._time, maintain_order=True)
        return rows
