"""Windows by key against polars and pyarrow, which group rows by key and window.

``POLARS_MAX_THREADS=1 python -m benchmarks.kernels.windows``. The kernel gets batches of 65,536
rows with their watermarks and closes windows as they end; polars and pyarrow get all rows at once,
and polars also such batches, of whose results it makes one.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import polars as pl
import pyarrow as pa

from headwater.ext._windowing import WindowTable
from headwater.ext.windowing import END, START, WindowPart

_ROUNDS: Final = 5
_ROWS: Final = 2_000_000
_BATCH: Final = 65_536
_SECOND: Final = 1_000_000
_SIZE: Final = 10 * _SECOND
_PER_SECOND: Final = 10_000

Figure = tuple[str, float, str, float]
Call = Callable[[], pl.DataFrame]


def measure() -> list[Figure]:
    """What was done, our M rows/s, the best library and its."""
    rows = _rows()
    return [
        _tumbling("1,000 keys, text of 11 bytes", rows, ["device"]),
        _tumbling("1,000 keys, text of 36 bytes", rows, ["uuid"]),
        _tumbling("1,000 keys, int64", rows, ["number"]),
        _tumbling("1,000 keys, two texts", rows, ["site", "device"]),
        _tumbling("1,000,000 keys, text of 14 bytes", rows, ["many"]),
        _tumbling("1,000,000 keys, int64", rows, ["many_numbers"]),
        _hopping("60 s by 10 s, text of 11 bytes", rows, ["device"]),
    ]


def _tumbling(what: str, rows: pl.DataFrame, keys: list[str]) -> Figure:
    peers = {
        "polars": partial(_polars, rows, keys),
        "polars by batches": partial(_polars_by_batches, rows, keys),
        "pyarrow": partial(_pyarrow, rows, keys),
    }
    return _figure(f"10 s, {what}", partial(_ours, rows, keys, _SIZE), peers)


def _hopping(what: str, rows: pl.DataFrame, keys: list[str]) -> Figure:
    peers = {"polars, panes merged": partial(_polars_hopping, rows, keys)}
    return _figure(what, partial(_ours, rows, keys, 6 * _SIZE), peers)


_PARTS: Final = (
    WindowPart("len"),
    WindowPart("mean", "temp", True),
    WindowPart("max", "temp", True),
)
_TEMP: Final = pl.col("temp")


def _ours(rows: pl.DataFrame, keys: list[str], size: int) -> pl.DataFrame:
    schema = pa.RecordBatchReader.from_stream(rows.select(keys).clear()).schema
    table = WindowTable(schema, _PARTS, size=size, every=_SIZE, time="ts", watermark="mark")
    found = []
    for begin in range(0, rows.height, _BATCH):
        table.add(rows[begin : begin + _BATCH])
        found.append(table.take())
    table.close(END)
    found.append(table.take())
    made = pl.concat([pl.DataFrame(batch) for batch in found if batch is not None])
    made.columns = [*keys, "end", "n", "mean", "peak"]
    return made


def _polars(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    return (
        rows.lazy()
        .group_by(*keys, end=_end())
        .agg(n=pl.len().cast(pl.Int64), mean=_TEMP.mean(), peak=_TEMP.max())
        .collect()
    )


def _polars_by_batches(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    parts = [
        rows[begin : begin + _BATCH]
        .lazy()
        .group_by(*keys, end=_end())
        .agg(n=pl.len().cast(pl.Int64), total=_TEMP.sum(), peak=_TEMP.max())
        .collect()
        for begin in range(0, rows.height, _BATCH)
    ]
    return _merged(pl.concat(parts), keys)


def _polars_hopping(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    panes = (
        rows.lazy()
        .group_by(*keys, end=_end())
        .agg(n=pl.len().cast(pl.Int64), total=_TEMP.sum(), peak=_TEMP.max())
        .collect()
    )
    hops = [panes.with_columns(pl.col("end") + hop * _SIZE) for hop in range(6)]
    return _merged(pl.concat(hops), keys)


def _merged(parts: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    return parts.group_by(*keys, "end").agg(
        pl.col("n").sum(),
        mean=pl.col("total").sum() / pl.col("n").sum(),
        peak=pl.col("peak").max(),
    )


def _pyarrow(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    table = rows.select(*keys, "temp", end=_end()).to_arrow()
    found = table.group_by([*keys, "end"], use_threads=False).aggregate(
        [("temp", "count"), ("temp", "mean"), ("temp", "max")]
    )
    made = pl.DataFrame(found)
    made.columns = [*keys, "end", "n", "mean", "peak"]
    return made


def _end() -> pl.Expr:
    return pl.col("ts").dt.truncate("10s").to_physical() + _SIZE


def _figure(what: str, ours: Call, peers: Mapping[str, Call]) -> Figure:
    """Rows by the seconds of the fastest call of several rounds, in which all take turns."""
    own = ours()
    for call in peers.values():
        _check_same(own, call())
    seconds = dict.fromkeys(("", *peers), math.inf)
    for _ in range(_ROUNDS):
        for name, call in (("", ours), *peers.items()):
            begun = time.perf_counter()
            call()
            seconds[name] = min(seconds[name], time.perf_counter() - begun)
    rate = _ROWS * 1e-6 / seconds.pop("")
    best = min(seconds, key=seconds.__getitem__)
    return what, rate, best, _ROWS * 1e-6 / seconds[best]


def _check_same(ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
    """Raise AssertionError unless the windows are the same, the means but for rounding."""
    keys = [name for name in ours.columns if name not in ("n", "mean", "peak")]
    one, other = ours.sort(keys), theirs.select(ours.columns).sort(keys)
    assert one.drop("mean").equals(other.drop("mean"))
    assert (one["mean"] - other["mean"]).abs().max() < 1e-9  # type: ignore[operator]


def _rows() -> pl.DataFrame:
    """Readings up to two seconds late, and the watermark before each."""
    number = pl.int_range(_ROWS, dtype=pl.Int64)
    drawn = {name: (number + place * _ROWS).hash(7) // 2**33 for place, name in enumerate("abc")}
    device, many = (drawn["a"] % 1000).cast(pl.Int64), number * 7919 % 1_000_000
    late = (drawn["b"] % 2_000_000).cast(pl.Int64)
    digits = device.cast(pl.String).str.zfill(4)
    rows = pl.select(
        ts=(1_700_000_000 * _SECOND + number * _SECOND // _PER_SECOND - late).cast(
            pl.Datetime("us", "UTC")
        ),
        device="device-" + digits,
        uuid="00000000-0000-4000-8000-00000000" + digits,
        site="site-" + (device % 20).cast(pl.String),
        number=device,
        many="device-" + many.cast(pl.String).str.zfill(7),
        many_numbers=many,
        temp=(drawn["c"] % 2000) / 100 + 15,
    )
    newest = pl.col("ts").to_physical().cum_max().shift(1) - 2 * _SECOND
    return rows.with_columns(mark=newest.fill_null(START)).rechunk()


def _main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for what, ours, peer, theirs in measure():
        print(f"{what:44} {ours:8.1f}   {peer:24} {theirs:8.1f}   ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    _main()
