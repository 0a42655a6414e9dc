"""The jobs as Headwater flows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import polars as pl

import headwater as hw
from headwater.edge.clock import SystemClock
from headwater.flows.engine.runner import Options, Runner

from .sensors import DISORDER

__all__ = [
    "Reading",
    "Warm",
    "Windowed",
    "by_device",
    "chain",
    "fahrenheit",
    "run",
    "warm_by_columns",
    "warm_by_row",
    "windowed",
]


class Reading(hw.Event):
    ts: Annotated[hw.EventTime, hw.Unit("ms")]
    device: str
    site: hw.Site
    temp: float
    hum: float
    status: str


class Warm(hw.Event):
    ts: hw.EventTime
    device: str
    site: hw.Site
    temp: float
    status: str
    f: float


class Windowed(hw.Event):
    ts: hw.EventTime
    device: str
    start: datetime
    n: int
    mean: float | None
    peak: float | None


def run(flow: hw.Flow) -> None:
    """Run a flow in this thread; raises ValueError if a row became a dead letter."""
    dead = Runner(flow.graph(), SystemClock(), Options(), lambda rows: None).run().dead
    if dead:
        raise ValueError(f"{dead} rows of {flow.name} are dead letters")


def _warm(rows: hw.Stream[Reading]) -> hw.Stream[Any]:
    found = rows.filter(pl.col("temp") > 25).with_columns(f=pl.col("temp") * 9 / 5 + 32)
    return found.select("ts", "device", "site", "temp", "status", "f")


def warm_by_columns(source: hw.Source[Any], sink: hw.Sink) -> hw.Flow:
    """Return jobs A and C by columns: a filter, a new column, a column less."""
    flow = hw.Flow("warm-by-columns")

    @flow.source
    def readings() -> hw.Source[Reading]:
        return source

    @flow.operator(readings)
    def warm(rows: hw.Stream[Reading]) -> hw.Stream[Warm]:
        return _warm(rows)

    @flow.sink(warm)
    def out() -> hw.Sink:
        return sink

    return flow


def warm_by_row(source: hw.Source[Any], sink: hw.Sink) -> hw.Flow:
    """Return job C by a Python function per row."""
    flow = hw.Flow("warm-by-row")

    @flow.source
    def readings() -> hw.Source[Reading]:
        return source

    @flow.operator(readings)
    def warm(row: Reading) -> Warm | None:
        if row.temp <= 25:
            return None
        return _with_f(row)

    @flow.sink(warm)
    def out() -> hw.Sink:
        return sink

    return flow


def _with_f(row: Reading) -> Warm:
    return Warm(
        ts=row.ts,
        device=row.device,
        site=row.site,
        temp=row.temp,
        status=row.status,
        f=row.temp * 9 / 5 + 32,
    )


def fahrenheit(source: hw.Source[Any], sink: hw.Sink) -> hw.Flow:
    """Return job D: a Python function per row adds a field."""
    flow = hw.Flow("fahrenheit")

    @flow.source
    def readings() -> hw.Source[Reading]:
        return source

    @flow.operator(readings)
    def with_f(row: Reading) -> Warm:
        return _with_f(row)

    @flow.sink(with_f)
    def out() -> hw.Sink:
        return sink

    return flow


def by_device(rows: hw.Stream[Reading]) -> hw.Stream[Any]:
    """Return count, mean and maximum by device and 10 s of event time."""
    temp = pl.col("temp")
    window = rows.key_by("device").window(hw.tumbling("10s"))
    return window.agg(n=pl.len(), mean=temp.mean(), peak=temp.max())


def windowed(source: hw.Source[Any], sink: hw.Sink) -> hw.Flow:
    """Return job B: a window of 10 s of event time by device."""
    flow = hw.Flow("windowed")

    @flow.source(disorder=DISORDER)
    def readings() -> hw.Source[Reading]:
        return source

    @flow.operator(readings)
    def windows(rows: hw.Stream[Reading]) -> hw.Stream[Windowed]:
        return by_device(rows)

    @flow.sink(windows)
    def out() -> hw.Sink:
        return sink

    return flow


def chain(source: hw.Source[Any], sink: hw.Sink, steps: int, make: Callable[[Any], Any]) -> hw.Flow:
    """Return a flow of `steps` operators in a row, each of which applies `make` to its stream."""
    flow = hw.Flow("chain")

    @flow.source
    def readings() -> hw.Source[Reading]:
        return source

    def step(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
        made: hw.Stream[Reading] = make(rows)
        return made

    last: hw.Operator[..., Any] = readings
    for number in range(steps):
        last = flow.operator(last, name=f"step-{number}")(step)

    @flow.sink(last)
    def out() -> hw.Sink:
        return sink

    return flow
