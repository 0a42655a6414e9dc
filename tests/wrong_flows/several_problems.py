# expect: cold: unknown column 'celcius'
# expect: grouped: a Stream has no .group_by()

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
    return rows.filter(pl.col("celcius") < -20)


@flow.operator(readings)
def grouped(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows.group_by("freezer")


@flow.operator(cold)
def echo(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows
