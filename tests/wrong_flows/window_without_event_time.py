# expect: counts: this needs event time, and the stream has none
# expect: give its event a field of type hw.EventTime

import polars as pl

import headwater as hw
from headwater.connectors import files


class Line(hw.Event):
    text: str


class Count(hw.Event):
    n: int


flow = hw.Flow("wrong")


@flow.source
def lines() -> hw.Source[Line]:
    return files.text("*.txt")


@flow.operator(lines)
def counts(rows: hw.Stream[Line]) -> hw.Stream[Count]:
    return rows.window(hw.tumbling("1m")).agg(n=pl.len())
