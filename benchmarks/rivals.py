"""The same jobs in polars, on one thread and all rows at once, and in plain Python."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import polars as pl

__all__ = [
    "TEXT_SCHEMA",
    "as_dicts",
    "dicts_with_f",
    "json_lines_by_python",
    "mapped",
    "warm",
    "windowed",
]

TEXT_SCHEMA: Final = pl.Schema(
    {
        "ts": pl.Int64(),
        "device": pl.String(),
        "site": pl.String(),
        "temp": pl.Float64(),
        "hum": pl.Float64(),
        "status": pl.String(),
    }
)


def warm(rows: pl.LazyFrame) -> pl.DataFrame:
    """Return the warm readings with Fahrenheit, without humidity."""
    return (
        rows.filter(pl.col("temp") > 25)
        .with_columns(f=pl.col("temp") * 9 / 5 + 32)
        .select("ts", "device", "site", "temp", "status", "f")
        .collect()
    )


def windowed(rows: pl.LazyFrame) -> pl.DataFrame:
    """Return count, mean and maximum by device and 10 s of event time."""
    temp = pl.col("temp")
    return (
        rows.group_by("device", start=pl.col("ts").dt.truncate("10s"))
        .agg(n=pl.len(), mean=temp.mean(), peak=temp.max())
        .collect()
    )


def mapped(rows: pl.LazyFrame) -> pl.DataFrame:
    """Return the readings with Fahrenheit, made by a Python function that is called per row."""
    return rows.with_columns(
        f=pl.struct(pl.all()).map_elements(
            lambda row: row["temp"] * 9 / 5 + 32, return_dtype=pl.Float64
        )
    ).collect()


def as_dicts(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the readings as dicts: what a plain Python loop is given."""
    return rows.to_dicts()


def dicts_with_f(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the readings with Fahrenheit, as new dicts."""
    return [_with_f(row) for row in rows]


def _with_f(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "ts": row["ts"],
        "device": row["device"],
        "site": row["site"],
        "temp": row["temp"],
        "status": row["status"],
        "f": row["temp"] * 9 / 5 + 32,
    }


def json_lines_by_python(source: Path, target: Path) -> None:
    """Write the warm readings of a JSON Lines file with Fahrenheit, by a plain loop."""
    loads, dumps = json.loads, json.dumps
    with source.open("rb") as lines, target.open("w") as out:
        for line in lines:
            row = loads(line)
            if row["temp"] > 25:
                out.write(dumps(_with_f(row)) + "\n")
