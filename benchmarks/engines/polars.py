"""The jobs in polars, on one thread and all rows at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Final

import polars as pl

from ..functions import WARM, calibrated
from ..work import Inputs, Prepare, Result, Totals, Work

__all__ = ["PREPARE", "TEXT_SCHEMA"]

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
_F: Final = ("f",)
_WINDOW: Final = ("n", "mean", "peak")
_PANES: Final = 6
_REACH: Final = pl.duration(seconds=5)

Query = Callable[[pl.LazyFrame], pl.LazyFrame]


def _warm(rows: pl.LazyFrame) -> pl.LazyFrame:
    warm = rows.filter(pl.col("temp") > WARM).with_columns(f=pl.col("temp") * 9 / 5 + 32)
    return warm.select("ts", "device", "site", "temp", "status", "f")


def _tumbling(rows: pl.LazyFrame) -> pl.LazyFrame:
    temp = pl.col("temp")
    windows = rows.group_by("device", start=pl.col("ts").dt.truncate("10s"))
    return windows.agg(n=pl.len(), mean=temp.mean(), peak=temp.max())


def _hopping(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Aggregate panes of 10 s, and windows from the six panes that each is made of."""
    temp = pl.col("temp")
    panes = rows.group_by("device", pane=pl.col("ts").dt.truncate("10s")).agg(
        n=pl.len(), sum=temp.sum(), peak=temp.max()
    )
    back = pl.concat([pl.duration(seconds=10 * number) for number in range(_PANES)])
    spread = panes.with_columns(back=back.implode()).explode("back")
    windows = spread.group_by("device", start=pl.col("pane") - pl.col("back"))
    summed = windows.agg(pl.col("n", "sum").sum(), pl.col("peak").max())
    return summed.with_columns(mean=pl.col("sum") / pl.col("n"))


def _mapped(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.with_columns(
        f=pl.col("temp").map_elements(lambda temp: temp * 9 / 5 + 32, return_dtype=pl.Float64)
    )


def _looked_up(rows: pl.LazyFrame) -> pl.LazyFrame:
    def with_f(row: dict[str, Any]) -> float:
        return calibrated(row["device"], row["site"], row["temp"])

    needed = pl.struct("device", "site", "temp")
    return rows.with_columns(f=needed.map_elements(with_f, return_dtype=pl.Float64))


def _joined(left: pl.LazyFrame, right: pl.LazyFrame) -> pl.LazyFrame:
    """Join buckets of 5 s with themselves and the next, and keep the pairs that are near enough."""
    bucket = pl.col("ts").dt.epoch("ms") // 5000
    twice = pl.concat([left.with_columns(bucket=bucket + later) for later in (0, 1)])
    pairs = twice.join(right.with_columns(bucket=bucket), on=("device", "bucket"))
    return pairs.filter(pl.col("ts_right").is_between("ts", pl.col("ts") + _REACH))


def _summed(query: Query, columns: tuple[str, ...], fleet: str = "sensors") -> Prepare:
    """A query over a frame in memory whose rows are summed up."""

    def prepare(inputs: Inputs) -> Work:
        totals = Totals(columns)
        lazy = query(inputs.frame(fleet).lazy())
        return Work(lambda: totals.add(lazy.collect()), totals.result)

    return prepare


def _of_functions(query: Query) -> Prepare:
    """Likewise with a Python function per row, about which polars warns."""

    def prepare(inputs: Inputs) -> Work:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pl.exceptions.PolarsInefficientMapWarning)
            return _summed(query, _F)(inputs)

    return prepare


def _from_parquet(inputs: Inputs) -> Work:
    totals = Totals(_F)
    lazy = _warm(pl.scan_parquet(inputs.file("parquet")))
    return Work(lambda: totals.add(lazy.collect()), totals.result)


def _through_json(query: Query) -> Prepare:
    """From a file of JSON Lines to another."""

    def prepare(inputs: Inputs) -> Work:
        source, target = inputs.file("jsonl"), inputs.out / f"{inputs.rows}.jsonl"

        def run() -> None:
            rows = pl.read_ndjson(source, schema=TEXT_SCHEMA).lazy()
            query(rows).collect().write_ndjson(target)

        def result() -> Result:
            totals = Totals(_F)
            totals.add(pl.read_ndjson(target))
            return totals.result()

        return Work(run, result)

    return prepare


def _messages(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.filter(pl.col("temp") > WARM).with_columns(f=pl.col("temp") * 9 / 5 + 32)


def _warm_with_times(rows: pl.LazyFrame) -> pl.LazyFrame:
    return _warm(rows.with_columns(pl.from_epoch("ts", "ms").dt.replace_time_zone("UTC")))


def _pairs(inputs: Inputs) -> Work:
    totals = Totals(("temp", "hum"))
    left = inputs.frame("left").select("ts", "device", "temp")
    right = inputs.frame("right").select("ts", "device", "hum")
    lazy = _joined(left.lazy(), right.lazy())
    return Work(lambda: totals.add(lazy.collect()), totals.result)


PREPARE: Final[dict[str, Prepare]] = {
    "A": _summed(_warm, _F),
    "A-parquet": _from_parquet,
    "B": _summed(_tumbling, _WINDOW),
    "C": _through_json(_messages),
    "C-columns": _through_json(_warm_with_times),
    "D-vector": _of_functions(_mapped),
    "D-python": _of_functions(_looked_up),
    "E": _summed(_hopping, _WINDOW),
    "F": _pairs,
    "G": _summed(_tumbling, _WINDOW, "keys"),
}
