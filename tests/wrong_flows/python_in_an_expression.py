# expect: it calls a Python function, which cannot be checked or shipped; write a row function

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


def rounded(celsius: float) -> float:
    return round(celsius) if celsius > 0 else 0.0


@flow.operator(readings)
def cold(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows.with_columns(celsius=pl.col("celsius").map_elements(rounded))
