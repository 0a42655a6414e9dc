# expect: every '5m' is longer than the window '1m': rows would be lost

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
    return (
        rows.key_by("store", "freezer")
        .window(hw.hopping("1m", "5m"))
        .agg(celsius=pl.col("celsius").mean())
    )
