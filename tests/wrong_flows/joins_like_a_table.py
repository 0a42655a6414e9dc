# expect: both: a Stream has no .join(), as it has no end; join by time

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


@flow.operator(readings, readings)
def both(left: hw.Stream[Reading], right: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return left.join(right, on="freezer")
