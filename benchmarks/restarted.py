"""A flow file for `headwater run`: a count by key of a file that grows, which never ends."""

from pathlib import Path
from typing import Any

import headwater as hw
from headwater.connectors import files


class Files(hw.Settings):
    readings: Path
    marks: Path


class Reading(hw.Event):
    at: hw.EventTime
    key: str
    value: int


class Mark(hw.Event):
    at: hw.EventTime
    key: str
    total: int


flow = hw.Flow("restarted", settings=Files)


@flow.source
def readings(where: Files) -> hw.Source[Reading]:
    source: hw.Source[Any] = files.json_lines(where.readings, follow=True)
    return source


@flow.operator(readings, key="key")
def totals(reading: Reading, total: hw.State[int]) -> Mark | None:
    total.value += reading.value
    if total.value % 4:
        return None
    return Mark(at=reading.at, key=reading.key, total=total.value)


@flow.sink(totals)
def marks(where: Files) -> hw.Sink:
    return files.to_json_lines(where.marks)
