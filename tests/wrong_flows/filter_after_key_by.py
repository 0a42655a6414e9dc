# expect: cold: a keyed stream has no .filter; it has .window, .running, .deduplicate and .top
# expect: what works row by row stands before .key_by(…)

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
    return rows.key_by("freezer").filter(pl.col("celsius") < -20)
