"""What windows have in common: the columns of their rows, and the rows that go into them.

Windows that close together leave by end, then by the hash of their key, then by key. A key's group
is the uppermost part of its hash, so that this is an order by key group as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Literal

import polars as pl

from ...ext import row_hashes
from ..batch import END, START, concatenated
from ..decompose import Buffered, Incremental
from ..errors import SchemaError
from ..schema import Schema, can_be_key
from ..windows import HoppingWindow, WholeWindow
from .slots import Key, key_columns

__all__ = [
    "BEGIN",
    "WINDOW_TIME",
    "Emit",
    "aggregated_schema",
    "assigned",
    "by_hash",
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
_HASH: Final = "_hw_hash"


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
        if not can_be_key(schema.dtype(key)):
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


def by_hash(rows: pl.DataFrame, first: Sequence[str], keys: Sequence[str]) -> pl.DataFrame:
    """Sort rows by `first`, then by the hash of their key, then by key."""
    if not keys:
        return rows.sort(first, maintain_order=True) if first else rows
    hashes = row_hashes([rows[key].rechunk() for key in keys])
    return (
        rows.with_columns(pl.Series(_HASH, hashes))
        .sort(*first, _HASH, *keys, maintain_order=True)
        .drop(_HASH)
    )


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
