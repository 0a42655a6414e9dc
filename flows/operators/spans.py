"""Cuts each key's rows, in order, into the stretches that sessions and counts are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from ..graph import Place
from ..snapshot import Tables
from .rowfolds import SLOT
from .slots import Key, codes_of, key_columns

__all__ = ["Span", "segments", "span_table", "spans_in", "spans_of"]

_FIRST, _LAST, _ROWS = "_hw_first", "_hw_last", "_hw_rows"


@dataclass(slots=True)
class Span:
    """A window of one key in the making; times in µs."""

    key: Key
    slot: int
    first: int
    last: int
    rows: int = 0


def segments(
    codes: pa.Array, times: pl.Series, lasts: Sequence[int | None], gap: int
) -> pl.DataFrame:
    """Cut each key's rows where the time since the row before is `gap` or more.

    Returns `code`, `part`, `time`: part 0 goes on from `lasts` (the last time of each code, None
    for a new key), the others are counted from 1. Times do not fall.
    """
    frame = pl.DataFrame([pl.Series("code", codes), times.alias("time")])
    before = pl.Series("last", lasts, dtype=pl.Int64)
    return frame.with_columns(
        pl.coalesce(
            pl.col("time").shift(1).over("code"), before.gather(frame["code"])
        ).alias("last")
    ).select(
        "code",
        (pl.col("last").is_null() | (pl.col("time") - pl.col("last") >= gap))
        .cast(pl.Int64).cum_sum().over("code").alias("part"),
        "time",
    )  # fmt: skip


def spans_of(parts: pl.DataFrame) -> tuple[pa.Array, Iterator[tuple[int, int, int, int, int]]]:
    """Number the (code, part) pairs; return each row's number, and what there is of each pair.

    That is (code, part, first time, last time, rows), in the order of their first rows.
    """
    numbers, pairs = codes_of(parts, ["code", "part"])
    found = (
        parts.select("time", pl.Series("number", numbers))
        .group_by("number", maintain_order=True)
        .agg(
            pl.col("time").first().alias("first"),
            pl.col("time").last().alias("last"),
            pl.len().alias("rows"),
        )
        .select("first", "last", "rows")
    )
    both = zip(pairs, found.iter_rows(), strict=True)
    return numbers, ((code, part, *bounds) for (code, part), bounds in both)


def span_table(
    place: Place, keys: Sequence[str], spans: Sequence[Span], beside: pl.DataFrame | None = None
) -> Tables:
    """Return spans, if there are any, as the table ``windows``, with the columns of `beside`."""
    if not spans:
        return {}
    schema = place.inputs[0]
    # What stands for the times of a stream without event time is beyond those of a calendar.
    times = pl.Int64() if schema.event_time is None else pl.Datetime("us", "UTC")
    columns = [
        *key_columns(schema, keys, [span.key for span in spans]),
        pl.Series(_FIRST, [span.first for span in spans], dtype=pl.Int64).cast(times),
        pl.Series(_LAST, [span.last for span in spans], dtype=pl.Int64).cast(times),
        pl.Series(_ROWS, [span.rows for span in spans], dtype=pl.Int64),
        pl.Series(SLOT, [span.slot for span in spans], dtype=pl.Int64),
    ]
    return {"windows": pl.DataFrame([*columns, *(() if beside is None else beside.iter_columns())])}


def spans_in(tables: Tables, keys: Sequence[str]) -> list[Span]:
    """Return what `span_table` was given."""
    if "windows" not in tables:
        return []
    table = tables["windows"]
    columns = [table[name].to_physical().to_list() for name in (SLOT, _FIRST, _LAST, _ROWS)]
    found = zip(codes_of(table, keys)[1], *columns, strict=True)
    return [Span(key, *values) for key, *values in found]
