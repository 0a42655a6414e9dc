"""A flow with nothing to do, for `headwater run`: it waits for readings that nobody posts."""

from typing import Any

import polars as pl

import headwater as hw
from benchmarks.pipelines import Reading, Windowed, by_device
from headwater.connectors import http, stdio

READY = "listens on"

flow = hw.Flow("idle")


def _listening(port: int) -> None:
    print(READY, port, flush=True)


@flow.source(disorder="2s")
def readings() -> hw.Source[Reading]:
    source: hw.Source[Any] = http.events(0, on_listen=_listening)
    return source


@flow.operator(readings)
def warm(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows.filter(pl.col("temp") > 25)


@flow.operator(warm)
def windows(rows: hw.Stream[Reading]) -> hw.Stream[Windowed]:
    return by_device(rows)


@flow.sink(windows)
def out() -> hw.Sink:
    return stdio.to_json_lines()
