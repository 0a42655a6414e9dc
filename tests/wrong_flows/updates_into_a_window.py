# expect: hours: a window needs a stream that only appends

from datetime import datetime

import polars as pl

import headwater as hw
from headwater.connectors import files


class Reading(hw.Event):
    at: hw.EventTime
    store: hw.Site
    freezer: str
    celsius: float


flow = hw.Flow("wrong")


@flow.source
def readings() -> hw.Source[Reading]:
    return files.csv("readings.csv")


class Minute(hw.Event):
    at: hw.EventTime
    store: hw.Site
    freezer: str
    start: datetime
    celsius: float


@flow.operator(readings)
def means(rows: hw.Stream[Reading]) -> hw.Stream[Minute]:
    minutes = rows.key_by("store", "freezer").window(hw.tumbling("1m"), emit="updates")
    return minutes.agg(celsius=pl.col("celsius").mean())


@flow.operator(means)
def hours(rows: hw.Stream[Minute]) -> hw.Stream[Reading]:
    hour = rows.key_by("store", "freezer").window(hw.tumbling("1h"))
    return hour.agg(celsius=pl.col("celsius").mean())
