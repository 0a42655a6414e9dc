# expect: cold

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
def means(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    minutes = rows.key_by("store", "freezer").window(hw.tumbling("1m"), emit="updates")
    return minutes.agg(celsius=pl.col("celsius").mean())


@flow.operator(means)
def cold(row: Reading) -> Reading | None:
    return row if row.celsius < -20 else None
