# expect: takes names of columns; make one with with_columns first

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
    return rows.key_by(pl.col("freezer").str.slice(0, 1)).window(hw.tumbling("1m")).agg(n=pl.len())
