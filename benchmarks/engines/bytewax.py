"""The jobs in Bytewax: one worker in this thread, ready rows from a source that gives lists.

Job A and D as one step over each list, which is Bytewax's own way to spare a call per item.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, Final

import bytewax.operators as op
import bytewax.operators.windowing as win
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from bytewax.dataflow import Dataflow
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from ..functions import WARM, calibrated, fahrenheit, without_humidity
from ..work import BATCH, DICTS, Inputs, Prepare, Result, Totals, Work, dicts
from .texts import lines_of, result_of

__all__ = ["PREPARE"]

_EPOCH: Final = datetime(2024, 1, 1, tzinfo=UTC)
_DISORDER: Final = timedelta(seconds=2)
_PANE: Final = timedelta(seconds=10)
Row = dict[str, Any]


class _Lists(DynamicSource[Any]):
    """Lists that are there already, one after the other."""

    def __init__(self, lists: Sequence[list[Any]]) -> None:
        self._lists = lists

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _ListsPartition:
        return _ListsPartition(self._lists)


class _ListsPartition(StatelessSourcePartition[Any]):
    def __init__(self, lists: Sequence[list[Any]]) -> None:
        self._next = iter(lists).__next__

    def next_batch(self) -> list[Any]:
        return self._next()


class _Into(DynamicSink[Any]):
    """Hands the lists that come out to a function."""

    def __init__(self, take: Callable[[list[Any]], object]) -> None:
        self._take = take

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _IntoPartition:
        return _IntoPartition(self._take)


class _IntoPartition(StatelessSinkPartition[Any]):
    def __init__(self, take: Callable[[list[Any]], object]) -> None:
        self._take = take

    def write_batch(self, items: list[Any]) -> None:
        self._take(items)


def _in_lists(rows: list[Any]) -> list[list[Any]]:
    return [rows[start : start + DICTS] for start in range(0, len(rows), DICTS)]


def _by_lists(step: Callable[[list[Any]], list[Any]]) -> Prepare:
    """One step over lists of dicts; what comes out is counted and summed."""

    def prepare(inputs: Inputs) -> Work:
        totals = Totals(())

        def take(items: list[Row]) -> None:
            totals.count(len(items), f=sum([row["f"] for row in items]))

        flow = Dataflow("rows")
        rows = op.input("in", flow, _Lists(_in_lists(dicts(inputs.frame()))))
        made = op.flat_map_batch("step", rows, step)
        op.output("out", made, _Into(take))
        return Work(lambda: run_main(flow), totals.result)

    return prepare


def _warm(rows: list[Row]) -> list[Row]:
    return [without_humidity(row) for row in rows if row["temp"] > WARM]


def _vectorizable(rows: list[Row]) -> list[Row]:
    return [fahrenheit(row) for row in rows]


def _looked_up(rows: list[Row]) -> list[Row]:
    return [{**row, "f": calibrated(row["device"], row["site"], row["temp"])} for row in rows]


def _arrow(inputs: Inputs) -> Work:
    """Job A over Arrow batches, with the functions of pyarrow."""
    totals = Totals(())
    batches = inputs.frame().to_arrow().combine_chunks().to_batches(BATCH)

    def with_f(batch: pa.RecordBatch) -> pa.RecordBatch:
        f = pc.add(pc.divide(pc.multiply(batch["temp"], 9.0), 5.0), 32.0)
        return batch.append_column("f", f)

    def take(items: list[pa.RecordBatch]) -> None:
        for batch in items:
            totals.count(batch.num_rows, f=pc.sum(batch["f"]).as_py() or 0.0)

    flow = Dataflow("batches")
    rows = op.input("in", flow, _Lists([[batch] for batch in batches]))
    rows = op.map("filter", rows, lambda batch: batch.filter(pc.greater(batch["temp"], WARM)))
    rows = op.map("add", rows, with_f)
    rows = op.map("drop", rows, lambda batch: batch.drop_columns(["hum"]))
    op.output("out", rows, _Into(take))
    return Work(lambda: run_main(flow), totals.result)


def _messages(inputs: Inputs) -> Work:
    loads, dumps, line_end = orjson.loads, orjson.dumps, orjson.OPT_APPEND_NEWLINE
    out = BytesIO()

    def step(lines: list[bytes]) -> list[bytes]:
        made = []
        for line in lines:
            row = loads(line)
            if row["temp"] > WARM:
                row["f"] = row["temp"] * 9 / 5 + 32
                made.append(dumps(row, option=line_end))
        return made

    flow = Dataflow("messages")
    rows = op.input("in", flow, _Lists(_in_lists(lines_of(inputs))))
    op.output("out", op.flat_map_batch("step", rows, step), _Into(out.writelines))
    return Work(lambda: run_main(flow), lambda: result_of(out))


def _fold(kept: list[float], row: Row) -> list[float]:
    temp = row["temp"]
    kept[0] += 1
    kept[1] += temp
    if temp > kept[2]:
        kept[2] = temp
    return kept


def _merge(one: list[float], other: list[float]) -> list[float]:
    return [one[0] + other[0], one[1] + other[1], max(one[2], other[2])]


def _windowed(windower: Any, fleet: str = "sensors", **clock: Any) -> Prepare:
    """Count, mean and maximum by device and window, as one fold."""

    def prepare(inputs: Inputs) -> Work:
        windows: list[tuple[str, tuple[int, list[float]]]] = []
        flow = Dataflow("windows")
        rows = op.input("in", flow, _Lists(_in_lists(dicts(inputs.frame(fleet)))))
        keyed = op.key_on("key", rows, lambda row: str(row["device"]))
        found = win.fold_window(
            "window",
            keyed,
            win.EventClock(lambda row: row["ts"], _DISORDER, **clock),
            windower,
            lambda: [0, 0.0, -math.inf],
            _fold,
            _merge,
            ordered=False,
        )
        op.output("out", found.down, _Into(windows.extend))
        return Work(lambda: run_main(flow), lambda: _window_result(windows))

    return prepare


def _window_result(windows: list[tuple[str, tuple[int, list[float]]]]) -> Result:
    kept = [fold for _, (_, fold) in windows]
    totals = Totals(())
    totals.count(
        len(kept),
        n=math.fsum(n for n, _, _ in kept),
        mean=math.fsum(total / n for n, total, _ in kept),
        peak=math.fsum(peak for _, _, peak in kept),
    )
    return totals.result()


_TUMBLING: Final = win.TumblingWindower(length=_PANE, align_to=_EPOCH)
_HOPPING: Final = win.SlidingWindower(length=6 * _PANE, offset=_PANE, align_to=_EPOCH)
_STILL: Final[dict[str, Any]] = {
    "now_getter": lambda: _EPOCH,
    "to_system_utc": lambda timestamp: None,
}

PREPARE: Final[dict[str, Prepare]] = {
    "A": _by_lists(_warm),
    "A, arrow": _arrow,
    "B": _windowed(_TUMBLING),
    "B, still": _windowed(_TUMBLING, **_STILL),
    "C": _messages,
    "D-vector": _by_lists(_vectorizable),
    "D-python": _by_lists(_looked_up),
    "E, still": _windowed(_HOPPING, **_STILL),
    "G, still": _windowed(_TUMBLING, "keys", **_STILL),
}
