"""The jobs in Headwater."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

import headwater as hw
from headwater.connectors import files

from .. import pipelines
from ..inmemory import Frame, Sums
from ..paced import paced
from ..work import Inputs, Prepare, Result, Totals, Work

__all__ = ["PREPARE"]

_F: Final = ("f",)
_WINDOW: Final = ("n", "mean", "peak")
_PAIR: Final = ("temp", "hum")

Make = Callable[[hw.Source[Any], hw.Sink], hw.Flow]


def _ready(flow: hw.Flow, result: Callable[[], Result]) -> Work:
    flow.graph()
    return Work(lambda: pipelines.run(flow), result)


def _from_memory(make: Make, columns: tuple[str, ...], fleet: str = "sensors") -> Prepare:
    """A flow from a frame in memory, whose rows are summed up by the sink."""

    def prepare(inputs: Inputs) -> Work:
        totals = Totals(columns)
        flow = make(Frame(inputs.frame(fleet)), Sums(totals))
        return _ready(flow, totals.result)

    return prepare


def _from_parquet(inputs: Inputs) -> Work:
    totals = Totals(_F)
    flow = pipelines.warm_by_columns(files.parquet(inputs.file("parquet")), Sums(totals))
    return _ready(flow, totals.result)


def _through_json(make: Make) -> Prepare:
    """A flow from a file of JSON Lines to another."""

    def prepare(inputs: Inputs) -> Work:
        target = inputs.out / f"{inputs.rows}.jsonl"
        flow = make(files.json_lines(inputs.file("jsonl")), files.to_json_lines(target))
        return _ready(flow, partial(_totals_of, target))

    return prepare


def _totals_of(path: Path) -> Result:
    totals = Totals(_F)
    totals.add(pl.read_ndjson(path))
    return totals.result()


def _joined(inputs: Inputs) -> Work:
    totals = Totals(_PAIR)
    left = inputs.frame("left").select("ts", "device", "temp")
    right = inputs.frame("right").select("ts", "device", "hum")
    flow = pipelines.joined(Frame(left), Frame(right), Sums(totals))
    return _ready(flow, totals.result)


PREPARE: Final[dict[str, Prepare]] = {
    "A": _from_memory(pipelines.warm_by_columns, _F),
    "A-parquet": _from_parquet,
    "B": _from_memory(pipelines.tumbling, _WINDOW),
    "C": _through_json(pipelines.messages),
    "C-columns": _through_json(pipelines.warm_by_columns),
    "D-vector": _from_memory(pipelines.vectorizable, _F),
    "D-python": _from_memory(pipelines.looked_up, _F),
    "E": _from_memory(pipelines.hopping, _WINDOW),
    "F": _joined,
    "G": _from_memory(pipelines.tumbling, _WINDOW, "keys"),
    "latency-1k": partial(paced, 1_000),
    "latency-10k": partial(paced, 10_000),
    "latency-100k": partial(paced, 100_000),
}
