"""Cuts each key's rows, in order, into the stretches that sessions and counts are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from .slots import Key, codes_of

__all__ = ["Span", "segments", "spans_of"]


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
