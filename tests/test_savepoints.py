"""Runs that are stopped from outside, savepoints of them, and runs that begin from those."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.connectors.journalfiles import FileStorage, holder

from .live import DEADLINE, Live
from .test_live_durable import EVENTS, killed, post

Start = Callable[..., Live]
TOTALS = """

class Total(hw.Event):
    at: hw.EventTime
    n: int


@flow.operator(readings, key="n")
def totals(row: Reading, rows: hw.State[int]) -> Total:
    rows.value += 1
    return Total(at=row.at, n=rows.value)


@flow.sink(totals)
def counted() -> hw.Sink:
    return files.to_json_lines("totals.jsonl")
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[Live] = []

    def begin(*options: str, rest: str = TOTALS) -> Live:
        made.append(Live(tmp_path, EVENTS, rest, options=options))
        return made[-1]

    yield begin
    for live in made:
        live.close()


def headwater(folder: Path, *words: str) -> tuple[int, str, str]:
    """Run a command in a folder; return its exit code, and what it printed and said."""
    done = subprocess.run(
        [sys.executable, "-m", "headwater.edge.command", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def row(second: int, n: int) -> str:
    """Return a row; the newest waits for a later one, or the end."""
    return f'{{"at":"2026-01-01T00:00:{second:02}Z","n":{n}}}\n'


def ended(live: Live) -> None:
    """Say that there is no more input, and wait for the end of the run."""
    post(live.port(), "", "/end")
    code, said = live.ended()
    assert 0 == code, said


def totals(folder: Path) -> list[int]:
    lines = (folder / "totals.jsonl").read_text().splitlines()
    return [json.loads(line)["n"] for line in lines]


def saved(start: Start, folder: Path, *rows: int) -> Path:
    """Take a savepoint of a run that has read rows; return its folder."""
    live = start("--state", "run")
    port = live.port()
    for second, n in enumerate(rows):
        post(port, row(second, n))
    code, out, said = headwater(folder, "flow", "stop", "--state", "run", "--savepoint", "one")
    assert 0 == code, said
    assert 0 == live.ended()[0]
    assert "run/savepoints/one" == out
    return folder / out


def test_a_run_from_a_savepoint_has_its_state_and_goes_on_with_its_files(
    start: Start, tmp_path: Path
) -> None:
    saved(start, tmp_path, 1, 2)
    live = start("--state", "new", "--from", "run/savepoints/one")
    post(live.port(), row(5, 1))
    killed(live)
    # The same command goes on with it, and so does one that does not say where it began.
    live = start("--state", "new", "--from", "run/savepoints/one")
    post(live.port(), row(6, 1))
    killed(live)
    live = start("--state", "new")
    post(live.port(), row(7, 2))
    ended(live)
    assert [1, 2, 1, 1, 2] == live.kept()
    assert [1, 1, 2, 3, 2] == totals(tmp_path)


def test_a_run_can_go_back_to_a_savepoint_until_its_files_are_complete(
    start: Start, tmp_path: Path
) -> None:
    saved(start, tmp_path, 1)
    live = start("--state", "run")
    post(live.port(), row(5, 7))
    live.signal(signal.SIGTERM)
    assert 0 == live.ended()[0]
    live = start("--state", "back", "--from", "run/savepoints/one")
    post(live.port(), row(6, 8))
    ended(live)
    assert [1, 8] == live.kept()
    live = start("--state", "late", "--from", "run/savepoints/one")
    code, said = live.ended()
    assert 1 == code
    assert "is gone or cut off" in said[-1]


def test_new_sinks_hold_what_came_after_the_savepoint(start: Start, tmp_path: Path) -> None:
    saved(start, tmp_path, 1, 1)
    live = start("--state", "run")
    ended(live)
    assert [1, 1] == live.kept()
    live = start("--state", "new", "--from", "run/savepoints/one", "--new-sinks")
    post(live.port(), row(5, 1))
    ended(live)
    assert [1] == live.kept()
    # The newest row had waited for its key's order in time.
    assert [2, 3] == totals(tmp_path)


def test_a_changed_flow_begins_from_a_savepoint(start: Start, tmp_path: Path) -> None:
    saved(start, tmp_path, 1, 1)
    changed = TOTALS.replace("rows.value += 1", "rows.value += 10")
    live = start("--state", "new", "--from", "run/savepoints/one", rest=changed)
    post(live.port(), row(5, 1))
    ended(live)
    assert [1, 11, 21] == totals(tmp_path)


def test_a_run_that_was_stopped_before_can_be_saved(start: Start, tmp_path: Path) -> None:
    live = start("--state", "run")
    live.port()
    assert (0, "") == headwater(tmp_path, "flow", "stop", "--state", "run")[:2]
    assert 0 == live.ended()[0]
    stop = ("flow", "stop", "--state", "run", "--savepoint", "one")
    assert (0, "run/savepoints/one") == headwater(tmp_path, *stop)[:2]
    code, _, said = headwater(tmp_path, *stop)
    assert (1, "run has a savepoint 'one' already; take another name") == (code, said)


def test_what_is_no_place_to_begin_from_is_refused(start: Start, tmp_path: Path) -> None:
    stop = ("flow", "stop", "--state", "run")
    assert (1, "", "run: no run has it") == headwater(tmp_path, *stop)
    assert (1, "") == headwater(tmp_path, *stop, "--savepoint", "one")[:2]
    live = start("--state", "run")
    post(live.port(), row(5, 1))
    killed(live)
    code, _, said = headwater(tmp_path, *stop, "--savepoint", "one")
    assert 1 == code
    assert "start it again, and stop it again" in said
    assert not (tmp_path / "run/savepoints").exists()
    ended(start("--state", "run"))
    code, _, said = headwater(tmp_path, *stop, "--savepoint", "one")
    assert (1, True) == (code, "has ended" in said)
    code, _, said = headwater(tmp_path, *stop, "--savepoint", "../one")
    assert (1, True) == (code, "no name for a savepoint" in said)
    code, _, said = headwater(tmp_path, "run", "flow.py", "--from", "run")
    assert (2, True) == (code, "--state" in said)
    for folder in ("run", "nowhere"):
        code, _, said = headwater(tmp_path, "run", "flow.py", "--state", "new", "--from", folder)
        assert (1, True) == (code, "is no savepoint" in said)


def test_a_folder_belongs_to_one_savepoint(start: Start, tmp_path: Path) -> None:
    savepoint = saved(start, tmp_path, 1)
    begin = ("run", "flow.py", "--from", str(savepoint), "--state")
    code, _, said = headwater(tmp_path, *begin, "run")
    assert (1, True) == (code, "run holds a run already" in said)
    # It died before it had its first image.
    live = start("--state", "new", "--from", str(savepoint))
    live.port()
    killed(live)
    for name in FileStorage(tmp_path / "new").names():
        if name != "origin":
            (tmp_path / "new" / name).unlink()
    code, _, said = headwater(tmp_path, "run", "flow.py", "--state", "new")
    assert (1, True) == (code, "say so with --from" in said)
    code, _, said = headwater(tmp_path, *begin, "new", "--new-sinks")
    assert (1, True) == (code, "began from another savepoint" in said)
    live = start("--state", "new", "--from", str(savepoint))
    post(live.port(), row(5, 2))
    ended(live)
    assert [1, 2] == live.kept()


def test_the_holder_of_a_folder_is_known_while_it_has_it(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    storage = FileStorage(tmp_path)
    storage.lock()
    assert os.getpid() == holder(tmp_path)
    storage.unlock()
    assert holder(tmp_path) is None
