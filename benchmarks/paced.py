"""Latency from source to sink: rows that come at a fixed rate, whether they are read or not.

The n-th row is due n / rate seconds after the first, and its latency is counted from then: rows
that wait because the engine is busy count as late as they are (no coordinated omission). A row
goes through job A's filter and expression.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final

import polars as pl

import headwater as hw
from headwater.flows.connector import Chunk, Reader, Signal, SinkContext, SourceContext, Writer

from . import pipelines
from .work import Inputs, Result, Work

__all__ = ["PERCENTILES", "paced"]

PERCENTILES: Final = {"p50 ms": 0.5, "p99 ms": 0.99, "p99.9 ms": 0.999}
_NS: Final = 1_000_000_000


class Stamped(hw.Event):
    """A reading, and when it is due in ns after the first."""

    ts: Annotated[hw.EventTime, hw.Unit("ms")]
    device: str
    site: hw.Site
    temp: float
    status: str
    due: int


class StampedWarm(hw.Event):
    ts: hw.EventTime
    device: str
    site: hw.Site
    temp: float
    status: str
    due: int
    f: float


@dataclass(slots=True)
class _Pacer:
    """Says when each row is due, and measures how much later rows arrive."""

    rate: int
    begun: int = 0
    late: list[pl.Series] = field(default_factory=list)
    f: float = 0.0

    def due(self) -> int:
        """Return how many rows are due by now."""
        return (time.monotonic_ns() - self.begun) * self.rate // _NS + 1

    def seconds_until(self, row: int) -> float:
        """Return how long it is until a row is due; negative if it was due before."""
        return row / self.rate - (time.monotonic_ns() - self.begun) / _NS

    def arrived(self, rows: pl.DataFrame) -> None:
        """Note that rows have come out."""
        self.late.append((time.monotonic_ns() - self.begun) - rows["due"])
        self.f += float(rows["f"].sum())

    def result(self) -> Result:
        """Return the percentiles in ms, and what came out."""
        late = pl.concat(self.late)
        found = {name: late.quantile(share, "nearest") for name, share in PERCENTILES.items()}
        percentiles = {name: (value or 0.0) / 1e6 for name, value in found.items()}
        return {**percentiles, "rows": float(late.len()), "sum of f": self.f}


@dataclass(frozen=True, slots=True, eq=False)
class _Paced(hw.Source[Any]):
    """The rows of a frame, each not before it is due."""

    bounded: ClassVar[bool] = False
    rewinds: ClassVar[bool] = False

    frame: pl.DataFrame
    pacer: _Pacer

    def partitions(self) -> Sequence[str]:
        return ["paced"]

    def open(self, partition: str, context: SourceContext) -> Reader:
        return _PacedReader(self, context.wake)


class _PacedReader(Reader):
    def __init__(self, source: _Paced, wake: Callable[[], None]) -> None:
        self._frame = source.frame
        self._offsets = pl.int_range(source.frame.height, dtype=pl.Int64, eager=True)
        self._pacer = source.pacer
        self._alarm = _Alarm(wake)
        self._at = 0

    def read(self, limit: int) -> Chunk | Signal:
        start, height = self._at, self._frame.height
        if not start:
            self._pacer.begun = self._pacer.begun or time.monotonic_ns()
        if start == height:
            return Signal.END
        ready = min(self._pacer.due(), height) - start
        if ready <= 0:
            self._alarm.set(self._pacer.seconds_until(start))
            return Signal.WAIT
        rows = min(ready, limit)
        self._at += rows
        return Chunk(self._frame.slice(start, rows), self._offsets.slice(start, rows))

    def close(self) -> None:
        self._alarm.stop()


class _Alarm:
    """Calls `ring` when a time has come, from a thread that sleeps until then."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._set = threading.Semaphore(0)
        self._seconds: float | None = 0.0
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def set(self, seconds: float) -> None:
        """Ring once after so many seconds."""
        self._seconds = seconds
        self._set.release()

    def stop(self) -> None:
        """Ring no more."""
        self._seconds = None
        self._set.release()
        self._thread.join()

    def _keep(self) -> None:
        while self._set.acquire() and self._seconds is not None:
            if self._seconds > 0:
                time.sleep(self._seconds)
            self._ring()


@dataclass(frozen=True, slots=True)
class _Arrivals(hw.Sink):
    pacer: _Pacer

    def open(self, context: SinkContext) -> Writer:
        return _ArrivalsWriter(self.pacer)


class _ArrivalsWriter(Writer):
    def __init__(self, pacer: _Pacer) -> None:
        self._pacer = pacer

    def write(self, rows: pl.DataFrame) -> None:
        self._pacer.arrived(rows)

    def close(self) -> None:
        """Nothing to complete."""

    def abort(self) -> None:
        """Nothing to undo."""


def paced(rate: int, inputs: Inputs) -> Work:
    """Make a flow ready whose source gives so many rows a second, until there are no more."""
    pacer = _Pacer(rate)
    rows = inputs.frame().select("ts", "device", "site", "temp", "status")
    due = pl.int_range(rows.height, dtype=pl.Int64, eager=True) * (_NS // rate)
    source = _Paced(rows.with_columns(due.alias("due")).rechunk(), pacer)
    flow = hw.Flow("paced")

    @flow.source
    def readings() -> hw.Source[Stamped]:
        return source

    @flow.operator(readings)
    def warm(rows: hw.Stream[Stamped]) -> hw.Stream[StampedWarm]:
        found = rows.filter(pl.col("temp") > 25).with_columns(f=pl.col("temp") * 9 / 5 + 32)
        return found.select("ts", "device", "site", "temp", "status", "due", "f")

    @flow.sink(warm)
    def out() -> hw.Sink:
        return _Arrivals(pacer)

    flow.graph()
    return Work(lambda: pipelines.run(flow), pacer.result)
