"""Delays at three airports: joined and summed up at each, put together in the centre.

Each airport is an edge site that sees its own departures and weather. A departure becomes known
when the aircraft leaves, so by its scheduled time it may come up to a day late.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

import headwater as hw
from headwater.connectors import files


class Folders(hw.Settings):
    data: Path = Path("build/demo/data")
    out: Path = Path("build/demo")


class Departure(hw.Event):
    at: hw.EventTime
    origin: hw.Site
    carrier: str
    flight: int
    tail: str | None
    dest: str
    dep_delay: int | None
    arr_delay: int | None
    distance: int


class Weather(hw.Event):
    at: hw.EventTime
    origin: hw.Site
    temp: float | None
    wind_speed: float | None
    precip: float | None
    visib: float | None


class Flight(hw.Event):
    at: hw.EventTime
    origin: hw.Site
    carrier: str
    dep_delay: int
    wind_speed: float | None
    precip: float | None
    visib: float | None


class Hourly(hw.Event):
    at: hw.EventTime
    start: datetime
    origin: hw.Site
    carrier: str
    flights: int
    late: int
    delay: float


class Network(hw.Event):
    at: hw.EventTime
    start: datetime
    carrier: str
    flights: int
    delay: float
    spread: float | None


class Hour(hw.Event):
    at: hw.EventTime
    start: datetime
    origin: hw.Site
    flights: int
    delay: float
    wind_speed: float | None
    precip: float | None
    visib: float | None


class Worst(Hour):
    rank: int


class Carried(hw.Event):
    at: hw.EventTime
    tail: str
    first: str
    then: str
    arrived_late: int
    left_late: int


flow = hw.Flow("airports", settings=Folders)


# At each airport


@flow.source(tier="edge", disorder="1d")
def departures(folders: Folders) -> hw.Source[Departure]:
    return files.csv(folders.data / "{origin}" / "departures.csv")


@flow.source(tier="edge")
def weather(folders: Folders) -> hw.Source[Weather]:
    return files.csv(folders.data / "{origin}" / "weather.csv")


@flow.operator(departures)
def flown(rows: hw.Stream[Departure]) -> hw.Stream[Departure]:
    return rows.filter(pl.col("dep_delay").is_not_null())


@flow.operator(flown, weather)
def flights(left: hw.Stream[Departure], right: hw.Stream[Weather]) -> hw.Stream[Flight]:
    return left.join_asof(right, by="origin", tolerance="2h")


@flow.operator(flights)
def hourly(rows: hw.Stream[Flight]) -> hw.Stream[Hourly]:
    return (
        rows.key_by("origin", "carrier")
        .window(hw.tumbling("1h"))
        .agg(
            flights=pl.len(),
            late=(pl.col("dep_delay") >= 15).sum(),
            delay=pl.col("dep_delay").mean(),
        )
    )


@flow.operator(flights)
def hours(rows: hw.Stream[Flight]) -> hw.Stream[Hour]:
    return (
        rows.key_by("origin")
        .window(hw.tumbling("1h"))
        .agg(
            flights=pl.len(),
            delay=pl.col("dep_delay").mean(),
            wind_speed=pl.col("wind_speed").max(),
            precip=pl.col("precip").max(),
            visib=pl.col("visib").min(),
        )
    )


# In the centre


@flow.operator(flights)
def network(rows: hw.Stream[Flight]) -> hw.Stream[Network]:
    return (
        rows.key_by("carrier")
        .window(hw.tumbling("1h"))
        .agg(
            flights=pl.len(),
            delay=pl.col("dep_delay").mean(),
            spread=pl.col("dep_delay").std(),
        )
    )


@flow.operator(hours)
def worst(rows: hw.Stream[Hour]) -> hw.Stream[Worst]:
    rough = (pl.col("wind_speed") >= 20) | (pl.col("precip") >= 0.1) | (pl.col("visib") <= 2)
    return rows.filter(rough & (pl.col("flights") >= 10)).top(10, by="delay")


@flow.operator(flown, key="tail")
def carried(leg: Departure, last: hw.State[Departure | None]) -> Carried | None:
    before, last.value = last.value, leg
    if leg.tail is None or before is None or leg.at - before.at > timedelta(hours=12):
        return None
    if before.arr_delay is None or leg.dep_delay is None:
        return None
    if before.arr_delay < 30 or leg.dep_delay < 30:
        return None
    return Carried(
        at=leg.at,
        tail=leg.tail,
        first=before.dest,
        then=leg.dest,
        arrived_late=before.arr_delay,
        left_late=leg.dep_delay,
    )


@flow.sink(hourly, tier="cloud")
def hourly_file(folders: Folders) -> hw.Sink:
    return files.to_parquet(folders.out / "hourly.parquet")


@flow.sink(network, tier="cloud")
def network_file(folders: Folders) -> hw.Sink:
    return files.to_parquet(folders.out / "network.parquet")


@flow.sink(worst, tier="cloud")
def worst_table(folders: Folders) -> hw.Sink:
    return files.to_table(folders.out / "worst.csv")


@flow.sink(carried, tier="cloud")
def carried_file(folders: Folders) -> hw.Sink:
    return files.to_json_lines(folders.out / "carried.jsonl")
