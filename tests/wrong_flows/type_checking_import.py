# expect: the name 'Temperature' in its annotations is not defined
# expect: if TYPE_CHECKING

from __future__ import annotations

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
def cold(rows: hw.Stream[Temperature]) -> hw.Stream[Reading]:  # noqa: F821
    return rows
