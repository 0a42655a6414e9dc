"""A run that is cut off anywhere, and goes on, leaves what an undisturbed one leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

import headwater as hw
from headwater.connectors import files
from headwater.connectors.runlog import FolderLog
from headwater.edge.deadletters import DeadLetters
from headwater.flows.clock import ManualClock
from headwater.flows.engine.options import Options
from headwater.flows.engine.runner import Runner
from headwater.flows.engine.signatures import flow_hash
from headwater.flows.journal.faulty import Crashed, FaultyStorage
from headwater.flows.journal.settings import JournalSettings

ROWS = 300


class Reading(hw.Event):
    at: hw.EventTime
    device: str
    celsius: float


class Minute(hw.Event):
    at: hw.EventTime
    device: str
    n: int
    mean: float


class Alarm(hw.Event):
    at: hw.EventTime
    device: str
    streak: int


def made(folder: Path) -> hw.Flow:
    """A flow with windows, keyed state, dead letters, and sinks that end in three ways."""
    flow = hw.Flow("durable")

    @flow.source(disorder="2s")
    def readings() -> hw.Source[Reading]:
        return files.json_lines(folder.parent / "readings" / "*.jsonl")

    @flow.operator(readings)
    def hot(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
        return rows.filter(pl.col("celsius") > 5)

    @flow.operator(hot)
    def means(rows: hw.Stream[Reading]) -> hw.Stream[Minute]:
        windows = rows.key_by("device").window(hw.tumbling("10s"))
        return windows.agg(n=pl.len(), mean=pl.col("celsius").mean())

    @flow.operator(readings, key="device")
    def streaks(row: Reading, streak: hw.State[int]) -> Alarm | None:
        if row.celsius < 0:
            raise ValueError("too cold")
        streak.value = streak.value + 1 if row.celsius > 10 else 0
        return Alarm(at=row.at, device=row.device, streak=streak.value) if streak.value else None

    @flow.sink(hot)
    def hot_rows() -> hw.Sink:
        return files.to_csv(folder / "hot.csv")

    @flow.sink(means)
    def windows() -> hw.Sink:
        return files.to_parquet(folder / "means.parquet")

    @flow.sink(streaks)
    def alarms() -> hw.Sink:
        return files.to_json_lines(folder / "alarms.jsonl")

    return flow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "readings").mkdir()
    for partition in range(2):
        lines = [
            json.dumps(
                {
                    "at": f"2026-01-01T00:{i // 60:02d}:{i % 60:02d}Z",
                    "device": f"d{(i * 7 + partition) % 5}",
                    "celsius": (i * 37 % 200) / 10 - 1,
                }
            )
            for i in range(ROWS)
        ]
        lines[40] = "{broken"
        (tmp_path / "readings" / f"{partition}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(folder: Path, storage: FaultyStorage | None, clock: ManualClock, every: int = 3) -> None:
    """Run until the end, or until the storage dies."""
    folder.mkdir(exist_ok=True)
    graph = made(folder).graph()
    letters = DeadLetters(folder / "dead.jsonl")
    options = Options(batch_rows=17)
    with closing(letters):
        if storage is None:
            Runner(graph, clock, options, letters.bury).run()
            return
        log = FolderLog(
            storage,
            Ticking(clock),
            flow_hash(graph),
            settings=JournalSettings(sync="always", segment_bytes=3000),
            every=every,
            wait=_never,
            notice=_unheard,
        )
        Runner(graph, Ticking(clock), options, letters.bury, log=log, letters=letters).run()


class Ticking:
    """A clock that moves on by 1 µs whenever it is looked at."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def now(self) -> int:
        self._clock.advance(1)
        return self._clock.now()


def _never() -> None:
    raise AssertionError("the disk is not full")


def _unheard(text: str) -> None:
    raise AssertionError(text)


def left(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def crashes(folder: Path, seed: int, how: Callable[[FaultyStorage], None]) -> int:
    """Run with a death every few operations until it ends; return how often it died."""
    storage = FaultyStorage(seed)
    clock = ManualClock()
    died = 0
    while True:
        storage.crash_at = storage.operations + storage.random.randint(1, 60)
        try:
            run(folder, storage, clock)
        except Crashed:
            died += 1
            how(storage)
        else:
            return died


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("how", [FaultyStorage.kill, FaultyStorage.crash])
def test_a_run_that_dies_again_and_again_leaves_the_same_files(
    folder: Path, seed: int, how: Callable[[FaultyStorage], None]
) -> None:
    run(folder / "whole", None, ManualClock())
    expected = left(folder / "whole")
    assert {"alarms.jsonl", "dead.jsonl", "hot.csv", "means.parquet"} == set(expected)
    died = crashes(folder / "cut", seed, how)
    assert died > 2
    assert expected == left(folder / "cut")
