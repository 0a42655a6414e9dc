# expect: silent(row): has a timer but cannot be called when it goes off;
# expect: annotate row: Reading | hw.Fired

from datetime import timedelta

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


@flow.operator(readings, key=("store", "freezer"))
def silent(row: Reading, timer: hw.Timer) -> Reading | None:
    timer.set(row.at + timedelta(minutes=10))
    return None
