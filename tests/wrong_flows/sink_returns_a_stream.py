# expect: out: a sink returns hw.Sink, or takes an input and returns None

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


@flow.sink(readings)
def out() -> hw.Stream[Reading]:
    return files.to_csv("out.csv")
