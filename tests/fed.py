"""A small flow over one file, run as a user runs it, and what came of it."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from headwater.edge.command import app

__all__ = [
    "SOURCES",
    "Case",
    "Ran",
    "assert_as_told",
    "assert_nothing_left",
    "assert_one_line",
    "flow_file",
    "inside",
    "letters_of",
    "lines_of",
    "outside",
]

FLOW: Final = """
import sys
from collections.abc import Iterator

import headwater as hw
from headwater.connectors import files, stdio


class Reading(hw.Event):
    n: int
    name: str


class Line(hw.Event):
    text: str


flow = hw.Flow("fed")


@flow.source
def readings() -> hw.Source[{event}]:
    return {source}

{operator}
@flow.sink({last})
def out() -> hw.Sink:
    return {sink}
"""
SOURCES: Final = {
    "text": "files.text('in')",
    "csv": "files.csv('in')",
    "jsonl": "files.json_lines('in')",
    "gz": "files.csv('in')",
    "parquet": "files.parquet('in')",
    "file": "files.ipc('in')",
    "stream": "files.ipc('in')",
}
DEADLINE: Final = 60


@dataclass(frozen=True)
class Ran:
    """How a run ended, and what it said."""

    code: int
    said: str


@dataclass(frozen=True)
class Case:
    """An input, and by hand what becomes of it."""

    name: str
    form: str
    content: bytes
    good: Sequence[Any] = ()
    """The rows of the output: (n, name), or a text."""
    dead: Sequence[tuple[str, bytes, str]] = ()
    """Of each dead letter the place, the bytes, and a part of the reason."""
    fails: str | None = None
    """A part of the one line that says why the file cannot be read at all."""

    def __str__(self) -> str:
        return f"{self.form}-{self.name.replace(' ', '-')}"


def flow_file(
    folder: Path,
    form: str,
    *,
    operator: str = "",
    source: str | None = None,
    sink: str = "files.to_json_lines('out.jsonl')",
    more: str = "",
) -> None:
    text = FLOW.format(
        event="Line" if form == "text" else "Reading",
        source=source or SOURCES[form],
        operator=operator,
        last="changed" if operator else "readings",
        sink=sink,
    )
    (folder / "flow.py").write_text(text + more)


def inside(folder: Path, *arguments: str) -> Ran:
    """Run the flow in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner().invoke(app, ["run", "flow.py", *arguments])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return Ran(result.exit_code, result.stderr)


def outside(folder: Path, *arguments: str, shell: str = 'exec "$@"') -> Ran:
    """Run the flow in a process of its own, as a user does."""
    command = [sys.executable, "-m", "headwater.edge.command", "run", "flow.py", *arguments]
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return Ran(done.returncode, done.stderr)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def letters_of(folder: Path) -> list[tuple[str, bytes, str]]:
    """Return the place, the bytes and the reason of each dead letter."""
    path = folder / "fed.dead.jsonl"
    return [
        (
            letter["origin"],
            base64.b64decode(letter["raw_base64"])
            if "raw_base64" in letter
            else letter["raw"].encode(),
            letter["reason"],
        )
        for letter in (lines_of(path) if path.exists() else [])
    ]


def assert_one_line(ran: Ran, told: str) -> None:
    assert 1 == ran.code, ran.said
    assert 1 == len(ran.said.splitlines()), ran.said
    assert ran.said.startswith("fed: failed: ")
    assert told in ran.said
    assert "--traceback" not in ran.said


def assert_nothing_left(folder: Path, *also: str) -> None:
    assert {path.name for path in folder.iterdir()} <= {"flow.py", "in", "__pycache__", *also}


def assert_as_told(case: Case, ran: Ran, folder: Path) -> None:
    """Check a run of which the report is in report.json against what the case foresees."""
    assert "Traceback" not in ran.said
    if case.fails is not None:
        assert_one_line(ran, case.fails)
        assert re.search(r"\bin\b", ran.said), "it names the file"
        assert_nothing_left(folder, "fed.dead.jsonl")
        return
    assert 0 == ran.code, ran.said
    assert_nothing_left(folder, "fed.dead.jsonl", "out.jsonl", "report.json")
    rows = [tuple(row.values()) for row in lines_of(folder / "out.jsonl")]
    assert [row if isinstance(row, tuple) else (row,) for row in case.good] == rows
    letters = letters_of(folder)
    assert [(f"in, {place}", raw) for place, raw, _ in case.dead] == [one[:2] for one in letters]
    for (_, _, part), (_, _, reason) in zip(case.dead, letters, strict=True):
        assert part in reason
    report = json.loads((folder / "report.json").read_text())
    assert len(case.good) + len(case.dead) == report["sources"]["readings"]["rows"]
    assert len(case.dead) == report["dead"]
