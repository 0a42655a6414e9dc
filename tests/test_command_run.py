"""`headwater run`: results, report, settings, dead letters, signals and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headwater.edge.clock import SystemClock
from headwater.edge.command import app
from headwater.edge.live import Rates, duration, lag_of
from headwater.flows.batch import END, START

HEAD = """
import polars as pl

import headwater as hw
from headwater.connectors import files


class Reading(hw.Event):
    at: hw.EventTime
    freezer: str
    celsius: float


class Minute(hw.Event):
    freezer: str
    n: int
    warmest: float


class Limits(hw.Settings):
    coldest: float = -100.0


flow = hw.Flow("cold", settings=Limits)


@flow.source
def readings() -> hw.Source[Reading]:
    return files.csv("readings.csv")

"""

MINUTES = """
@flow.operator(readings)
def kept(row: Reading, limits: Limits) -> Reading | None:
    return row if row.celsius >= limits.coldest else None


@flow.operator(kept)
def minutes(rows: hw.Stream[Reading]) -> hw.Stream[Minute]:
    windows = rows.filter(pl.col("celsius") < 90).key_by("freezer").window(hw.tumbling("1m"))
    return windows.agg(n=pl.len(), warmest=pl.col("celsius").max())


@flow.sink(minutes)
def out() -> hw.Sink:
    return files.to_json_lines("out.jsonl")
"""

ENDLESS = """
import headwater as hw
from headwater.connectors import files, synthetic


class Reading(hw.Event):
    at: hw.EventTime
    freezer: str
    celsius: float


flow = hw.Flow("endless")


@flow.source
def readings() -> hw.Source[Reading]:
    print("begun", flush=True)
    return synthetic.sensors(devices=2)


@flow.sink(readings)
def out() -> hw.Sink:
    return files.to_csv("out.csv")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a flow and its input: one row late, one that is no row."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.py").write_text(HEAD + MINUTES)
    (tmp_path / "readings.csv").write_text(
        "at,freezer,celsius\n"
        "2024-01-01T00:00:01Z,a,-20\n"
        "2024-01-01T00:00:02Z,b,-25\n"
        "2024-01-01T00:00:03Z,a,warm\n"
        "2024-01-01T00:00:59Z,a,-18\n"
        "2024-01-01T00:01:30Z,b,-21\n"
        "2024-01-01T00:00:30Z,b,-22\n"
    )
    return tmp_path


def headwater(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


def started(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "headwater.edge.command", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


def test_it_runs_to_the_end_and_says_what_came_of_it(here: Path) -> None:
    result = headwater("run", "flow.py")
    assert 0 == result.exit_code, result.output
    assert [
        {"freezer": "a", "n": 2, "warmest": -18.0},
        {"freezer": "b", "n": 1, "warmest": -21.0},
        {"freezer": "b", "n": 1, "warmest": -25.0},
    ] == rows_of(here / "out.jsonl")
    assert "" == result.stdout
    assert "cold: done in" in result.stderr
    assert "6 rows read" in result.stderr
    assert "out: 3 rows written" in result.stderr
    assert "1 late row (minutes 1)" in result.stderr
    assert "2 dead letters in cold.dead.jsonl" in result.stderr


def test_dead_letters_are_lines_with_their_origin(here: Path) -> None:
    headwater("run", "flow.py", "--dead", "dead.jsonl")
    letters = rows_of(here / "dead.jsonl")
    by_operator = {letter["operator"]: letter for letter in letters}
    assert {"readings", "minutes"} == set(by_operator)
    bad = by_operator["readings"]
    assert "2024-01-01T00:00:03Z,a,warm" == bad["raw"].strip()
    assert "readings.csv, line 4" == bad["origin"]
    assert "celsius" in bad["reason"]
    assert -22.0 == json.loads(by_operator["minutes"]["raw"])["celsius"]
    headwater("run", "flow.py", "--dead", "dead.jsonl")
    assert 4 == len(rows_of(here / "dead.jsonl"))


def test_dead_letters_that_are_no_text_are_base64(here: Path) -> None:
    with (here / "readings.csv").open("ab") as file:
        file.write(b"2024-01-01T00:02:00Z,\xff,1\n")
    assert 0 == headwater("run", "flow.py").exit_code
    encoded = [letter for letter in rows_of(here / "cold.dead.jsonl") if "raw_base64" in letter]
    assert 1 == len(encoded)
    assert "raw" not in encoded[0]


def test_no_dead_letters_no_file(here: Path) -> None:
    (here / "readings.csv").write_text("at,freezer,celsius\n2024-01-01T00:00:01Z,a,-20\n")
    result = headwater("run", "flow.py", "--strict")
    assert 0 == result.exit_code
    assert "dead" not in result.stderr
    assert ["flow.py", "out.jsonl", "readings.csv"] == sorted(
        path.name for path in here.iterdir() if path.is_file()
    )


def test_strict_exits_with_3_when_there_are(here: Path) -> None:
    assert 3 == headwater("run", "flow.py", "--strict").exit_code
    assert 3 == len(rows_of(here / "out.jsonl"))


def test_report(here: Path) -> None:
    result = headwater("run", "flow.py", "--report", "report.json")
    assert 0 == result.exit_code
    report = json.loads((here / "report.json").read_text())
    assert {
        "flow", "started", "wall_seconds", "rows_per_second", "peak_rss_mb", "workers",
        "operators", "sources", "sinks", "late", "dead", "dropped",
    } == set(report)  # fmt: skip
    assert "cold" == report["flow"]
    assert report["started"].endswith("Z")
    assert {"out": 3} == report["sinks"]
    assert (1, 2, 0) == (report["late"], report["dead"], report["dropped"])
    assert 6 == report["sources"]["readings"]["rows"]
    assert ["kept", "minutes"] == list(report["operators"])
    assert {"rows_in": 5, "rows_out": 5, "late": 0, "dead": 0} == {
        name: report["operators"]["kept"][name] for name in ("rows_in", "rows_out", "late", "dead")
    }
    minutes = report["operators"]["minutes"]
    assert (5, 3, 1) == (minutes["rows_in"], minutes["rows_out"], minutes["late"])
    assert {"rows_in", "rows_out", "seconds", "batches", "late", "dead", "watermark"} == set(
        minutes
    )
    assert report["wall_seconds"] > 0
    assert report["peak_rss_mb"] > 1


def test_report_that_cannot_be_written(here: Path) -> None:
    result = headwater("run", "flow.py", "--report", "nowhere/report.json")
    assert 1 == result.exit_code
    assert "the folder 'nowhere' does not exist" in result.stderr


def test_settings_from_the_command_line_and_the_environment(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    headwater("run", "flow.py", "--set", "coldest=-19")
    assert [{"freezer": "a", "n": 1, "warmest": -18.0}] == rows_of(here / "out.jsonl")
    monkeypatch.setenv("HEADWATER_COLDEST", "-19")
    headwater("run", "flow.py")
    assert 1 == len(rows_of(here / "out.jsonl"))
    headwater("run", "flow.py", "--set", "coldest=-100")
    assert 3 == len(rows_of(here / "out.jsonl"))


@pytest.mark.parametrize(
    ("pair", "told"),
    [
        ("coldst=1", "unknown setting 'coldst'; did you mean 'coldest'? the fields of Limits are"),
        ("coldest", "write it as name=value"),
        ("coldest=icy", "settings: coldest: Input should be a valid number"),
        ("coldest.deep=1", "coldest has no fields of its own"),
    ],
)
def test_settings_that_are_wrong(here: Path, pair: str, told: str) -> None:
    result = headwater("run", "flow.py", "--set", pair)
    assert 2 == result.exit_code
    assert told in result.stderr
    assert 1 == len(result.stderr.splitlines())


def test_nested_settings(here: Path) -> None:
    nested = HEAD.replace(
        "class Limits(hw.Settings):\n    coldest: float = -100.0",
        "class Range(BaseModel):\n    coldest: float = -100.0\n    names: list[str] = []\n\n\n"
        "class Limits(hw.Settings):\n    range: Range = Range()",
    ).replace("import polars", "from pydantic import BaseModel\nimport polars")
    text = (nested + MINUTES).replace("limits.coldest", "limits.range.coldest")
    text = text.replace("row if row", "row if row.freezer in limits.range.names and row")
    (here / "flow.py").write_text(text)
    result = headwater(
        "run", "flow.py", "--set", "range.coldest=-19", "--set", 'range.names=["a", "x"]'
    )
    assert 0 == result.exit_code, result.stderr
    assert [{"freezer": "a", "n": 1, "warmest": -18.0}] == rows_of(here / "out.jsonl")
    result = headwater("run", "flow.py", "--set", "range.warmest=1")
    assert "unknown setting 'warmest'" in result.stderr


def test_a_flow_without_settings_takes_none(here: Path) -> None:
    (here / "flow.py").write_text(ENDLESS)
    result = headwater("run", "flow.py", "--set", "a=1")
    assert 2 == result.exit_code
    assert "the flow has no settings" in result.stderr


def test_leaf_is_printed_to_stdout(here: Path) -> None:
    (here / "flow.py").write_text(HEAD)
    result = headwater("run", "flow.py")
    assert 0 == result.exit_code
    assert 5 == len([line for line in result.stdout.splitlines() if line.startswith("readings ")])
    assert "readings (terminal): 5 rows printed" in result.stderr


def test_failure_while_running_is_one_line(here: Path) -> None:
    (here / "readings.csv").unlink()
    result = headwater("run", "flow.py")
    assert 1 == result.exit_code
    assert "cold: failed: " in result.stderr
    assert "readings.csv" in result.stderr
    assert 1 == len(result.stderr.splitlines())
    assert not (here / "out.jsonl").exists()


def test_a_source_that_raises_is_told_with_its_line(here: Path) -> None:
    text = HEAD.replace('return files.csv("readings.csv")', 'raise OSError("no such sensor")')
    (here / "flow.py").write_text(text)
    result = headwater("run", "flow.py")
    line = text.splitlines().index('    raise OSError("no such sensor")') + 1
    assert 1 == result.exit_code
    assert f"cold: failed: flow.py:{line}: OSError: no such sensor" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in headwater("run", "flow.py", "--traceback").stderr


def test_two_workers_give_the_same(here: Path) -> None:
    done = started(here, "run", "flow.py", "--workers", "2", "--report", "report.json")
    _, errors = done.communicate(timeout=60)
    assert 0 == done.returncode, errors
    assert [
        {"freezer": "a", "n": 2, "warmest": -18.0},
        {"freezer": "b", "n": 1, "warmest": -21.0},
        {"freezer": "b", "n": 1, "warmest": -25.0},
    ] == rows_of(here / "out.jsonl")
    report = json.loads((here / "report.json").read_text())
    assert 2 == report["workers"]
    assert (1, 2) == (report["late"], report["dead"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_completes(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "flow.py").write_text(ENDLESS)
    run = started(tmp_path, "run", "flow.py")
    assert run.stdout is not None
    assert "begun\n" == run.stdout.readline()
    run.send_signal(number)
    _, errors = run.communicate(timeout=30)
    assert 0 == run.returncode, errors
    assert "stopping: " in errors
    assert "endless: stopped and drained" in errors
    assert (tmp_path / "out.csv").exists()


def test_a_second_signal_aborts(tmp_path: Path) -> None:
    stuck = ENDLESS.replace(
        "@flow.sink(readings)",
        textwrap.dedent("""
            @flow.operator(readings)
            def stuck(row: Reading) -> Reading:
                print("stuck", flush=True)
                threading.Event().wait(30)
                return row


            @flow.sink(stuck)"""),
    ).replace("import headwater as hw\n", "import threading\n\nimport headwater as hw\n", 1)
    (tmp_path / "flow.py").write_text(stuck)
    run = started(tmp_path, "run", "flow.py")
    assert run.stdout is not None
    assert run.stderr is not None
    assert ["begun\n", "stuck\n"] == [run.stdout.readline(), run.stdout.readline()]
    run.send_signal(signal.SIGINT)
    assert "stopping: " in run.stderr.readline()
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=30)
    assert 130 == run.returncode, errors
    assert "endless: aborted" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.needs("pty")
def test_live_view_on_a_terminal(here: Path) -> None:
    import pty

    many = "".join(f"2024-01-01T01:{n // 60 % 60:02}:{n % 60:02}Z,a,1\n" for n in range(900))
    (here / "readings.csv").write_text("at,freezer,celsius\n" + many)
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-m", "headwater.edge.command", "run", "flow.py", "--batch-rows", "1"],
        cwd=here,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm"},
    )
    os.close(theirs)
    drawn = b""
    try:
        while part := os.read(ours, 65_536):
            drawn += part
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
    out, _ = run.communicate(timeout=30)
    assert 0 == run.returncode
    assert b"" == out
    assert b"rows/s" in drawn
    assert b"cold: done in" in drawn


def test_the_clock_never_runs_backwards() -> None:
    clock = SystemClock()
    times = [clock.now() for _ in range(1000)]
    assert sorted(times) == times
    assert times[0] > 1_700_000_000_000_000


def test_rates_are_averaged() -> None:
    rates = Rates()
    assert {"a": 0.0} == rates.update({"a": 0}, 10.0)
    assert {"a": 100.0} == rates.update({"a": 100}, 11.0)
    assert {"a": 50.0} == rates.update({"a": 100}, 12.0)
    assert {"a": 0.0} == rates.update({"a": 100}, 14.0)


def test_lag_is_blank_for_history() -> None:
    day = 86_400_000_000
    assert 5 == lag_of(95, 100)
    assert 0 == lag_of(105, 100)
    assert lag_of(0, day + 1) is None
    assert lag_of(START, 0) is None
    assert lag_of(END, 0) is None


def test_durations_as_people_read_them() -> None:
    assert ["0.0s", "9.4s", "12s", "1m00s", "3m05s", "2h10m"] == [
        duration(s) for s in (0, 9.4, 12.3, 59.9, 185, 7800)
    ]
