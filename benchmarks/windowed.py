"""Job B as a flow file, for `headwater run`: from a file of readings to a file of windows."""

from pathlib import Path
from typing import Any

import headwater as hw
from benchmarks.pipelines import Reading, Windowed, by_device
from benchmarks.sensors import DISORDER
from headwater.connectors import files


class Files(hw.Settings):
    readings: Path
    windows: Path


flow = hw.Flow("windowed", settings=Files)


@flow.source(disorder=DISORDER)
def readings(where: Files) -> hw.Source[Reading]:
    source: hw.Source[Any]
    if where.readings.suffix == ".csv":
        source = files.csv(where.readings)
    else:
        source = files.parquet(where.readings)
    return source


@flow.operator(readings)
def windows(rows: hw.Stream[Reading]) -> hw.Stream[Windowed]:
    return by_device(rows)


@flow.sink(windows)
def file(where: Files) -> hw.Sink:
    return files.to_parquet(where.windows)
