"""Runs the benchmarks: ``python -m benchmarks --quick``, or `make bench JOBS="A B" ROWS=1000000`.

Every measurement is a process of its own on one core; the engines of a job take turns, so that a
drift of the machine hits all of them. Options left out come from the environment variables JOBS,
ROWS and QUICK. Nothing here imports polars: a parent's memory would show in its children's peaks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .catalogue import CATALOGUE, Entry, chosen
from .processes import Measured, measure, run_windowed, write
from .report import Line, Report, machine, shown

ROOT: Final = Path(__file__).resolve().parent.parent
_ROWS: Final = 5_000_000
_WARM_UP_ROWS: Final = 2000


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was asked for."""

    jobs: tuple[Entry, ...]
    rows: int
    rounds: int
    data: Path


def _arguments() -> tuple[_Plan, bool]:
    env = os.environ
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument(
        "jobs",
        nargs="*",
        help=f"which: {', '.join(CATALOGUE)}, or the beginning of such a name; all by default",
    )
    parser.add_argument("--rows", type=int, default=int(env.get("ROWS") or _ROWS))
    parser.add_argument("--quick", action="store_true", default=bool(env.get("QUICK")))
    parser.add_argument("--rounds", type=int, help="5 by default, 3 with --quick")
    parser.add_argument("--data", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--save", action="store_true", help="keep benchmarks/results.json as well")
    given = parser.parse_args()
    names = given.jobs or env.get("JOBS", "").split()
    try:
        jobs = chosen(names)
    except ValueError as error:
        parser.error(str(error))
    rounds = (3 if given.quick else 5) if given.rounds is None else given.rounds
    if given.rows < 1 or rounds < 1:
        parser.error("--rows and --rounds are at least 1")
    return _Plan(jobs, given.rows, rounds, given.data.resolve()), given.save


def _timed(plan: _Plan, job: Entry) -> list[Line]:
    """Measure a job with each of its engines in turn, `rounds` times."""
    rows = min(plan.rows, job.most or plan.rows)
    for form in job.forms:
        write(ROOT, plan.data, form, rows)
        write(ROOT, plan.data, form, min(rows, _WARM_UP_ROWS))
    found: dict[str, list[Measured]] = {engine: [] for engine in job.engines}
    for _ in range(plan.rounds):
        for engine in job.engines:
            found[engine].append(measure(ROOT, plan.data, job.name, engine, rows))
    return [Line.of(job.name, engine, rows, found[engine]) for engine in job.engines]


def _peaks(plan: _Plan, job: Entry) -> list[Line]:
    """Measure the peak memory of a job for so many rows, and for ten times as many."""
    lines: list[Line] = []
    (form,) = job.forms
    for rows in (plan.rows, 10 * plan.rows):
        path = write(ROOT, plan.data, form, rows)
        try:
            found = [run_windowed(ROOT, path)]
        finally:
            if rows > plan.rows:
                path.unlink()
        lines.append(Line.of(job.name, "headwater", rows, found))
    return lines


def _run(plan: _Plan) -> Report:
    report = Report(machine())
    for job in plan.jobs:
        print(f"{job.name}: {job.title}", file=sys.stderr, flush=True)
        if job.kind == "overhead":
            report.overhead = measure(ROOT, plan.data, job.name, "headwater", plan.rounds).result
        elif job.kind == "memory":
            report.lines += _peaks(plan, job)
        else:
            report.lines += _timed(plan, job)
    return report


def main() -> int:
    """Run what was asked for; return 1 if engines gave different results."""
    plan, save = _arguments()
    plan.data.mkdir(parents=True, exist_ok=True)
    report = _run(plan)
    targets = [plan.data / "results.json"]
    if save:
        targets.append(ROOT / "benchmarks" / "results.json")
    for target in targets:
        target.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    print(shown(report))
    for problem in report.differences():
        print(problem, file=sys.stderr)
    return 1 if report.differences() else 0


if __name__ == "__main__":
    sys.exit(main())
