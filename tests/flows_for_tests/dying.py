"""A flow with keys of two kinds whose processes kill themselves where a file tells them to."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import polars as pl

import headwater as hw
from headwater.connectors import files


class Reading(hw.Event):
    at: hw.EventTime
    device: str
    n: int


class Total(hw.Event):
    at: hw.EventTime
    device: str
    parity: int
    sum: int


class Minute(hw.Event):
    at: hw.EventTime
    device: str
    rows: int
    middle: float


flow = hw.Flow("dying")


@flow.source(disorder="2s")
def readings() -> hw.Source[Reading]:
    return files.json_lines("readings/*.jsonl")


@flow.operator(readings)
def seen(row: Reading) -> Reading | None:
    dies("reading", row.n, os.getpid)
    return row if row.n % 11 else None


@flow.operator(seen, key="device")
def totals(row: Reading, sum: hw.State[int]) -> Total:
    dies("worker", row.n, os.getpid)
    dies("first", row.n, os.getppid)
    if row.n % 50 == 7:
        raise ValueError("refused")
    sum.value += row.n
    return Total(at=row.at, device=row.device, parity=sum.value % 2, sum=sum.value)


@flow.operator(totals, key="parity")
def again(row: Total, rows: hw.State[int]) -> Total:
    rows.value += 1
    return row.replace(sum=rows.value)


@flow.operator(seen)
def minutes(rows: hw.Stream[Reading]) -> hw.Stream[Minute]:
    windows = rows.key_by("device").window(hw.tumbling("10s"))
    return windows.agg(rows=pl.len(), middle=pl.col("n").median())


@flow.sink(totals)
def totals_out() -> hw.Sink:
    return files.to_json_lines("totals.jsonl")


@flow.sink(again)
def again_out() -> hw.Sink:
    return files.to_csv("again.csv")


@flow.sink(minutes)
def minutes_out() -> hw.Sink:
    return files.to_parquet("minutes.parquet")


def dies(where: str, n: int, process: Callable[[], int]) -> None:
    """End a process as the machine would, once, if there is a file of that name."""
    told = Path(f"{where}-{n}.die")
    if told.exists():
        told.unlink()
        os.kill(process(), signal.SIGKILL)
