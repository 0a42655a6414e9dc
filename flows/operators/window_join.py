"""The window join: left and right rows of a key that fall into the same window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from ..batch import START, Batch, Logic, Output
from ..errors import SchemaError
from ..graph import Place
from ..schema import Schema
from ..snapshot import Tables, part_of, scalars, scalars_in, with_parts
from .interval import paired_schema
from .joined import DUE, How, due_order, layout_of, no_rows
from .sides import LEFT, RIGHT, TwoSided
from .stored import TIME, Stored

__all__ = ["WindowJoin", "WindowLogic", "window_join_schema"]

_WINDOW: Final = "_hw_window"
_BOUND: Final = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class WindowJoin:
    """All pairs of a key in the same window [start, end), once both watermarks reach its end.

    Windows are `size` µs long, one beginning every `every` µs, at the epoch plus `offset`. Rows
    get the columns `start` and `end` after those of both sides; their event time, in the left
    one's column, is end - 1 µs. A row without a partner in a window comes out for that window, if
    `how` is "left" or, for right rows, "full". Raises SchemaError for windows that leave gaps.
    """

    keys: tuple[str, ...]
    left_time: str
    right_time: str
    size: int
    every: int
    offset: int = 0
    how: How = "inner"
    suffix: str = "_right"

    def __post_init__(self) -> None:
        if not 0 < self.every <= self.size:
            raise SchemaError(
                f"windows of {self.size} µs that begin every {self.every} µs; both must be "
                f"positive and the step not longer than the window, or rows would be lost"
            )

    @property
    def title(self) -> str:
        """A few words for the drawing of the graph."""
        return f"join in windows ({', '.join(self.keys)})"

    def build(self, place: Place) -> WindowLogic:
        """Make the state machine."""
        return WindowLogic(self, place)


def window_join_schema(
    left: Schema,
    right: Schema,
    keys: tuple[str, ...],
    how: How = "inner",
    suffix: str = "_right",
) -> Schema:
    """Return what a window join gives; raises SchemaError if it cannot be made."""
    return paired_schema(left, right, keys, suffix, how, (("start", _BOUND), ("end", _BOUND)))


class WindowLogic(Logic):
    """The running form of a window join. Windows are numbered: number n begins at n * every."""

    __slots__ = ("_closed", "_layout", "_left", "_right", "_sides", "_spec", "_time_type")

    def __init__(self, spec: WindowJoin, place: Place) -> None:
        left, right = place.inputs
        self._spec = spec
        self._layout = layout_of(left, right, spec.keys, spec.keys, spec.suffix, ("start", "end"))
        self._time_type = dict(left.columns)[spec.left_time]
        self._sides = TwoSided(place.operator, spec.left_time, spec.right_time)
        self._left = Stored(no_rows(left), spec.left_time, spec.keys, spec.how != "inner")
        self._right = Stored(no_rows(right), spec.right_time, spec.keys, spec.how == "full")
        self._closed = self._last_closed(START)

    @property
    def held_rows(self) -> int:
        """Rows that wait for a window of theirs to close."""
        return self._sides.held_rows + self._left.rows.height + self._right.rows.height

    def receive(self, port: int, batch: Batch) -> Output:
        """Take a batch on an input; give the rows of the windows that now close."""
        output = Output()
        watermark = self._sides.take(port, batch, output)
        self._left.add(self._sides.release(LEFT, watermark))
        self._right.add(self._sides.release(RIGHT, watermark))
        rows = None
        closed = self._last_closed(watermark)
        if closed > self._closed:
            rows = self._joined(closed)
            self._closed = closed
            open_from = self._spec.offset + (closed + 1) * self._spec.every
            self._left.drop_before(open_from)
            self._right.drop_before(open_from)
        output.batches.append(Batch(rows, watermark))
        return output

    def snapshot(self) -> Tables:
        return scalars(closed=self._closed) | with_parts(
            waiting=self._sides.snapshot(),
            left=self._left.snapshot(),
            right=self._right.snapshot(),
        )

    def restore(self, tables: Tables) -> None:
        self._closed = scalars_in(tables)["closed"]
        self._sides.restore(part_of(tables, "waiting"))
        self._left.restore(part_of(tables, "left"))
        self._right.restore(part_of(tables, "right"))

    def _last_closed(self, watermark: int) -> int:
        return (watermark - self._spec.size - self._spec.offset) // self._spec.every

    def _joined(self, closed: int) -> pl.DataFrame | None:
        """Return the rows of the windows after the last closed one, up to `closed`."""
        spec, left, right = self._spec, self._left.rows, self._right.rows
        keys = [f"key{number}" for number in range(len(spec.keys))]
        met = self._in_windows(left, "left", closed).join(
            self._in_windows(right, "right", closed),
            on=[*keys, _WINDOW],
            how=spec.how,
            coalesce=True,
        )
        if not met.height:
            return None
        start = met[_WINDOW] * spec.every + spec.offset
        rows = self._layout.pairs(left, right, met["left"], met["right"])
        rows = rows.with_columns(
            (start + spec.size - 1).cast(self._time_type).alias(spec.left_time),
            start.cast(_BOUND).alias("start"),
            (start + spec.size).cast(_BOUND).alias("end"),
            (start + spec.size - 1).alias(DUE),
        )
        return due_order(rows, spec.keys, 0)

    def _in_windows(self, rows: pl.DataFrame, number: str, closed: int) -> pl.DataFrame:
        """Return keys, window and number of each row, once for each of its windows to close."""
        spec = self._spec
        since = pl.col(TIME) - spec.offset
        first = pl.max_horizontal((since - spec.size) // spec.every + 1, self._closed + 1)
        last = pl.min_horizontal(since // spec.every, closed)
        return (
            rows.select(
                *(pl.col(key).alias(f"key{at}") for at, key in enumerate(spec.keys)),
                pl.int_range(pl.len(), dtype=pl.Int64).alias(number),
                pl.int_ranges(first, last + 1, dtype=pl.Int64).alias(_WINDOW),
            )
            .explode(_WINDOW)
            .drop_nulls(_WINDOW)
        )
