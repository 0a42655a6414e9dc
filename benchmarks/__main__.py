"""Runs the benchmarks: ``python -m benchmarks --quick``, or `make bench JOBS="A B" ROWS=1000000`.

Every measurement is a process of its own on one core; the engines of a job take turns, so that a
drift of the machine hits all of them. Options left out come from the environment variables JOBS,
ROWS, QUICK and SAVE. Nothing here imports polars: a parent's memory would show in its children's
peaks.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from .catalogue import CATALOGUE, chosen
from .peers import Peers
from .processes import ROOT
from .ratios import ratios
from .report import Report, machine, versions
from .saving import save, write
from .tables import shown
from .taking import Plan, take

_ROWS: Final = 5_000_000


def _arguments() -> tuple[Plan, bool]:
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
    parser.add_argument("--seconds", type=int, help="of latency: 10 by default, 3 with --quick")
    parser.add_argument("--data", type=Path, default=ROOT / "build" / "bench")
    parser.add_argument("--engines", nargs="*", help="Headwater, and of the others these alone")
    parser.add_argument(
        "--save",
        action="store_true",
        default=bool(env.get("SAVE")),
        help="put the results into benchmarks/results.json and the docs",
    )
    given = parser.parse_args()
    try:
        jobs = chosen(given.jobs or env.get("JOBS", "").split())
    except ValueError as error:
        parser.error(str(error))
    rounds = (3 if given.quick else 5) if given.rounds is None else given.rounds
    seconds = (3 if given.quick else 10) if given.seconds is None else given.seconds
    if min(given.rows, rounds, seconds) < 1:
        parser.error("--rows, --rounds and --seconds are at least 1")
    engines = None if given.engines is None else frozenset(given.engines)
    plan = Plan(jobs, given.rows, rounds, seconds, given.data.resolve(), engines)
    return plan, given.save


def main() -> int:
    """Run what was asked for; return 1 if engines gave different results."""
    plan, saved = _arguments()
    plan.data.mkdir(parents=True, exist_ok=True)
    peers = Peers.found()
    report = Report(machine(), versions(peers.versions), plan.rounds)
    take(plan, peers, report)
    found = ratios(report)
    text = shown(report, found)
    write(plan.data, report, found, text)
    if saved:
        save(ROOT, report, found, text)
    print(text)
    differences = report.differences()
    for problem in differences:
        print(problem, file=sys.stderr)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
