"""A flow with keyed windows, a join and keyed state, over 5 million readings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl

import headwater as hw
from headwater.connectors import files


class Where(hw.Settings):
    data: Path = Path()
    out: Path = Path()


class Reading(hw.Event):
    ts: Annotated[hw.EventTime, hw.Unit("ms")]
    device: str
    site: hw.Site
    temp: float
    hum: float
    status: str


class Window(hw.Event):
    ts: hw.EventTime
    device: str
    n: int
    mean: float
    peak: float


class Damp(hw.Event):
    ts: hw.EventTime
    device: str
    humid: int


class Both(hw.Event):
    ts: hw.EventTime
    device: str
    n: int
    mean: float
    peak: float
    humid: int


class Change(hw.Event):
    ts: hw.EventTime
    device: str
    changes: int


flow = hw.Flow("crashes", settings=Where)


@flow.source(disorder="2s")
def readings(where: Where) -> hw.Source[Reading]:
    return files.parquet(where.data)


@flow.operator(readings)
def windows(rows: hw.Stream[Reading]) -> hw.Stream[Window]:
    keyed = rows.key_by("device").window(hw.tumbling("10s"))
    temp = pl.col("temp")
    return keyed.agg(n=pl.len(), mean=temp.mean(), peak=temp.max())


@flow.operator(readings)
def damp(rows: hw.Stream[Reading]) -> hw.Stream[Damp]:
    keyed = rows.filter(pl.col("hum") > 79.5).key_by("device").window(hw.tumbling("10s"))
    return keyed.agg(humid=pl.len())


@flow.operator(windows, damp)
def both(left: hw.Stream[Window], right: hw.Stream[Damp]) -> hw.Stream[Both]:
    return left.join_interval(right, by="device", before="5s", after="5s")


@flow.operator(windows, key="device")
def warmer(row: Window, last: hw.State[float], changes: hw.State[int]) -> Change | None:
    warm = row.mean > last.value
    last.value = row.mean
    changes.value += warm
    return Change(ts=row.ts, device=row.device, changes=changes.value) if warm else None


@flow.sink(windows)
def all_windows(where: Where) -> hw.Sink:
    return files.to_csv(where.out / "windows.csv")


@flow.sink(both)
def joined(where: Where) -> hw.Sink:
    return files.to_parquet(where.out / "joined.parquet")


@flow.sink(warmer)
def changes(where: Where) -> hw.Sink:
    return files.to_json_lines(where.out / "changes.jsonl")
