"""What a journal costs: jobs A and B with one and without, and an append to it.

``python -m benchmarks.journaling FOLDER ROWS ROUNDS`` prints what it finds as JSON. The ways take
turns in one process; a ratio is the median of those of the rounds.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, ClassVar, Final

import polars as pl

import headwater as hw
from headwater.connectors.journal import FileStorage, JournalSettings, open_journal
from headwater.connectors.runlog import FolderLog
from headwater.edge.clock import SystemClock
from headwater.flows.connector import Chunk
from headwater.flows.engine.record import Record, Taken, body_of, entry_of
from headwater.flows.engine.runner import Options, Runner
from headwater.flows.engine.signatures import flow_hash

from . import pipelines
from .inmemory import Frame, Sums
from .onecore import stay_on_one_core
from .ratios import BY_CORE
from .sensors import loaded
from .work import Result, Totals

__all__ = ["APPENDED", "journaling"]

APPENDED: Final = 16_384
"""Rows of a batch whose append is timed."""
_APPENDS: Final = 200
"""Of a round."""
_SHORT: Final = 3
"""Rounds of the runs without rows in the journal, as many times: they take milliseconds."""
_HOUR: Final = 3_600_000_000
_PIECE: Final = 1 << 22


class Unrepeatable(Frame):
    """A frame that cannot be read again, so that its rows have to be in the journal."""

    rewinds: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class _Job:
    name: str
    make: Callable[[hw.Source[Any], hw.Sink], hw.Flow]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    seconds: float
    core_seconds: float
    """Those in which the process had the core, or one of its threads."""
    bytes: int
    """What was in the journal."""


_JOBS: Final = (
    _Job("A", pipelines.warm_by_columns, ("f",)),
    _Job("B", pipelines.tumbling, ("n", "mean", "peak")),
)


def journaling(data: Path, rows: int, rounds: int) -> dict[str, float]:
    """Return ratios of speeds by job, and the percentiles of an append in ms.

    Where rows are kept, the ratio is to the speed without a journal, or to that at which the disk
    takes as many bytes, if it is lower. Raises RuntimeError if a journal changes a result.
    """
    frame = loaded(data, rows)
    found: dict[str, float] = {}
    for job in _JOBS:
        found |= _ratios(job, frame, data, rounds)
    return found | _appends(frame.head(APPENDED), data, rounds)


def _ratios(job: _Job, frame: pl.DataFrame, data: Path, rounds: int) -> dict[str, float]:
    again, once = Frame(frame), Unrepeatable(frame)
    expected = _run(job, again)[1]
    positions: list[float] = []
    of_core: list[float] = []
    kept: list[float] = []
    rates: list[float] = []
    for number in range(_SHORT * rounds):
        without, _ = _run(job, again)
        repeated = _checked(job, again, data, expected)
        positions.append(without.seconds / repeated.seconds)
        of_core.append(without.core_seconds / repeated.core_seconds)
        if number % _SHORT:
            continue
        long = _checked(job, once, data, expected)
        disk = _disk_seconds(data, long.bytes)
        kept.append(max(without.seconds, disk) / long.seconds)
        rates.append(long.bytes / disk / 1e6)
    return {
        f"{job.name}: with/without": median(positions),
        f"{job.name}: with/without{BY_CORE}": median(of_core),
        f"{job.name}: with its rows/without": median(kept),
        f"{job.name}: disk, MB/s": median(rates),
    }


def _checked(job: _Job, source: Frame, data: Path, expected: Result) -> _Run:
    run, result = _run(job, source, data)
    if result != expected:
        raise RuntimeError(f"{job.name} gives {result} with a journal, and {expected} without")
    return run


def _run(job: _Job, source: Frame, data: Path | None = None) -> tuple[_Run, Result]:
    """Run a job, with a journal if there is a folder to have it in."""
    totals = Totals(job.columns)
    graph, clock = job.make(source, Sums(totals)).graph(), SystemClock()
    with tempfile.TemporaryDirectory(dir=data) as folder:
        log = None if data is None else _log(Path(folder), clock, flow_hash(graph))
        runner = Runner(graph, clock, Options(), lambda rows: None, log=log)
        gc.collect()
        used, begun = time.process_time(), time.perf_counter()
        runner.run()
        seconds, core = time.perf_counter() - begun, time.process_time() - used
        written = sum(path.stat().st_size for path in Path(folder).glob("*.seg"))
    return _Run(seconds, core, written), totals.result()


def _log(folder: Path, clock: SystemClock, flow: bytes) -> FolderLog:
    return FolderLog(
        FileStorage(folder),
        clock,
        flow,
        settings=JournalSettings(sync="interval"),
        every=_HOUR,
        wait=_full,
        notice=lambda text: print(text, file=sys.stderr),
    )


def _full() -> None:
    raise RuntimeError("the disk is full")


def _disk_seconds(data: Path, size: int) -> float:
    """Return how long the disk takes for so many bytes in one file, until they are durable."""
    piece = memoryview(os.urandom(_PIECE))
    with tempfile.TemporaryFile(dir=data, buffering=0) as file:
        begun = time.perf_counter()
        for first in range(0, size, _PIECE):
            file.write(piece[: size - first])
        os.fsync(file.fileno())
        return time.perf_counter() - begun


def _appends(rows: pl.DataFrame, data: Path, rounds: int) -> dict[str, float]:
    """Time appends of a batch; those that end a segment, which is synced then, are told apart."""
    offsets = pl.int_range(rows.height, dtype=pl.Int64, eager=True)
    record = Record(0, Taken(0, 0, rows.height), chunk=Chunk(rows, offsets))
    step, body = entry_of(record), body_of(record)
    took: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=data) as folder:
            settings = JournalSettings(sync="never")
            journal = open_journal(
                FileStorage(Path(folder)), epoch=1, flow=bytes(16), now=0, settings=settings
            )
            for _ in range(_APPENDS):
                syncs, begun = journal.statistics.syncs, time.perf_counter()
                journal.append(step, body)
                seconds = time.perf_counter() - begun
                took[journal.statistics.syncs > syncs].append(1000 * seconds)
            journal.close(0)
    cuts = quantiles(took[False], n=100, method="inclusive")
    ends = {"append that ends a segment, ms": median(took[True])} if took[True] else {}
    return {"append p50 ms": cuts[49], "append p99 ms": cuts[98], **ends}


if __name__ == "__main__":
    stay_on_one_core()
    folder, rows, rounds = sys.argv[1:]
    print(json.dumps(journaling(Path(folder), int(rows), int(rounds))))
