"""The interval join: left and right rows of a key whose times are close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from ..batch import Batch, Logic, Output
from ..errors import SchemaError
from ..graph import Place
from ..schema import Schema
from ..snapshot import Tables, part_of, with_parts
from .joined import DUE, How, due_order, joined_schema, layout_of, no_rows
from .ordered import microseconds_of
from .sides import LEFT, RIGHT, TwoSided, behind
from .stored import TIME, Stored

__all__ = ["IntervalJoin", "IntervalLogic", "interval_schema"]

_BUCKET: Final = "_hw_bucket"
_RIGHT_TIME: Final = "_hw_right_time"


@dataclass(frozen=True, slots=True)
class IntervalJoin:
    """All pairs of a key with left time - `before` <= right time <= left time + `after` (µs).

    A row without a partner comes out once no partner can come any more, if `how` is "left" or, for
    right rows, "full". A row's event time is the left row's, or the right row's if it is alone.
    Raises SchemaError if the interval is empty.
    """

    keys: tuple[str, ...]
    left_time: str
    right_time: str
    before: int
    after: int
    how: How = "inner"
    suffix: str = "_right"

    def __post_init__(self) -> None:
        if self.before + self.after < 0:
            raise SchemaError(
                f"the interval from {self.before} µs before a left row to {self.after} µs after "
                f"it is empty; before + after must not be negative"
            )

    @property
    def title(self) -> str:
        """A few words for the drawing of the graph."""
        return f"join within ({', '.join(self.keys)})"

    def build(self, place: Place) -> IntervalLogic:
        """Make the state machine."""
        return IntervalLogic(self, place)


def interval_schema(
    left: Schema,
    right: Schema,
    keys: tuple[str, ...],
    how: How = "inner",
    suffix: str = "_right",
) -> Schema:
    """Return what an interval join gives; raises SchemaError if it cannot be made."""
    return paired_schema(left, right, keys, suffix, how)


def paired_schema(
    left: Schema,
    right: Schema,
    keys: tuple[str, ...],
    suffix: str,
    how: How,
    added: tuple[tuple[str, pl.DataType], ...] = (),
) -> Schema:
    """Return what a join of two append streams by key gives; raises SchemaError."""
    if how not in ("inner", "left", "full"):
        raise SchemaError(f"how is {how!r}; it is one of 'inner', 'left' and 'full'")
    if not keys:
        raise SchemaError("the join has no key column; name those that both streams share")
    if right.key is not None:
        raise SchemaError(
            f"the right stream of the join is a changing table (upsert by "
            f"{', '.join(right.key)}); use .lookup(), which sees it as of each row's time"
        )
    return joined_schema(left, right, keys, keys, suffix, how, added)


class IntervalLogic(Logic):
    """The running form of an interval join.

    New rows of each side meet the stored rows of the other. Time is cut into buckets as long as
    the interval, and rows meet by (keys, bucket), so that the work for a key grows with what lies
    within reach, not with all that is stored.
    """

    __slots__ = ("_hold", "_layout", "_left", "_right", "_sides", "_spec", "_time_type")

    def __init__(self, spec: IntervalJoin, place: Place) -> None:
        left, right = place.inputs
        self._spec = spec
        self._layout = layout_of(left, right, spec.keys, spec.keys, spec.suffix)
        self._time_type = dict(left.columns)[spec.left_time]
        self._sides = TwoSided(place.operator, spec.left_time, spec.right_time)
        self._left = Stored(no_rows(left), spec.left_time, spec.keys, spec.how != "inner")
        self._right = Stored(no_rows(right), spec.right_time, spec.keys, spec.how == "full")
        self._hold = max(spec.after, 0, spec.before if spec.how == "full" else 0)

    @property
    def held_rows(self) -> int:
        """Rows that wait, and rows that may still be matched."""
        return self._sides.held_rows + self._left.rows.height + self._right.rows.height

    def receive(self, port: int, batch: Batch) -> Output:
        """Take a batch on an input; give the pairs and lone rows that are now known."""
        output = Output()
        watermark = self._sides.take(port, batch, output)
        found = self._pairs(
            self._left.add(self._sides.release(LEFT, watermark)),
            self._right.add(self._sides.release(RIGHT, watermark)),
        )
        found += self._alone(watermark)
        rows = None
        if found:
            rows = due_order(pl.concat(found), self._spec.keys, self._hold)
        output.batches.append(Batch(rows, behind(watermark, self._hold)))
        return output

    def snapshot(self) -> Tables:
        return with_parts(
            waiting=self._sides.snapshot(),
            left=self._left.snapshot(),
            right=self._right.snapshot(),
        )

    def restore(self, tables: Tables) -> None:
        self._sides.restore(part_of(tables, "waiting"))
        self._left.restore(part_of(tables, "left"))
        self._right.restore(part_of(tables, "right"))

    def _pairs(self, new_left: int, new_right: int) -> list[pl.DataFrame]:
        """Join what was added, from these numbers on, with itself and what was there before."""
        spec, left, right = self._spec, self._left.rows, self._right.rows
        frames: list[pl.DataFrame] = []
        if new_left < left.height:
            times = left[TIME]
            low, high = times[new_left] - spec.before, times[-1] + spec.after
            first, count = self._right.numbers(low, high + 1)
            frames.append(self._meet((new_left, left.height - new_left), (first, count)))
        if new_right < right.height:
            times = right[TIME]
            low, high = times[new_right] - spec.after, times[-1] + spec.before
            first, count = self._left.numbers(low, high + 1)
            count = min(count, new_left - first)
            if count > 0:
                frames.append(self._meet((first, count), (new_right, right.height - new_right)))
        met = [frame for frame in frames if frame.height]
        if not met:
            return []
        rows = pl.concat(met)
        self._left.matched(rows["left"].unique())
        self._right.matched(rows["right"].unique())
        pairs = self._layout.pairs(left, right, rows["left"], rows["right"])
        return [pairs.with_columns(rows["due"].alias(DUE))]

    def _meet(self, lefts: tuple[int, int], rights: tuple[int, int]) -> pl.DataFrame:
        """Return the numbers of the rows that match, and when each pair is due."""
        spec = self._spec
        keys = [f"key{number}" for number in range(len(spec.keys))]
        named = [pl.col(key).alias(name) for key, name in zip(spec.keys, keys, strict=True)]
        width = spec.before + spec.after + 1
        mine = _numbered(self._left.rows, lefts, "left").select(*named, TIME, "left")
        low = ((pl.col(TIME) - spec.before) // width).alias(_BUCKET)
        high = ((pl.col(TIME) + spec.after) // width).alias(_BUCKET)
        theirs = _numbered(self._right.rows, rights, "right").select(
            *named, pl.col(TIME).alias(_RIGHT_TIME), "right"
        )
        reach = pl.concat([mine.with_columns(low), mine.filter(low != high).with_columns(high)])
        distance = pl.col(_RIGHT_TIME) - pl.col(TIME)
        return (
            reach.join(
                theirs.with_columns((pl.col(_RIGHT_TIME) // width).alias(_BUCKET)),
                on=[*keys, _BUCKET],
            )
            .filter(distance.is_between(-spec.before, spec.after))
            .select("left", "right", pl.max_horizontal(TIME, _RIGHT_TIME).alias("due"))
        )

    def _alone(self, watermark: int) -> list[pl.DataFrame]:
        """Drop what no later row can match; return the rows of it that come out alone."""
        spec = self._spec
        frames: list[pl.DataFrame] = []
        wait = max(spec.after, 0)
        lefts = self._left.drop_before(behind(watermark, wait))
        if lefts is not None:
            every, none = _all_and_none(lefts.height)
            rows = self._layout.pairs(lefts, self._right.rows, every, none)
            frames.append(rows.with_columns((lefts[TIME] + wait).alias(DUE)))
        wait = max(spec.before, 0)
        rights = self._right.drop_before(behind(watermark, wait))
        if rights is not None:
            every, none = _all_and_none(rights.height)
            rows = self._layout.pairs(self._left.rows, rights, none, every)
            time = rights.select(microseconds_of(spec.right_time).cast(self._time_type))
            frames.append(
                rows.with_columns(
                    time.to_series().alias(spec.left_time), (rights[TIME] + wait).alias(DUE)
                )
            )
        return frames


def _numbered(rows: pl.DataFrame, part: tuple[int, int], name: str) -> pl.DataFrame:
    first, count = part
    numbers = pl.int_range(first, first + count, dtype=pl.Int64, eager=True).alias(name)
    return rows.slice(first, count).with_columns(numbers)


def _all_and_none(height: int) -> tuple[pl.Series, pl.Series]:
    every = pl.int_range(height, dtype=pl.Int64, eager=True)
    return every, pl.repeat(None, height, dtype=pl.Int64, eager=True)
