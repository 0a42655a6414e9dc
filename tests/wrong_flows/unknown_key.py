# expect: unknown column 'frezer'; did you mean 'freezer'?

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
def cold(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows.key_by("frezer").window(hw.tumbling("1m")).agg(celsius=pl.col("celsius").mean())
