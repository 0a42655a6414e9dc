# expect: NameError: name 'reading' is not defined
# expect: unknown_name.py:23

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


@flow.operator(reading)  # noqa: F821
def cold(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    return rows
