# expect: lines: reads nothing; name its upstream: @flow.operator(readings)

import headwater as hw
from headwater.connectors import files


class Line(hw.Event):
    text: str


flow = hw.Flow("wrong")


@flow.operator()
def lines(rows: hw.Stream[Line]) -> hw.Stream[Line]:
    return rows


@flow.sink(lines)
def out() -> hw.Sink:
    return files.to_text("out.txt")
