# expect: key 'frezer' is no column of its input

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


@flow.operator(readings, key="frezer")
def cold(row: Reading, seen: hw.State[int]) -> Reading:
    seen.value += 1
    return row
