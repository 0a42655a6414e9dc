# expect: reads plain, which is not an operator; decorate it

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


def plain(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows


@flow.operator(plain)
def cold(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows
