"""What a newcomer is told: every wrong flow in `wrong_flows` says what its first lines expect."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.edge.command import app

FOLDER = Path(__file__).parent / "wrong_flows"
FLOWS = sorted(FOLDER.rglob("*.py"))


def expected(path: Path) -> list[str]:
    """The texts that a file expects to be told, in its first lines."""
    mark = "# expect: "
    lines = path.read_text("utf-8").splitlines()
    return [line.removeprefix(mark) for line in lines if line.startswith(mark)]


def test_there_are_many_and_each_expects_something() -> None:
    assert len(FLOWS) >= 50
    assert [] == [path.name for path in FLOWS if not expected(path)]


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_each_is_told(path: Path) -> None:
    result = CliRunner().invoke(app, ["check", str(path)])
    assert [] == [text for text in expected(path) if text not in result.output]
    assert 2 == result.exit_code
    assert "Traceback" not in result.output


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_run_refuses_it_with_the_same_words(path: Path) -> None:
    result = CliRunner().invoke(app, ["run", "--no-live", str(path)])
    assert [] == [text for text in expected(path) if text not in result.output]
    assert 2 == result.exit_code
    assert "Traceback" not in result.output


def test_all_of_them_at_once_by_the_installed_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headwater.edge.command", "check", str(FOLDER)],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1"},
        timeout=60,
        check=False,
    )
    wanted = [text for path in FLOWS for text in expected(path)]
    assert [] == [text for text in wanted if text not in done.stdout]
    assert f"{len(FLOWS)} flows checked, " in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "" == done.stderr
    assert 2 == done.returncode
