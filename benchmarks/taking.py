"""Takes the measurements of a run: job by job, the engines of a job in turn."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .catalogue import Contender, Entry
from .peers import Peers
from .processes import OURS, Failed, Measured, ask, measure, run_windowed, write
from .report import Line, Report

__all__ = ["Plan", "take"]

_WARM_UP_ROWS: Final = 2000
_KEYS: Final = 20
"""Keys of a restart, in hundredths of the rows: a million of five."""
_SINCE_IMAGE: Final = 64
"""Rows since its last image, likewise: more than 200 MB of five million."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for: at most `rows` of each job; latency is measured for `seconds`.

    With `engines`, other engines than Headwater and these are left out.
    """

    jobs: tuple[Entry, ...]
    rows: int
    rounds: int
    seconds: int
    data: Path
    engines: frozenset[str] | None = None

    def rows_of(self, job: Entry, contender: Contender) -> int:
        """Return how many rows of each stream an engine gets."""
        if job.rate:
            return job.rate * self.seconds
        limits = (self.rows, job.most or self.rows, contender.most or self.rows)
        return min(limits)


def take(plan: Plan, peers: Peers, report: Report) -> None:
    """Measure what was asked for, into `report`."""
    for job in plan.jobs:
        print(f"{job.name}: {job.title}", file=sys.stderr, flush=True)
        if job.kind == "overhead":
            report.overhead = ask("overhead", str(plan.rounds))
        elif job.kind == "kernels":
            _kernels(report)
        elif job.kind == "memory":
            _peaks(plan, job, report)
        elif job.kind == "durable":
            _durable(plan, job, report)
        else:
            _in_turns(plan, job, peers, report)


def _contenders(plan: Plan, job: Entry, peers: Peers, report: Report) -> list[Contender]:
    """Return the engines of a job that are there; note those that are not."""
    present = []
    for one in job.contenders:
        name = one.engine.partition("-")[0]
        if plan.engines is not None and name not in (*plan.engines, "headwater"):
            continue
        if name in OURS or name not in peers.missing:
            present.append(one)
        else:
            report.missing[name] = peers.missing[name]
    return present


def _in_turns(plan: Plan, job: Entry, peers: Peers, report: Report) -> None:
    """Measure a job with each of its engines in turn, again and again."""
    contenders = _contenders(plan, job, peers, report)
    rows = {one.engine: plan.rows_of(job, one) for one in contenders}
    found: dict[str, list[Measured]] = {one.engine: [] for one in contenders}
    failed: set[str] = set()
    # What is told of a start is a median already.
    for _ in range(plan.rounds if job.kind != "startup" else 1):
        for one in contenders:
            if one.engine in failed:
                continue
            try:
                found[one.engine].append(_measured(plan, job, one, rows[one.engine]))
            except Failed as error:
                if one.engine in OURS:
                    raise
                failed.add(one.engine)
                report.missing[f"{job.name}, {one.engine}"] = str(error)
    for engine, rounds in found.items():
        if rounds and engine not in failed:
            count = rows[engine] * job.streams if job.kind != "startup" else 0
            report.lines.append(Line.of(job.name, engine, count, rounds))
    _refer(plan, job, report)


def _measured(plan: Plan, job: Entry, contender: Contender, rows: int) -> Measured:
    if job.kind == "startup":
        times = str(2 * plan.rounds)
        said = ask("startup", job.name, contender.engine, times, engine=contender.engine)
        return Measured(0.0, said.get("MiB", 0.0), said)
    for name in contender.forms:
        write(plan.data, name, rows)
        write(plan.data, name, min(rows, _WARM_UP_ROWS))
    return measure(plan.data, job.name, contender.engine, rows)


def _refer(plan: Plan, job: Entry, report: Report) -> None:
    """Have Headwater do what a slower engine did, so that results can be compared."""
    own = report.line(job.name)
    if own is None or job.kind != "timed":
        return
    counts = {other.rows for _, other in report.rivals(job.name)} - {own.rows}
    for count in sorted(counts):
        once = _measured(plan, job, job.contenders[0], count // job.streams)
        report.references[job.name, count] = once.result


def _peaks(plan: Plan, job: Entry, report: Report) -> None:
    """Measure the peak memory of a job for so many rows, and for ten times as many."""
    (contender,) = job.contenders
    (name,) = contender.forms
    for rows in (plan.rows, 10 * plan.rows):
        path = write(plan.data, name, rows)
        try:
            found = [run_windowed(path)]
        finally:
            if rows > plan.rows:
                path.unlink()
        report.lines.append(Line.of(job.name, "headwater", rows, found))


def _durable(plan: Plan, job: Entry, report: Report) -> None:
    """Ask for what it costs to be durable; each figure is a median already, or taken once."""
    data = str(plan.data)
    if job.name == "journal":
        rows = plan.rows
        write(plan.data, "sensors.parquet", rows)
        said = ask("journaling", data, str(rows), str(plan.rounds))
    else:
        rows = plan.rows * _SINCE_IMAGE // 100
        said = ask("restart", data, str(plan.rows * _KEYS // 100), str(rows))
    report.lines.append(Line.of(job.name, "headwater", rows, [Measured(0.0, 0.0, said)]))


def _kernels(report: Report) -> None:
    for name in ask("kernelbench"):
        print(f"  {name}", file=sys.stderr, flush=True)
        try:
            report.kernels += ask("kernelbench", name)
        except Failed as error:
            report.missing[f"kernels, {name}"] = str(error)
