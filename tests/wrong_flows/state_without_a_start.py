# expect: rising(last): a fresh key cannot start at Reading(); write hw.State[Reading | None]

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
def rising(row: Reading, last: hw.State[Reading]) -> Reading | None:
    warmer = row.celsius > last.value.celsius
    last.value = row
    return row if warmer else None
