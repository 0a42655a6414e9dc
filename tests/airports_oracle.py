"""What the airports example must find, computed in one go by polars alone.

Written from the definitions in words, over whole tables: it knows nothing of batches, watermarks
or operators, and imports nothing of Headwater.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

Schema = dict[str, pl.DataType | type[pl.DataType]]
ORIGINS = ("EWR", "JFK", "LGA")
UTC = pl.Datetime("us", "UTC")
DEPARTURE: Schema = {
    "at": UTC,
    "origin": pl.String,
    "carrier": pl.String,
    "flight": pl.Int64,
    "tail": pl.String,
    "dest": pl.String,
    "dep_delay": pl.Int64,
    "arr_delay": pl.Int64,
    "distance": pl.Int64,
}
WEATHER: Schema = {
    "at": UTC,
    "origin": pl.String,
    "temp": pl.Float64,
    "wind_speed": pl.Float64,
    "precip": pl.Float64,
    "visib": pl.Float64,
}
BEFORE_END = pl.duration(hours=1) - pl.duration(microseconds=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """The four tables, and two that they come of; sorted by keys, or else by all columns."""

    departures: int
    flown: int
    readings: int
    flights: pl.DataFrame
    hours: pl.DataFrame
    hourly: pl.DataFrame
    network: pl.DataFrame
    worst: pl.DataFrame
    carried: pl.DataFrame


def answer(data: Path) -> Answer:
    """Compute everything from the files that `lay_out` wrote."""
    departures, weather = table(data, "departures", DEPARTURE), table(data, "weather", WEATHER)
    flown = departures.filter(pl.col("dep_delay").is_not_null())
    flights = with_weather(flown, weather)
    by_hour = hours(flights)
    return Answer(
        departures=departures.height,
        flown=flown.height,
        readings=weather.height,
        flights=flights,
        hours=by_hour,
        hourly=hourly(flights),
        network=network(flights),
        worst=worst(by_hour),
        carried=carried(flown),
    )


def table(data: Path, name: str, schema: Schema) -> pl.DataFrame:
    """Read a table of all origins, with the origin that only the folder's name tells."""
    texts = [
        pl.read_csv(data / origin / f"{name}.csv", infer_schema=False).with_columns(
            pl.lit(origin).alias("origin")
        )
        for origin in ORIGINS
    ]
    time = pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    others = [pl.col(column).cast(dtype) for column, dtype in schema.items() if column != "at"]
    return pl.concat(texts).select(time, *others)


def with_weather(flown: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame:
    """Give each flight the reading of its airport that is the latest one not after it.

    A reading older than two hours is none. Of two of the same time, the last by all columns.
    """
    readings = weather.sort(weather.columns).unique(
        ["origin", "at"], keep="last", maintain_order=True
    )
    found = []
    for origin in ORIGINS:
        left = flown.filter(pl.col("origin") == origin).sort("at")
        right = readings.filter(pl.col("origin") == origin).drop("origin").sort("at")
        found.append(left.join_asof(right, on="at", strategy="backward", tolerance="2h"))
    names = ["at", "origin", "carrier", "dep_delay", "wind_speed", "precip", "visib"]
    return pl.concat(found).select(names).sort(names)


def hourly(flights: pl.DataFrame) -> pl.DataFrame:
    """Sum up each airport's carriers, hour by hour."""
    return (
        flights.group_by("origin", "carrier", start=pl.col("at").dt.truncate("1h"))
        .agg(
            flights=pl.len().cast(pl.Int64),
            late=(pl.col("dep_delay") >= 15).sum().cast(pl.Int64),
            delay=pl.col("dep_delay").mean(),
        )
        .select(at, "start", "origin", "carrier", "flights", "late", "delay")
        .sort("start", "origin", "carrier")
    )


def network(flights: pl.DataFrame) -> pl.DataFrame:
    """Sum up the carriers, hour by hour, wherever they left."""
    return (
        flights.group_by("carrier", start=pl.col("at").dt.truncate("1h"))
        .agg(
            flights=pl.len().cast(pl.Int64),
            delay=pl.col("dep_delay").mean(),
            spread=pl.col("dep_delay").std(ddof=1),
        )
        .select(at, "start", "carrier", "flights", "delay", "spread")
        .sort("start", "carrier")
    )


def hours(flights: pl.DataFrame) -> pl.DataFrame:
    """Sum up each airport, hour by hour, with the worst of the weather."""
    return (
        flights.group_by("origin", start=pl.col("at").dt.truncate("1h"))
        .agg(
            flights=pl.len().cast(pl.Int64),
            delay=pl.col("dep_delay").mean(),
            wind_speed=pl.col("wind_speed").max(),
            precip=pl.col("precip").max(),
            visib=pl.col("visib").min(),
        )
        .select(at, "start", "origin", "flights", "delay", "wind_speed", "precip", "visib")
        .sort("start", "origin")
    )


def worst(hours: pl.DataFrame) -> pl.DataFrame:
    """Rank the rough hours of at least ten flights by mean delay; ties go by all columns.

    The time of a rank is when the row took it: once the last of it and its betters was known.
    """
    rough = (pl.col("wind_speed") >= 20) | (pl.col("precip") >= 0.1) | (pl.col("visib") <= 2)
    others = [name for name in hours.columns if name != "delay"]
    return (
        hours.filter(rough & (pl.col("flights") >= 10))
        .sort("delay", *others, descending=[True, *(False for _ in others)])
        .head(10)
        .with_columns(pl.col("at").cum_max(), rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
    )


def carried(flown: pl.DataFrame) -> pl.DataFrame:
    """Find the legs that left late after the same aircraft's leg before had arrived late.

    Legs of an aircraft follow one another by scheduled time, and ties by all columns.
    """
    names = list(DEPARTURE)
    legs = flown.filter(pl.col("tail").is_not_null()).sort("tail", *names)
    before = legs.select(pl.col("tail", "at", "dest", "arr_delay").shift(1).name.prefix("before_"))
    return (
        pl.concat([legs, before], how="horizontal")
        .filter(
            pl.col("before_tail") == pl.col("tail"),
            pl.col("at") - pl.col("before_at") <= pl.duration(hours=12),
            pl.col("before_arr_delay") >= 30,
            pl.col("dep_delay") >= 30,
        )
        .select(
            "at",
            "tail",
            first="before_dest",
            then="dest",
            arrived_late="before_arr_delay",
            left_late="dep_delay",
        )
        .sort("at", "tail", "first", "then", "arrived_late", "left_late")
    )


at = (pl.col("start") + BEFORE_END).alias("at")
"""The time of a summed-up hour: the last microsecond in it."""
