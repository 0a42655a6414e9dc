"""Runs a measurement in a process of its own, on one core and with one polars thread."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .peers import interpreter

__all__ = ["ROOT", "Failed", "Measured", "ask", "measure", "run_windowed", "write"]

ROOT: Final = Path(__file__).resolve().parent.parent
OURS: Final = ("headwater", "polars")
"""The engines that run in the project's environment; the others run in that of the peers."""
_SETTINGS: Final = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
_MOST_SECONDS: Final = 600
_TO_MIB: Final = 1 / (1 << 20 if sys.platform == "darwin" else 1 << 10)


class Failed(Exception):
    """A measurement that could not be made; says why in a line."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement: the time of the job itself, what came out, and the process's peak memory.

    `core_seconds` are those of the job in which the process had the core: less than `seconds` if it
    waited, or if other programs used the core; 0 if they were not measured.
    """

    seconds: float
    peak_mb: float
    result: dict[str, float]
    core_seconds: float = 0.0


def measure(data: Path, job: str, engine: str, rows: int) -> Measured:
    """Measure a job once; raises `Failed`."""
    command = [str(_python(engine)), "-W", "ignore", "-m", "benchmarks.measure", job, engine]
    command += ["--rows", str(rows), "--data", str(data)]
    answer, peak_mb = _run(command)
    found = _said(answer)
    return Measured(found["seconds"], peak_mb, found["result"], found["core_seconds"])


def ask(module: str, *arguments: str, engine: str = "headwater") -> Any:
    """Return what a module of the benchmarks says, as its last line, in JSON; raises `Failed`."""
    answer, _ = _run([str(_python(engine)), "-m", f"benchmarks.{module}", *arguments])
    return _said(answer)


def _said(answer: str) -> Any:
    """Return the last line that is JSON: what a library prints may stand around it."""
    found = [line for line in answer.splitlines() if line.startswith(("{", "["))]
    for line in reversed(found):
        with suppress(json.JSONDecodeError):
            return json.loads(line)
    raise Failed(f"told no result: {answer[-200:]!r}")


def run_windowed(readings: Path) -> Measured:
    """Measure `headwater run` of the flow file `windowed.py` on a file of readings."""
    with tempfile.TemporaryDirectory(dir=readings.parent) as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "headwater.edge.command", "run", "benchmarks/windowed.py"]
        command += ["--set", f"readings={readings}", "--set", f"windows={folder}/windows.parquet"]
        command += ["--report", str(report), "--dead", f"{folder}/dead.jsonl", "--no-live"]
        _, peak_mb = _run(command)
        found = json.loads(report.read_text())
    result = {"windows": float(found["sinks"]["file"]), "dead": float(found["dead"])}
    return Measured(found["wall_seconds"], peak_mb, result)


def write(data: Path, name: str, rows: int) -> Path:
    """Have a file such as `sensors.csv` written if it is not there yet, and return its path."""
    fleet, _, form = name.partition(".")
    path = data / f"{fleet}-{rows}.{form}"
    if path.exists():
        return path
    command = [sys.executable, "-m", "benchmarks.sensors", str(data), form, str(rows), fleet]
    answer, _ = _run(command)
    return Path(answer.strip())


def _python(engine: str) -> Path:
    return Path(sys.executable) if engine in OURS else interpreter()


def _run(command: list[str]) -> tuple[str, float]:
    """Return what the command printed and its peak memory in MiB."""
    env = {**os.environ, **_SETTINGS}
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout is not None
    limit = threading.Timer(_MOST_SECONDS, child.kill)
    limit.start()
    with child.stdout as out:
        answer = out.read()
    _, status, usage = os.wait4(child.pid, 0)
    limit.cancel()
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode == -signal.SIGKILL:
        raise Failed(f"took more than {_MOST_SECONDS} s, or was killed")
    if child.returncode:
        sys.stderr.write(answer)
        raise Failed((answer.splitlines() or ["nothing was said"])[-1])
    return answer, usage.ru_maxrss * _TO_MIB
