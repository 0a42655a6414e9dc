"""The rows that a join gives: which columns, in which order, from which rows of its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from ..batch import HIDDEN, NO_ORIGIN, ORIGIN, WATERMARK
from ..errors import SchemaError
from ..schema import Schema, can_be_key
from .ordered import GROUP, canonical, with_group

__all__ = ["DUE", "How", "Layout", "due_order", "joined_schema", "layout_of", "no_rows"]

How = Literal["inner", "left", "full"]

DUE: Final = "_hw_due"
"""The column (Int64, µs) that holds the time at which an output row becomes known."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each output column comes from."""

    left: tuple[str, ...]
    """The columns of the left input, which keep their names."""
    right: tuple[tuple[str, str], ...]
    """The columns of the right input that come out, and the names they come out under."""
    left_keys: tuple[str, ...]
    right_keys: tuple[str, ...]

    def pairs(
        self, left: pl.DataFrame, right: pl.DataFrame, left_rows: pl.Series, right_rows: pl.Series
    ) -> pl.DataFrame:
        """Put rows side by side, by their numbers in `left` and `right`; null takes no row.

        The result has `ORIGIN` after its columns, the left row's; keys are there even without a
        left row.
        """
        mine = left.select(pl.col(*self.left, ORIGIN).gather(left_rows))
        theirs = right.select(pl.col(name).gather(right_rows).alias(to) for name, to in self.right)
        if left_rows.null_count():
            keys = [
                pl.coalesce(mine[key], right[other].gather(right_rows)).alias(key)
                for key, other in zip(self.left_keys, self.right_keys, strict=True)
            ]
            mine = mine.with_columns(*keys, pl.col(ORIGIN).fill_null(NO_ORIGIN))
        return mine.select(self.left).hstack([*theirs.get_columns(), mine[ORIGIN]])


def due_order(rows: pl.DataFrame, keys: Sequence[str], hold: int) -> pl.DataFrame:
    """Sort rows that have `DUE` and `ORIGIN` by (due, key group, columns) and stamp them.

    A row's `WATERMARK` is the time it was due less `hold` µs.
    """
    stamp = (pl.col(DUE) - hold).alias(WATERMARK)
    rows = rows.select(pl.exclude(ORIGIN), stamp, pl.col(ORIGIN))
    return canonical(with_group(rows, keys), [DUE, GROUP]).drop(DUE, GROUP)


def no_rows(schema: Schema) -> pl.DataFrame:
    """Return the frame without rows that an input of that schema has inside the engine."""
    return pl.DataFrame(schema=dict(schema.columns) | dict.fromkeys(HIDDEN, pl.Int64()))


def layout_of(
    left: Schema,
    right: Schema,
    left_keys: tuple[str, ...],
    right_keys: tuple[str, ...],
    suffix: str,
    added: Sequence[str] = (),
) -> Layout:
    """Lay out a join's columns; `added` are columns that the join itself puts after them.

    Raises SchemaError if two columns would get the same name.
    """
    names = tuple(name for name, _ in left.columns)
    for name in added:
        if name in names:
            raise SchemaError(
                f"the join adds the column {name!r}, which the left stream has already; "
                f"give the left stream's column another name first"
            )
    taken = {*names, *added}
    kept = [name for name, _ in right.columns if name not in right_keys]
    pairs = tuple((name, name + suffix if name in taken else name) for name in kept)
    for position, (name, to) in enumerate(pairs):
        if to in taken or any(to == other for _, other in pairs[:position]):
            raise SchemaError(
                f"the right stream's column {name!r} would come out as {to!r}, a name that is "
                f"taken; pass another suffix= or rename the column first"
            )
    return Layout(names, pairs, left_keys, right_keys)


def joined_schema(
    left: Schema,
    right: Schema,
    left_keys: tuple[str, ...],
    right_keys: tuple[str, ...],
    suffix: str,
    how: How = "inner",
    added: Sequence[tuple[str, pl.DataType]] = (),
) -> Schema:
    """Check two streams that are to be joined and return what comes out.

    Raises SchemaError if a stream has no event time, the left one is not append, a key is missing
    or its types differ, or two columns would get the same name.
    """
    for side, schema in (("left", left), ("right", right)):
        if schema.event_time is None:
            raise SchemaError(
                f"the {side} stream of a join has no event time; "
                f"give its event a field of type hw.EventTime"
            )
    if left.key is not None:
        raise SchemaError(
            f"the left stream of a join is a changing table (upsert by {_listed(left.key)}), "
            f"whose joined rows would have to be taken back; join before the operator that "
            f"makes it one"
        )
    _check_keys(left, right, left_keys, right_keys)
    layout = layout_of(left, right, left_keys, right_keys, suffix, [name for name, _ in added])
    dtypes = dict(right.columns)
    nullable = set(left.nullable)
    if how == "full":
        nullable |= set(layout.left) - {left.event_time}
    nullable |= {to for name, to in layout.right if how != "inner" or name in right.nullable}
    return Schema(
        columns=(*left.columns, *((to, dtypes[name]) for name, to in layout.right), *added),
        event_time=left.event_time,
        site=left.site,
        nullable=frozenset(nullable),
    )


def _check_keys(
    left: Schema, right: Schema, left_keys: tuple[str, ...], right_keys: tuple[str, ...]
) -> None:
    if len(left_keys) != len(right_keys):
        raise SchemaError(
            f"the join has {len(left_keys)} key columns on its left ({_listed(left_keys)}) and "
            f"{len(right_keys)} on its right ({_listed(right_keys)}); name as many on both sides"
        )
    for key, other in zip(left_keys, right_keys, strict=True):
        mine, theirs = _key_type("left", left, key), _key_type("right", right, other)
        if mine != theirs:
            raise SchemaError(
                f"the key {key!r} is {mine} in the left stream and {other!r} is {theirs} in the "
                f"right one; cast one of them, such as pl.col({other!r}).cast(pl.{mine})"
            )


def _key_type(side: str, schema: Schema, key: str) -> pl.DataType:
    dtypes = dict(schema.columns)
    if key not in dtypes:
        raise SchemaError(
            f"the key {key!r} is not in the {side} stream of the join, "
            f"which has {_listed(tuple(dtypes))}"
        )
    if key == schema.event_time:
        raise SchemaError(
            f"the key {key!r} is the {side} stream's event time, which the join compares by "
            f"itself; leave it out of the keys"
        )
    if not can_be_key(dtypes[key]):
        raise SchemaError(
            f"the key {key!r} is {dtypes[key]} in the {side} stream; a key is a plain value, "
            f"so make a column of the part that counts"
        )
    return dtypes[key]


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
