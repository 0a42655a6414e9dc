"""What moves between operators: batches of rows with their watermarks.

Beside the columns of its schema, a frame inside the engine has the columns of `HIDDEN`, always
last and in this order:

- `WATERMARK` (Int64, µs): the watermark of the row's own source partition just before the row.
  It is a function of the row's position, never of how batches were cut; a row is late by it.
- `ORIGIN` (Int64): where the row was read, see `origin_of`; `NO_ORIGIN` for rows that an operator
  made of several.

An upsert stream has `DELETED` (Boolean) after its own columns and before the hidden ones.

Every stream is in canonical order: `WATERMARK` never falls from row to row, and an operator with
state emits rows that become due at the same time by key group. So streams from several channels
merge to the same order however the rows were cut into batches or keys into shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import polars as pl

from .connector import DELETED
from .snapshot import Tables

__all__ = [
    "DELETED",
    "END",
    "HIDDEN",
    "KEY_GROUPS",
    "NO_ORIGIN",
    "ORIGIN",
    "START",
    "WATERMARK",
    "Batch",
    "DeadRow",
    "Logic",
    "Output",
    "as_several",
    "concatenated",
    "hide",
    "origin_of",
    "origins",
    "partition_and_offset",
    "visible",
]

WATERMARK: Final = "_hw_watermark"
ORIGIN: Final = "_hw_origin"
HIDDEN: Final = (WATERMARK, ORIGIN)

START: Final = -(2**62)
"""The watermark before the first row."""
END: Final = 2**62
"""The watermark after the last row."""
NO_ORIGIN: Final = -1
KEY_GROUPS: Final = 128
"""Key groups of a flow; a shard has a contiguous range of them."""

_OFFSET_BITS: Final = 46


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one channel, in canonical order, and the channel's watermark after them.

    The watermark promises that no later row of the channel that is on time has an earlier event
    time. `rows` is None when only the watermark moved.
    """

    rows: pl.DataFrame | None
    watermark: int


@dataclass(frozen=True, slots=True)
class DeadRow:
    """A row that an operator could not take, on its way to the dead-letter stream."""

    operator: str
    raw: bytes
    reason: str
    origin: int = NO_ORIGIN
    watermark: int = START


@dataclass(slots=True)
class Output:
    """What one step of an operator gives: batches on its main output, late and dead rows."""

    batches: list[Batch] = field(default_factory=list)
    late: list[pl.DataFrame] = field(default_factory=list)
    dead: list[DeadRow] = field(default_factory=list)


class Logic:
    """The running form of an operator: a state machine without I/O.

    `receive` takes a batch on an input and gives what follows from it. Results depend on the rows
    and watermarks of each input alone, not on how they were cut or which input came first.
    """

    __slots__ = ()
    layout: ClassVar[int] = 1
    """The version of the tables that `snapshot` gives."""

    def receive(self, port: int, batch: Batch) -> Output:
        """Take a batch on input `port`."""
        raise NotImplementedError  # pragma: no cover - every operator defines it

    @property
    def ticks(self) -> bool:
        """Whether it goes by processing time, so that `tick` is called."""
        return type(self).tick is not Logic.tick

    def tick(self, now: int) -> Output | None:
        """Processing time is `now` (µs); called once a step, before its batches."""
        return None

    def snapshot(self) -> Tables:
        """Return what it remembers between two calls; later calls do not change the tables.

        Whatever cannot be made anew from the operator's description is in them.
        """
        return {}

    def restore(self, tables: Tables) -> None:
        """Take back what `snapshot` gave; called on a fresh one, built from the same description.

        What it gives afterwards is, bit for bit, what the one that gave the tables would have.
        """

    def close(self) -> None:
        """Let go of what is held outside memory; nothing is called afterwards."""


def hide(rows: pl.DataFrame, watermark: pl.Expr, origin: pl.Expr | None = None) -> pl.DataFrame:
    """Return `rows` with the hidden columns added."""
    return rows.with_columns(
        watermark.cast(pl.Int64).alias(WATERMARK),
        (pl.lit(NO_ORIGIN, pl.Int64) if origin is None else origin).alias(ORIGIN),
    )


def visible(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `rows` without the hidden columns."""
    return rows.drop(HIDDEN)


def origin_of(partition: int, offset: int) -> int:
    """Pack a flow-wide partition number and an offset within it."""
    return partition << _OFFSET_BITS | offset


def partition_and_offset(origin: int) -> tuple[int, int]:
    """Undo `origin_of`."""
    return origin >> _OFFSET_BITS, origin & ((1 << _OFFSET_BITS) - 1)


def origins(partition: int, offsets: pl.Series) -> pl.Series:
    """Pack a column of offsets of one partition."""
    packed = offsets + (partition << _OFFSET_BITS) if partition else offsets
    return packed.alias(ORIGIN)


def as_several(rows: pl.DataFrame, names: Sequence[str] | None = None) -> pl.DataFrame:
    """Return rows (of them, the columns `names`) in one form, whatever they come from.

    One row is given as two, chunks are made one, and a column that polars keeps as one value and
    a count is written out. `operators.rowwise` says what for.
    """
    columns = rows.get_columns() if names is None else [rows.get_column(name) for name in names]
    if rows.height == 1:
        columns = [column.clone().extend(column) for column in columns]
    return pl.DataFrame(columns).rechunk()


def concatenated(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the frames one after the other; there is at least one, all of one schema."""
    return frames[0] if len(frames) == 1 else pl.concat(frames, rechunk=True)
