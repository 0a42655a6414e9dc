# expect: Trip has 2 fields of type EventTime: begun and ended; keep one

import headwater as hw
from headwater.connectors import files


class Trip(hw.Event):
    begun: hw.EventTime
    ended: hw.EventTime


flow = hw.Flow("wrong")


@flow.source
def trips() -> hw.Source[Trip]:
    return files.csv("trips.csv")
