# expect: counted(row): readings does not give Count
# expect: column 'celsius' is Float64, Count.celsius wants Int64

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


class Count(hw.Event):
    at: hw.EventTime
    celsius: int


@flow.operator(readings)
def counted(row: Count) -> Count | None:
    return row
