"""Keyed operators in worker processes: the results are those of one process."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.edge.flowfile import load_flow
from headwater.edge.spread import Spread
from headwater.flows.clock import ManualClock
from headwater.flows.engine.runner import Options, Progress, Runner

from .harness import Kept

EVERYTHING = str(Path(__file__).parent / "flows_for_tests" / "everything.py")


def ran(
    folder: Path, workers: int, batch_rows: int, rows: int = 3000
) -> tuple[dict[str, bytes], list[dict[str, Any]], Progress]:
    """Run the flow; return its files, what was buried, and where it stood at the end."""
    folder.mkdir()
    graph = load_flow(EVERYTHING).graph()
    options = Options(
        batch_rows=batch_rows, leaf=Kept(), settings=graph.settings(out=folder, rows=rows)
    )
    buried: list[dict[str, Any]] = []
    runner = Runner(
        graph,
        ManualClock(),
        options,
        lambda frame: buried.extend(frame.to_dicts()),
        Spread(EVERYTHING, workers, options) if workers else None,
    )
    progress = runner.run()
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}, buried, progress


def rows_taken(progress: Progress) -> dict[str, int]:
    """Return the rows that each node took in; every worker takes in what is broadcast."""
    return {n: c.rows_in for n, c in progress.counts.items() if not n.startswith("against")}


def test_every_operator_gives_the_same_bytes_at_any_cut_and_with_any_workers(
    tmp_path: Path,
) -> None:
    expected, buried, progress = ran(tmp_path / "whole", 0, 100_000)
    assert 16 == len(expected)
    assert all(expected.values()), [name for name, data in expected.items() if not data]
    assert any("late" in letter["reason"] for letter in buried)
    assert any("every fifth" in letter["reason"] for letter in buried)
    taken = rows_taken(progress)
    for workers, batch_rows in ((0, 37), (1, 500), (2, 333), (3, 1000)):
        found, letters, other = ran(tmp_path / f"{workers}-{batch_rows}", workers, batch_rows)
        for name, data in expected.items():
            assert data == found[name], (name, workers, batch_rows)
        assert sorted(map(str, buried)) == sorted(map(str, letters))
        assert taken == rows_taken(other)


def test_a_worker_that_is_killed_is_named_and_nothing_half_written_stays(tmp_path: Path) -> None:
    graph = load_flow(EVERYTHING).graph()
    options = Options(batch_rows=10, settings=graph.settings(out=tmp_path, rows=100_000))
    spread = Spread(EVERYTHING, 2, options)
    runner = Runner(graph, ManualClock(), options, lambda frame: None, spread)

    def kill(progress: Progress) -> None:
        if sum(counts.rows_in for counts in progress.counts.values()) > 1000:
            os.kill(spread.process_ids[1], signal.SIGKILL)

    with pytest.raises(hw.WorkerError, match=r"worker 1 .*-9"):
        runner.run(kill)
    assert [] == list(tmp_path.iterdir())


def test_a_flow_that_does_not_load_in_a_worker_says_so(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("import headwater as hw\nflow = hw.Flow('wrong')\n")
    with pytest.raises(hw.FlowError):
        Spread(str(wrong), 1, Options())


@pytest.mark.parametrize("workers", [0, 129])
def test_the_keys_are_shared_by_1_to_128_workers(workers: int) -> None:
    with pytest.raises(hw.WorkerError, match="1 to 128"):
        Spread(EVERYTHING, workers, Options())


def test_a_function_that_stops_the_flow_in_a_worker_raises_what_it_raises_here(
    tmp_path: Path,
) -> None:
    file = tmp_path / "stopping.py"
    file.write_text(STOPPING)
    options = Options(leaf=Kept())
    spread = Spread(str(file), 2, options)
    runner = Runner(load_flow(str(file)).graph(), ManualClock(), options, print, spread)
    with pytest.raises(hw.RowError, match="odd: ValueError: 3 is odd"):
        runner.run()


STOPPING = """
import headwater as hw
from headwater.connectors import synthetic


class Reading(hw.Event):
    at: hw.EventTime
    site: hw.Site
    device: str
    count: int


flow = hw.Flow("stopping", on_error="stop")


@flow.source
def readings() -> hw.Source[Reading]:
    return synthetic.sensors(devices=1, rows=10)


@flow.operator(readings, key="device")
def odd(row: Reading, seen: hw.State[int]) -> Reading:
    seen.value += 1
    if seen.value == 3:
        raise ValueError("3 is odd")
    return row
"""
