"""Which rows each sliding window has, and how many windows are folded at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl
import pyarrow as pa

__all__ = ["chunks_of", "windows_of"]


def windows_of(codes: pa.Array, times: pl.Series, size: int) -> tuple[pl.Series, pl.DataFrame]:
    """Return the order that sorts rows by key, and a window for each distinct (key, time).

    A window is (code, time, place, from, to): its newest rows begin at `place` before the sort,
    all its rows are at from..to after it. Times do not fall.
    """
    frame = pl.DataFrame([pl.Series("code", codes), times.alias("time")])
    frame = frame.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("place"))
    frame = frame.sort("code", maintain_order=True)
    runs = (
        frame.group_by("code", "time", maintain_order=True)
        .agg(pl.col("place").first(), pl.len().cast(pl.Int64).alias("rows"))
        .with_columns(
            pl.col("rows").cum_sum().alias("to"),
            (pl.col("time") - size).alias("before"),
        )
        .with_columns((pl.col("to") - pl.col("rows")).min().over("code").alias("begin"))
    )
    passed = runs.select("code", "time", pl.col("to").alias("from"))
    found = runs.drop("rows").join_asof(
        passed, left_on="before", right_on="time", by="code", check_sortedness=False
    )
    return frame["place"], found.with_columns(pl.coalesce("from", "begin").alias("from"))


def chunks_of(sizes: Sequence[int], most: int) -> Iterable[tuple[int, int]]:
    """Yield ranges of windows that hold about `most` rows together."""
    begin = held = 0
    for place, size in enumerate(sizes):
        if held and held + size > most:
            yield begin, place
            begin, held = place, 0
        held += size
    yield begin, len(sizes)
