# expect: cold(seen): asks for hw.State, which is kept per key;
# expect: say which: @flow.operator(…, key='…')

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
def cold(row: Reading, seen: hw.State[int]) -> Reading:
    seen.value += 1
    return row
