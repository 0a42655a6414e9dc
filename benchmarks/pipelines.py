"""The jobs as Headwater flows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import polars as pl

import headwater as hw
from headwater.edge.clock import SystemClock
from headwater.flows.engine.runner import Options, Runner

from .functions import WARM, calibrated
from .sensors import DISORDER

__all__ = [
    "Message",
    "Reading",
    "Warm",
    "Windowed",
    "by_device",
    "chain",
    "hopping",
    "joined",
    "looked_up",
    "messages",
    "run",
    "tumbling",
    "vectorizable",
    "warm",
    "warm_by_columns",
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


class Fahrenheit(hw.Event):
    ts: hw.EventTime
    device: str
    site: hw.Site
    temp: float
    hum: float
    status: str
    f: float


class Message(hw.Event):
    """A reading as a program that only passes it on would take it: its time is a number."""

    ts: int
    device: str
    site: str
    temp: float
    hum: float
    status: str


class MessageWithF(hw.Event):
    ts: int
    device: str
    site: str
    temp: float
    hum: float
    status: str
    f: float


class Windowed(hw.Event):
    ts: hw.EventTime
    device: str
    start: datetime
    n: int
    mean: float | None
    peak: float | None


class Left(hw.Event):
    ts: hw.EventTime
    device: str
    temp: float


class Right(hw.Event):
    ts: hw.EventTime
    device: str
    hum: float


class Pair(hw.Event):
    ts: hw.EventTime
    device: str
    temp: float
    hum: float


Source = hw.Source[Any]


def run(flow: hw.Flow) -> None:
    """Run a flow in this thread; raises ValueError if a row became a dead letter."""
    dead = Runner(flow.graph(), SystemClock(), Options(), lambda rows: None).run().dead
    if dead:
        raise ValueError(f"{dead} rows of {flow.name} are dead letters")


def warm(rows: hw.Stream[Any]) -> hw.Stream[Any]:
    """Return the warm readings with Fahrenheit, without humidity."""
    found = rows.filter(pl.col("temp") > WARM).with_columns(f=pl.col("temp") * 9 / 5 + 32)
    return found.select("ts", "device", "site", "temp", "status", "f")


def by_device(rows: hw.Stream[Reading], every: str = "10s", size: str = "10s") -> hw.Stream[Any]:
    """Return count, mean and maximum by device and window of event time."""
    temp = pl.col("temp")
    window = rows.key_by("device").window(hw.hopping(size, every=every))
    return window.agg(n=pl.len(), mean=temp.mean(), peak=temp.max())


def warm_by_columns(source: Source, sink: hw.Sink) -> hw.Flow:
    """Return jobs A and C by columns: a filter, a new column, a column less."""
    flow = hw.Flow("warm-by-columns")

    @flow.source
    def readings() -> hw.Source[Reading]:
        return source

    @flow.operator(readings, name="warm")
    def only_warm(rows: hw.Stream[Reading]) -> hw.Stream[Warm]:
        return warm(rows)

    @flow.sink(only_warm)
    def out() -> hw.Sink:
        return sink

    return flow


def messages(source: Source, sink: hw.Sink) -> hw.Flow:
    """Return job C: a Python function filters and adds a field."""
    flow = hw.Flow("messages")

    @flow.source
    def received() -> hw.Source[Message]:
        return source

    @flow.operator(received, name="warm")
    def only_warm(row: Message) -> MessageWithF | None:
        if row.temp <= 25:
            return None
        return MessageWithF(
            ts=row.ts,
            device=row.device,
            site=row.site,
            temp=row.temp,
            hum=row.hum,
            status=row.status,
            f=row.temp * 9 / 5 + 32,
        )

    @flow.sink(only_warm)
    def out() -> hw.Sink:
        return sink

    return flow


def vectorizable(source: Source, sink: hw.Sink) -> hw.Flow:
    """Return job D with a Python function of arithmetic alone."""
    flow = hw.Flow("vectorizable")

    @flow.source
    def readings() -> hw.Source[Reading]:
        return source

    @flow.operator(readings)
    def with_f(row: Reading) -> Fahrenheit:
        return Fahrenheit(
            ts=row.ts,
            device=row.device,
            site=row.site,
            temp=row.temp,
            hum=row.hum,
            status=row.status,
            f=row.temp * 9 / 5 + 32,
        )

    @flow.sink(with_f)
    def out() -> hw.Sink:
        return sink

    return flow


def looked_up(source: Source, sink: hw.Sink) -> hw.Flow:
    """Return job D with a Python function that needs Python: a dict and a regular expression."""
    flow = hw.Flow("looked-up")

    @flow.source
    def readings() -> hw.Source[Reading]:
        return source

    @flow.operator(readings)
    def with_f(row: Reading) -> Fahrenheit:
        return Fahrenheit(
            ts=row.ts,
            device=row.device,
            site=row.site,
            temp=row.temp,
            hum=row.hum,
            status=row.status,
            f=calibrated(row.device, row.site, row.temp),
        )

    @flow.sink(with_f)
    def out() -> hw.Sink:
        return sink

    return flow


def tumbling(source: Source, sink: hw.Sink) -> hw.Flow:
    """Return jobs B and G: a window of 10 s of event time by device."""
    return _windowed(source, sink, "10s")


def hopping(source: Source, sink: hw.Sink) -> hw.Flow:
    """Return job E: a window of 60 s of event time by device, every 10 s."""
    return _windowed(source, sink, "60s")


def _windowed(source: Source, sink: hw.Sink, size: str) -> hw.Flow:
    flow = hw.Flow("windowed")

    @flow.source(disorder=DISORDER)
    def readings() -> hw.Source[Reading]:
        return source

    @flow.operator(readings)
    def windows(rows: hw.Stream[Reading]) -> hw.Stream[Windowed]:
        return by_device(rows, "10s", size)

    @flow.sink(windows)
    def out() -> hw.Sink:
        return sink

    return flow


def joined(left: Source, right: Source, sink: hw.Sink) -> hw.Flow:
    """Return job F: each reading of left with those of right of its device, at most 5 s later."""
    flow = hw.Flow("joined")

    @flow.source(name="left", disorder=DISORDER)
    def lefts() -> hw.Source[Left]:
        return left

    @flow.source(name="right", disorder=DISORDER)
    def rights() -> hw.Source[Right]:
        return right

    @flow.operator(lefts, rights)
    def pairs(rows: hw.Stream[Left], others: hw.Stream[Right]) -> hw.Stream[Pair]:
        return rows.join_interval(others, by="device", after="5s")

    @flow.sink(pairs)
    def out() -> hw.Sink:
        return sink

    return flow


def chain(source: Source, sink: hw.Sink, steps: int, make: Callable[[Any], Any]) -> hw.Flow:
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
