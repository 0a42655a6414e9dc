# expect: disorder_of_no_unit.py:17
# expect: '10 sec' is not a duration
# expect: us, ms, s, m (minutes), h, d or w

import headwater as hw
from headwater.connectors import files


class Reading(hw.Event):
    at: hw.EventTime
    celsius: float


flow = hw.Flow("wrong")


@flow.source(disorder="10 sec")
def readings() -> hw.Source[Reading]:
    return files.csv("readings.csv")
