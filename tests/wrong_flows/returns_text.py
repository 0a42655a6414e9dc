# expect: told: returns str, which is no event; return a class derived from hw.Event

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
def told(row: Reading) -> str:
    return f"{row.freezer} is at {row.celsius}"
