"""Runs with --state as processes that are killed: what was acknowledged is there, once."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .live import DEADLINE, Live

Start = Callable[..., Live]
EVENTS = "http.events(0, on_listen=listening, stoppable=True)"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[Live] = []

    def begin(source: str, *options: str, rest: str = "") -> Live:
        made.append(Live(tmp_path, source, rest, options=["--state", "run", *options]))
        return made[-1]

    yield begin
    for live in made:
        live.close()


def row(n: int) -> str:
    return f'{{"at":"2026-01-01T00:00:00Z","n":{n}}}\n'


def post(port: int, body: str, path: str = "/") -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}{path}"
    request = urllib.request.Request(url, body.encode(), method="POST")
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def killed(live: Live) -> None:
    live.signal(signal.SIGKILL)
    live.process.wait(DEADLINE)


@pytest.mark.parametrize("sync", ["always", "interval"])
def test_what_was_answered_is_there_once_however_often_the_process_dies(
    start: Start, sync: str
) -> None:
    every = "0" if sync == "always" else "10"
    for life in range(3):
        live = start(EVENTS, "--sync", sync, "--image-every", every)
        port = live.port()
        for n in range(4):
            assert {"accepted": 2, "dead": 1} == post(
                port, row(100 * life + 2 * n) + "no row\n" + row(100 * life + 2 * n + 1)
            )
        killed(live)
    live = start(EVENTS, "--sync", sync)
    assert {"ended": True} == post(live.port(), "", "/end")
    code, said = live.ended()
    assert 0 == code, said
    assert [100 * life + n for life in range(3) for n in range(8)] == live.kept()
    letters = (live.folder / "live.dead.jsonl").read_text().splitlines()
    assert 12 == len(letters)


def test_a_run_that_is_stopped_goes_on_with_its_windows_and_files_open(start: Start) -> None:
    live = start(EVENTS)
    assert {"accepted": 1, "dead": 0} == post(live.port(), row(1))
    live.signal(signal.SIGTERM)
    code, said = live.ended()
    assert 0 == code, said
    assert not (live.folder / "kept.jsonl").exists()
    live = start(EVENTS)
    port = live.port()
    assert {"accepted": 1, "dead": 0} == post(port, row(2))
    post(port, "", "/end")
    code, said = live.ended()
    assert 0 == code, said
    assert [1, 2] == live.kept()


def test_two_runs_cannot_have_one_folder(start: Start) -> None:
    first = start(EVENTS)
    first.port()
    second = start(EVENTS)
    code, said = second.ended()
    assert 1 == code, said
    assert 1 == len(said), said
    assert "another process writes" in said[0]


def test_a_flow_that_was_changed_says_what_does_not_fit(start: Start) -> None:
    total = """

class Total(hw.Event):
    at: hw.EventTime
    n: int


@flow.operator(readings, key="n")
def totals(row: Reading, rows: hw.State[int]) -> Total:
    rows.value += 1
    return Total(at=row.at, n=rows.value)
"""
    live = start(EVENTS, rest=total)
    post(live.port(), row(1))
    live.signal(signal.SIGTERM)
    assert 0 == live.ended()[0]
    changed = total.replace("hw.State[int]", "hw.State[float]")
    live = start(EVENTS, rest=changed)
    code, said = live.ended()
    assert 1 == code
    assert 1 == len(said), said
    assert "totals has changed" in said[0]
    assert "--reset totals" in said[0]
    live = start(EVENTS, "--reset", "totals", rest=changed)
    post(live.port(), "", "/end")
    code, said = live.ended()
    assert 0 == code, said
    assert [1] == live.kept()
