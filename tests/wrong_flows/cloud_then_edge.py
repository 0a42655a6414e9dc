# expect: colder: is pinned to edge, and reads what is made in the cloud

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


@flow.operator(readings, tier="cloud")
def cold(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows


@flow.operator(cold, tier="edge")
def colder(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows
