# expect: lines: returns a Source of no event; write -> hw.Source[Reading]

import headwater as hw
from headwater.connectors import files

flow = hw.Flow("wrong")


@flow.source
def lines() -> hw.Source[str]:
    return files.text("*.txt")
