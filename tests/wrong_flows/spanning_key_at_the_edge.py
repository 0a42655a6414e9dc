# expect: means: is pinned to edge, but its key (freezer) does not contain the site

import polars as pl

import headwater as hw
from headwater.connectors import files


class Reading(hw.Event):
    at: hw.EventTime
    store: hw.Site
    freezer: str
    celsius: float


class Mean(hw.Event):
    at: hw.EventTime
    freezer: str
    mean: float


flow = hw.Flow("wrong")


@flow.source
def readings() -> hw.Source[Reading]:
    return files.csv("readings.csv")


@flow.operator(readings, tier="edge")
def means(rows: hw.Stream[Reading]) -> hw.Stream[Mean]:
    return rows.key_by("freezer").window(hw.tumbling("1m")).agg(mean=pl.col("celsius").mean())
