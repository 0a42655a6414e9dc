"""Durable runs whose keyed operators are in worker processes, which die as the first one does."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from headwater.edge.flowfile import load_flow
from headwater.edge.spread import Spread
from headwater.flows.batch import Batch
from headwater.flows.clock import ManualClock
from headwater.flows.engine.runner import Executor, Options, Runner
from headwater.flows.engine.shard import Counts, Step
from headwater.flows.graph import Edge
from headwater.flows.snapshot import Tables

from .harness import Kept
from .live import DEADLINE, Heard, Live
from .restarting import through_bytes

FLOWS: Final = Path(__file__).parent / "flows_for_tests"
EVERYTHING: Final = str(FLOWS / "everything.py")
DYING: Final = str(FLOWS / "dying.py")
ROWS: Final = 400
CUT: Final = ("--batch-rows", "20")
SINKS: Final = ("totals.jsonl", "again.csv", "minutes.parquet")


# What workers remember


class Moving:
    """Workers that are thrown away before every n-th feed, and others that get their state."""

    def __init__(self, flow: str, workers: int, options: Options, every: int) -> None:
        self._flow = flow
        self._workers = workers
        self._options = options
        self._inner = self._made()
        self._every = every
        self._fed = 0
        self.moves = 0

    def feed(self, edge: Edge, batch: Batch) -> Step:
        self._fed += 1
        before = self._moved() if self._fed % self._every == 0 else Step()
        after = self._inner.feed(edge, batch)
        return Step(before.deliveries + after.deliveries, before.dead + after.dead)

    def _made(self) -> Spread:
        return Spread(self._flow, self._workers, self._options)

    def _moved(self) -> Step:
        self.moves += 1
        step = self._inner.settle()
        kept = {node: through_bytes(tables) for node, tables in self._inner.snapshot().items()}
        self._inner.close()
        self._inner = self._made()
        self._inner.restore(kept)
        return step

    def tick(self, now: int) -> Step:
        return self._inner.tick(now)

    def settle(self) -> Step:
        return self._inner.settle()

    def counts(self) -> dict[str, Counts]:
        return self._inner.counts()

    @property
    def ticks(self) -> bool:
        return self._inner.ticks

    @property
    def workers(self) -> int:
        return self._inner.workers

    def snapshot(self) -> Mapping[str, Tables]:
        return self._inner.snapshot()

    def restore(self, tables: Mapping[str, Tables]) -> None:
        self._inner.restore(tables)

    def close(self) -> None:
        self._inner.close()


def everything(folder: Path, workers: int) -> tuple[dict[str, bytes], list[str]]:
    """Run the flow with an operator of every kind; return its files and what was buried."""
    folder.mkdir()
    graph = load_flow(EVERYTHING).graph()
    settings = graph.settings(out=folder, rows=1500)
    options = Options(batch_rows=100, leaf=Kept(), settings=settings)
    executor: Executor | None = Moving(EVERYTHING, workers, options, 9) if workers else None
    buried: list[dict[str, Any]] = []
    Runner(
        graph, ManualClock(), options, lambda frame: buried.extend(frame.to_dicts()), executor
    ).run()
    assert not isinstance(executor, Moving) or executor.moves > 1
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}, sorted(map(str, buried))


def test_other_workers_go_on_with_what_some_remembered(tmp_path: Path) -> None:
    expected, buried = everything(tmp_path / "alone", 0)
    found, letters = everything(tmp_path / "moved", 2)
    for name, data in expected.items():
        assert data == found[name], name
    assert buried == letters


LATE: Final = """
from typing import Any

import polars as pl
import headwater as hw
from headwater.connectors import files


class Reading(hw.Event):
    at: hw.EventTime
    device: str
    n: int


flow = hw.Flow("late")


@flow.source
def readings() -> hw.Source[Reading]:
    return files.json_lines("FOLDER/late.in")


@flow.operator(readings)
def counts(rows: hw.Stream[Reading]) -> hw.Stream[Any]:
    return rows.key_by("device").window(hw.tumbling("1s")).agg(n=pl.len())


@flow.sink(counts.late)
def late() -> hw.Sink:
    return files.to_json_lines("FOLDER/late.jsonl")
"""


def test_rows_that_wait_between_workers_and_sinks_are_remembered(tmp_path: Path) -> None:
    file = tmp_path / "late.py"
    file.write_text(LATE.replace("FOLDER", str(tmp_path)))
    # Of each batch, the last ten rows are late, and stand at the watermark that it ends with.
    minutes = [i // 20 + 10 if i % 20 < 10 else 1 for i in range(60)]
    lines = [
        f'{{"at":"2026-01-01T00:{minute:02d}:00Z","device":"d{i}","n":{i}}}'
        for i, minute in enumerate(minutes)
    ]
    (tmp_path / "late.in").write_text("\n".join(lines))
    options = Options(batch_rows=20, leaf=Kept())
    moving = Moving(str(file), 2, options, 2)
    Runner(load_flow(str(file)).graph(), ManualClock(), options, print, moving).run()
    assert moving.moves
    found = [json.loads(line)["n"] for line in (tmp_path / "late.jsonl").read_text().splitlines()]
    assert [i for i in range(60) if i % 20 >= 10] == sorted(found)


# Processes that are killed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "readings").mkdir()
    chance = random.Random(4)
    for partition in range(2):
        lines = [
            json.dumps(
                {
                    "at": f"2026-01-01T00:{i // 60:02d}:{i % 60:02d}Z",
                    "device": f"d{chance.randrange(9)}",
                    "n": 2 * i + partition,
                }
            )
            for i in range(ROWS)
        ]
        (tmp_path / "readings" / f"{partition}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def run(folder: Path, *options: str) -> tuple[int, str]:
    """Run the flow as a process; return its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "headwater.edge.command", "run", DYING, *CUT, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return done.returncode, done.stderr


def left(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """Return what is in the sinks, and the dead letters, whose order is free."""
    letters = (folder / "dying.dead.jsonl").read_text().splitlines()
    found = {name: (folder / name).read_bytes() for name in SINKS}
    for name in (*SINKS, "dying.dead.jsonl"):
        (folder / name).unlink()
    return found, sorted(letters)


def dying(folder: Path, *places: str) -> None:
    for place in places:
        (folder / f"{place}.die").touch()


KEPT: Final = (("--image-every", "0.01"), ("--image-every", "100", "--sync", "always"))


def test_whichever_process_dies_the_sinks_are_those_of_an_undisturbed_run(folder: Path) -> None:
    code, said = run(folder)
    assert 0 == code, said
    expected, letters = left(folder)
    assert 15 == len(letters)
    dying(folder, "worker-190", "first-301", "reading-450", "worker-611")
    ends: list[int] = []
    while not ends or ends[-1]:
        code, said = run(folder, "--workers", "2", "--state", "run", *KEPT[len(ends) % 2])
        assert code in (0, 1, -signal.SIGKILL), said
        assert code != 1 or "died with exit code -9" in said, said
        ends.append(code)
        if len(ends) == 1:
            code, said = run(folder, "--state", "run")
            assert 1 == code
            assert said.endswith("the run was kept with 2 workers; run it with --workers 2\n"), said
    assert [-9, -9, 1, 1] == sorted(ends[:-1])
    found, others = left(folder)
    for name, data in expected.items():
        assert data == found[name], name
    assert letters == others


# A quiet run

COUNTED: Final = """

class Total(hw.Event):
    at: hw.EventTime
    n: int
    rows: int


@flow.operator(readings, key="n")
def totals(row: Reading, rows: hw.State[int]) -> Total:
    rows.value += 1
    return Total(at=row.at, n=row.n, rows=rows.value)


@flow.sink(totals)
def out() -> hw.Sink:
    return stdio.to_json_lines()
"""


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[list[Live]]:
    made: list[Live] = []
    yield made
    for live in made:
        live.close()


def test_what_was_answered_is_there_once_and_comes_out_though_nothing_follows(
    tmp_path: Path, lives: list[Live]
) -> None:
    source = "http.events(0, on_listen=listening, stoppable=True)"
    options = ["--workers", "2", "--state", "run", "--sync", "always"]
    for life in range(3):
        live = Live(tmp_path, source, COUNTED, options=options)
        lives.append(live)
        port = live.port()
        for second in (2 * life, 2 * life + 1):
            body = f'{{"at":"2026-01-01T00:00:{second:02d}Z","n":7}}\n'
            assert {"accepted": 1, "dead": 0} == post(port, body)
        # The newest row waits for a later one, whichever process has it.
        rows = counted(live.out, 2 * life + 1)
        assert [*range(rows[0], 2 * life + 2)] == rows
        if life == 0:
            live.signal(signal.SIGKILL)
            live.process.wait(DEADLINE)
        elif life == 1:
            stop_all(live)
            code, said = live.ended()
            assert 0 == code, said
    assert [4, 5] == rows  # not those before: the second life was stopped in good order
    assert {"ended": True} == post(port, "", "/end")
    code, said = live.ended()
    assert 0 == code, said
    assert [7] * 6 == live.kept()


def counted(out: Heard[str], last: int) -> list[int]:
    """Wait for the total `last`; return all that came out."""

    def there(lines: Sequence[str]) -> bool:
        return any(count(line) == last for line in lines)

    return [count(line) for line in out.until(there)]


def stop_all(live: Live) -> None:
    """Send SIGTERM to a run and to its workers, as a service manager does."""
    pid = live.process.pid
    workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(workers) >= 2
    for process in (*map(int, workers), pid):
        os.kill(process, signal.SIGTERM)


def count(line: str) -> int:
    found: int = json.loads(line)["rows"]
    return found


def post(port: int, body: str, path: str = "/") -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, body.encode(), method="POST")
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        found: dict[str, Any] = json.load(answer)
        return found
