# expect: minutes: agg() takes its columns by name; write agg(n=pl.len())

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


@flow.operator(readings)
def minutes(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows.key_by("freezer").window(hw.tumbling("1m")).agg(pl.col("celsius").mean())
