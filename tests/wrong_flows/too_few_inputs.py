# expect: cold: takes 2 streams (left, right) and is wired to 1: readings

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
def cold(left: hw.Stream[Reading], right: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return left.union(right)
