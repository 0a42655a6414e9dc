"""Runs a measurement in a process of its own, on one core and with one polars thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Measured", "measure", "run_windowed", "write"]

_SETTINGS: Final = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
_TO_MIB: Final = 1 / (1 << 20 if sys.platform == "darwin" else 1 << 10)


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement: the time of the job itself, what came out, and the process's peak memory."""

    seconds: float
    peak_mb: float
    result: dict[str, float]


def measure(root: Path, data: Path, job: str, engine: str, rows: int) -> Measured:
    """Measure a job once; raises `subprocess.CalledProcessError`."""
    command = [sys.executable, "-m", "benchmarks.measure", job, engine]
    command += ["--rows", str(rows), "--data", str(data)]
    answer, peak_mb = _run(root, command)
    found = json.loads(answer.splitlines()[-1])
    return Measured(found.get("seconds", 0.0), peak_mb, found["result"])


def run_windowed(root: Path, readings: Path) -> Measured:
    """Measure `headwater run` of the flow file `windowed.py` on a file of readings."""
    with tempfile.TemporaryDirectory(dir=readings.parent) as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "headwater.edge.command", "run", "benchmarks/windowed.py"]
        command += ["--set", f"readings={readings}", "--set", f"windows={folder}/windows.parquet"]
        command += ["--report", str(report), "--dead", f"{folder}/dead.jsonl", "--no-live"]
        _, peak_mb = _run(root, command)
        found = json.loads(report.read_text())
    result = {"windows": float(found["sinks"]["file"]), "dead": float(found["dead"])}
    return Measured(found["wall_seconds"], peak_mb, result)


def write(root: Path, data: Path, form: str, rows: int) -> Path:
    """Have a file of readings written if it is not there yet, and return its path."""
    command = [sys.executable, "-m", "benchmarks.sensors", str(data), form, str(rows)]
    answer, _ = _run(root, command)
    return Path(answer.strip())


def _run(root: Path, command: list[str]) -> tuple[str, float]:
    """Return what the command printed and its peak memory in MiB."""
    env = {**os.environ, **_SETTINGS}
    child = subprocess.Popen(
        command,
        cwd=root,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout is not None
    with child.stdout as out:
        answer = out.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.stderr.write(answer)
        raise subprocess.CalledProcessError(child.returncode, command)
    return answer, usage.ru_maxrss * _TO_MIB
