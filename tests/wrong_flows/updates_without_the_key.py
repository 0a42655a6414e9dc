# expect: means: returns an upsert stream by (store, freezer, start),
# expect: and Minute leaves out a part of that key: add start to it

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
    celsius: float


@flow.operator(readings)
def means(rows: hw.Stream[Reading]) -> hw.Stream[Minute]:
    minutes = rows.key_by("store", "freezer").window(hw.tumbling("1m"), emit="updates")
    return minutes.agg(celsius=pl.col("celsius").mean())
