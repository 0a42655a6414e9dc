"""The as-of join: each left row with the nearest right row in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

from ..batch import DELETED, HIDDEN, ORIGIN, WATERMARK, Batch, Logic, Output
from ..errors import SchemaError
from ..graph import Place
from ..schema import Schema
from ..snapshot import Tables, part_of, with_parts
from .joined import joined_schema, layout_of, no_rows
from .ordered import microseconds_of
from .sides import LEFT, RIGHT, TwoSided, behind
from .versions import Strategy, Versions

__all__ = ["AsofJoin", "AsofLogic", "Match", "asof_schema"]

Match = Literal["inner", "left"]
"""Whether left rows that match nothing come out."""


@dataclass(frozen=True, slots=True)
class AsofJoin:
    """Join each left row with a right row of its keys; without keys, of all.

    `strategy` says which: "backward" the latest not after it, "forward" the earliest not before
    it, "nearest" the closer of these two and the later if both are as close. `tolerance` (µs)
    bounds their distance; with "forward" and "nearest" it is needed, as rows wait for so long.
    Of right rows of the same time the last by all columns counts. Raises SchemaError for a
    combination that cannot be.
    """

    keys: tuple[str, ...]
    left_time: str
    right_time: str
    tolerance: int | None = None
    strategy: Strategy = "backward"
    how: Match = "left"
    suffix: str = "_right"

    def __post_init__(self) -> None:
        if self.strategy not in ("backward", "forward", "nearest"):
            raise SchemaError(
                f"strategy is {self.strategy!r}; it is one of 'backward', 'forward' and 'nearest'"
            )
        if self.tolerance is not None and self.tolerance < 0:
            raise SchemaError(f"tolerance is {self.tolerance} µs; it must not be negative")
        if self.tolerance is None and self.strategy != "backward":
            raise SchemaError(
                f"strategy={self.strategy!r} without a tolerance would wait for ever; "
                f"pass one, such as tolerance='10s'"
            )

    @property
    def title(self) -> str:
        """A few words for the drawing of the graph."""
        return f"join as of ({', '.join(self.keys)}), {self.strategy}"

    def build(self, place: Place) -> AsofLogic:
        """Make the state machine."""
        return AsofLogic(self, place, self.keys, upsert=False)


def asof_schema(
    left: Schema,
    right: Schema,
    keys: tuple[str, ...],
    how: Match = "left",
    suffix: str = "_right",
) -> Schema:
    """Return what an as-of join gives; raises SchemaError if the streams cannot be joined so."""
    if how not in ("inner", "left"):
        raise SchemaError(f"an as-of join takes how='inner' or how='left', not {how!r}")
    if right.key is not None:
        raise SchemaError(
            f"the right stream of an as-of join is a changing table (upsert by "
            f"{', '.join(right.key)}); use .lookup(), which sees it as of each row's time"
        )
    return joined_schema(left, right, keys, keys, suffix, how)


class AsofLogic(Logic):
    """The running form of an as-of join, and of a lookup join.

    With `upsert`, right rows have `DELETED`, and of those of the same key and time the last to
    come counts.
    """

    __slots__ = ("_hold", "_how", "_keys", "_layout", "_sides", "_time", "_versions")

    def __init__(
        self, spec: AsofJoin, place: Place, right_keys: tuple[str, ...], upsert: bool
    ) -> None:
        left, right = place.inputs
        self._keys = spec.keys
        self._time = spec.left_time
        self._how = spec.how
        self._hold = 0 if spec.strategy == "backward" else spec.tolerance or 0
        self._layout = layout_of(left, right, spec.keys, right_keys, spec.suffix)
        self._sides = TwoSided(
            place.operator, spec.left_time, spec.right_time, spec.keys, versions=upsert
        )
        names = [name for name, _ in right.columns]
        empty = no_rows(right)
        if upsert:
            deleted = pl.Series(DELETED, [], pl.Boolean)
            empty = empty.with_columns(deleted).select(*names, DELETED, *HIDDEN)
        self._versions = Versions(empty, right_keys, spec.right_time, spec.strategy, spec.tolerance)

    @property
    def held_rows(self) -> int:
        """Rows that wait, and right rows that may still be matched."""
        return self._sides.held_rows + self._versions.rows.height

    def receive(self, port: int, batch: Batch) -> Output:
        """Take a batch on an input; give the left rows whose match is known."""
        output = Output()
        watermark = self._sides.take(port, batch, output)
        known = behind(watermark, self._hold)
        right = self._sides.release(RIGHT, watermark)
        if right is not None:
            self._versions.add(right)
        left = self._sides.release(LEFT, known)
        rows = None if left is None else self._joined(left)
        self._versions.forget(known)
        output.batches.append(Batch(rows, known))
        return output

    def snapshot(self) -> Tables:
        return with_parts(waiting=self._sides.snapshot(), right=self._versions.snapshot())

    def restore(self, tables: Tables) -> None:
        self._sides.restore(part_of(tables, "waiting"))
        self._versions.restore(part_of(tables, "right"))

    def _joined(self, left: pl.DataFrame) -> pl.DataFrame | None:
        found = self._versions.match(left, self._keys, self._time)
        if self._how == "inner":
            left, found = left.filter(found.is_not_null()), found.drop_nulls()
        if not left.height:
            return None
        every = pl.int_range(left.height, dtype=pl.Int64, eager=True)
        rows = self._layout.pairs(left, self._versions.rows, every, found)
        return rows.select(
            pl.exclude(ORIGIN), microseconds_of(self._time).alias(WATERMARK), pl.col(ORIGIN)
        )
