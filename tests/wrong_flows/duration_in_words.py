# expect: counted: ttl= '1 hour' is not a duration
# expect: minutes: unknown column 'celcius'

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


@flow.operator(readings, key="freezer", ttl="1 hour")
def counted(row: Reading, count: hw.State[int]) -> Reading:
    count.value += 1
    return row


@flow.operator(readings)
def minutes(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows.filter(pl.col("celcius") < -20)
