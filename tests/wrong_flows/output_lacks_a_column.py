# expect: cold: returns a stream that is no Alarm: column 'what' is missing

import polars as pl

import headwater as hw
from headwater.connectors import files


class Reading(hw.Event):
    at: hw.EventTime
    store: hw.Site
    freezer: str
    celsius: float


class Alarm(hw.Event):
    at: hw.EventTime
    store: hw.Site
    what: str


flow = hw.Flow("wrong")


@flow.source
def readings() -> hw.Source[Reading]:
    return files.csv("readings.csv")


@flow.operator(readings)
def cold(rows: hw.Stream[Reading]) -> hw.Stream[Alarm]:
    return rows.filter(pl.col("celsius") > -15)
