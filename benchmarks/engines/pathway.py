"""The jobs in Pathway: from a file of CSV, which it reads fastest, read once and to its end.

Windows have no behaviour: what comes within one run is aggregated at once, and nothing is late.
Rows are counted and summed by Pathway itself, which spares it a Python call per row; job C is
from a file of JSON Lines to another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pathway as pw
import polars as pl
from pathway.internals.parse_graph import G

from ..functions import WARM, calibrated
from ..work import Inputs, Prepare, Result, Totals, Work

__all__ = ["PREPARE"]

_F: Final = ("f",)
_WINDOW: Final = ("n", "mean", "peak")
Step = Callable[[Any], Any]


class Reading(pw.Schema):
    ts: int
    device: str
    site: str
    temp: float
    hum: float
    status: str


def _run() -> None:
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


def _read(inputs: Inputs, fleet: str = "sensors") -> Any:
    return pw.io.csv.read(str(inputs.file("csv", fleet)), schema=Reading, mode="static")


def _summed(rows: Any, columns: tuple[str, ...]) -> Work:
    """Run to the number and sums of the rows."""
    sums = {name: pw.reducers.sum(rows[name]) for name in columns}
    last: dict[str, float] = {}

    def changed(key: Any, row: dict[str, Any], time: int, is_addition: bool) -> None:
        if is_addition:
            last.update(row)

    pw.io.subscribe(rows.reduce(n_rows=pw.reducers.count(), **sums), changed)

    def result() -> Result:
        totals = Totals(())
        totals.count(int(last["n_rows"]), **{name: last[name] for name in columns})
        return totals.result()

    return Work(_run, result)


def _from_csv(step: Step, columns: tuple[str, ...], fleet: str = "sensors") -> Prepare:
    def prepare(inputs: Inputs) -> Work:
        G.clear()
        return _summed(step(_read(inputs, fleet)), columns)

    return prepare


def _warm(rows: Any) -> Any:
    rows = rows.filter(rows.temp > WARM)
    return rows.select(
        rows.ts, rows.device, rows.site, rows.temp, rows.status, f=rows.temp * 9 / 5 + 32
    )


@pw.udf(deterministic=True)
def _fahrenheit(temp: float) -> float:
    return temp * 9 / 5 + 32


@pw.udf(deterministic=True)
def _calibrated(device: str, site: str, temp: float) -> float:
    return calibrated(device, site, temp)


@pw.udf(deterministic=True)
def _is_warm(temp: float) -> bool:
    return temp > WARM


def _vectorizable(rows: Any) -> Any:
    return rows.select(*pw.this, f=_fahrenheit(rows.temp))


def _looked_up(rows: Any) -> Any:
    return rows.select(*pw.this, f=_calibrated(rows.device, rows.site, rows.temp))


def _windowed(window: Any) -> Step:
    def step(rows: Any) -> Any:
        windows = rows.windowby(rows.ts, window=window, instance=rows.device)
        return windows.reduce(
            device=pw.this._pw_instance,
            start=pw.this._pw_window_start,
            n=pw.reducers.count(),
            mean=pw.reducers.avg(pw.this.temp),
            peak=pw.reducers.max(pw.this.temp),
        )

    return step


def _messages(inputs: Inputs) -> Work:
    """Job C: a Python function decides and another computes, as one cannot do both."""
    G.clear()
    target = inputs.out / f"{inputs.rows}.jsonl"
    rows = pw.io.jsonlines.read(str(inputs.file("jsonl")), schema=Reading, mode="static")
    warm = rows.filter(_is_warm(rows.temp))
    pw.io.jsonlines.write(warm.select(*pw.this, f=_fahrenheit(warm.temp)), str(target))

    def result() -> Result:
        totals = Totals(_F)
        totals.add(pl.read_ndjson(target))
        return totals.result()

    return Work(_run, result)


def _joined(inputs: Inputs) -> Work:
    G.clear()
    left, right = _read(inputs, "left"), _read(inputs, "right")
    within = pw.temporal.interval(0, 5000)
    pairs = left.interval_join(right, left.ts, right.ts, within, left.device == right.device)
    return _summed(pairs.select(left.ts, left.device, left.temp, right.hum), ("temp", "hum"))


_TUMBLING: Final = pw.temporal.tumbling(duration=10_000)
_HOPPING: Final = pw.temporal.sliding(hop=10_000, duration=60_000)

PREPARE: Final[dict[str, Prepare]] = {
    "A": _from_csv(_warm, _F),
    "B": _from_csv(_windowed(_TUMBLING), _WINDOW),
    "C": _messages,
    "D-vector": _from_csv(_vectorizable, _F),
    "D-python": _from_csv(_looked_up, _F),
    "E": _from_csv(_windowed(_HOPPING), _WINDOW),
    "F": _joined,
    "G": _from_csv(_windowed(_TUMBLING), _WINDOW, "keys"),
}
