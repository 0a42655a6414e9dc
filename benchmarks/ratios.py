"""The ratios of a run by name, with the goal of those that have one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from .report import Line, Report

__all__ = ["BY_CORE", "GOALS", "Goal", "Ratio", "ratios"]

MEMORY_MIB: Final = 400.0
BY_CORE: Final = ", by the core"
"""Ends the name of a figure that is another one by the time that each had the core."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure is to be: at least so much, or at most."""

    value: float
    most: bool = False

    def is_met(self, found: float) -> bool:
        """Whether a figure reaches the goal."""
        return found <= self.value if self.most else found >= self.value

    def __str__(self) -> str:
        return f"at {'most' if self.most else 'least'} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio, or a figure that has a goal by itself.

    `of_core` is the ratio by the time that each had the core, which other programs disturb less.
    """

    name: str
    value: float
    of_core: float | None
    goal: Goal | None

    @property
    def met(self) -> bool | None:
        """Whether its goal is met; None if it has none."""
        return None if self.goal is None else self.goal.is_met(self.value)


GOALS: Final = {
    "A: headwater/polars": Goal(0.8),
    "A: headwater/bytewax-arrow": Goal(1),
    "B: headwater/polars": Goal(0.8),
    "B: headwater/bytewax": Goal(300),
    "B: headwater/quix": Goal(300),
    "G/B": Goal(0.5),
    "C: headwater/fastest peer": Goal(2),
    "C: headwater/polars": Goal(1.2),
    "D-python: headwater/python": Goal(1),
    "D-python: headwater/bytewax": Goal(1),
    "D-vector/D-python": Goal(10),
    "E/B, time": Goal(1.5, most=True),
    "F: headwater/fastest peer": Goal(10),
    "latency-10k, p99 ms": Goal(5, most=True),
    "import, s": Goal(0.25, most=True),
    "idle, MB": Goal(130, most=True),
    "memory-csv: peak at ten times the rows": Goal(1.2, most=True),
    "memory-csv, MB": Goal(MEMORY_MIB, most=True),
    "memory-parquet: peak at ten times the rows": Goal(1.2, most=True),
    "memory-parquet, MB": Goal(MEMORY_MIB, most=True),
    "journal, A: with/without": Goal(0.75),
    "journal, B: with/without": Goal(0.75),
    "journal, A: with its rows/without": Goal(0.75),
    "journal, B: with its rows/without": Goal(0.75),
    "journal, append p99 ms": Goal(1, most=True),
    "restart, s": Goal(10, most=True),
}
"""By the name of the ratio. MB are MiB, as the system counts a process's memory."""
_WITH_PEERS: Final = ("C", "F")
_BETWEEN_JOBS: Final = (
    ("G/B", "G", "B"),
    ("D-vector/D-python", "D-vector", "D-python"),
    ("E/B, time", "B", "E"),
)
"""Names, and the jobs of Headwater whose speeds are divided."""
_SINGLE: Final = (("import", "seconds", "import, s"), ("idle", "MiB", "idle, MB"))
"""Jobs with one figure that has a goal, how it is called in their result, and its name here."""
_DURABLE: Final = ("journal", "restart")


def ratios(report: Report) -> list[Ratio]:
    """Return the ratios of all that was measured: those with a goal first, as GOALS has them."""
    found = {one.name: one for one in _found(report)}
    names = [name for name in GOALS if name in found]
    names += [name for name in found if name not in GOALS]
    return [found[name] for name in names]


def _found(report: Report) -> Iterator[Ratio]:
    for own, other in report.rivals():
        yield _of_speeds(f"{own.job}: headwater/{other.engine}", own, other)
    for job in _WITH_PEERS:
        peers = [pair for pair in report.rivals(job) if pair[1].engine != "polars"]
        if peers:
            own, fastest = max(peers, key=lambda pair: pair[1].median_rows_per_s)
            yield _of_speeds(f"{job}: headwater/fastest peer", own, fastest)
    for name, one, another in _BETWEEN_JOBS:
        first, second = report.line(one), report.line(another)
        if first and second:
            yield _of_speeds(name, first, second)
    for name, value in (*_figures(report), *_growth(report)):
        yield Ratio(name, value, None, GOALS.get(name))
    yield from _durable(report)


def _of_speeds(name: str, one: Line, other: Line) -> Ratio:
    of_core = None
    if one.median_rows_per_core_s and other.median_rows_per_core_s:
        of_core = one.median_rows_per_core_s / other.median_rows_per_core_s
    value = one.median_rows_per_s / other.median_rows_per_s
    return Ratio(name, value, of_core, GOALS.get(name))


def _figures(report: Report) -> Iterator[tuple[str, float]]:
    """Yield the figures that have a goal by themselves."""
    for line in report.lines:
        if line.engine == "headwater" and line.job.startswith("latency-"):
            yield from ((f"{line.job}, {p}", v) for p, v in line.result.items() if p[0] == "p")
    for job, key, name in _SINGLE:
        if found := report.line(job):
            yield name, found.result[key]
    compared = [one["ratio"] for one in report.kernels if one["ratio"] is not None]
    if compared:
        yield "kernels/best library, median", median(compared)
        yield "kernels/best library, lowest", min(compared)


def _durable(report: Report) -> Iterator[Ratio]:
    """Yield the figures of durable runs that have a goal."""
    for line in report.lines:
        if line.job in _DURABLE:
            for name, value in line.result.items():
                goal = GOALS.get(f"{line.job}, {name}")
                if goal is not None:
                    of_core = line.result.get(name + BY_CORE)
                    yield Ratio(f"{line.job}, {name}", value, of_core, goal)


def _growth(report: Report) -> Iterator[tuple[str, float]]:
    """Yield the peak memory of many rows, and how it is to that of a tenth of them."""
    peaks: dict[str, list[float]] = {}
    for line in report.lines:
        if line.job.startswith("memory-"):
            peaks.setdefault(line.job, []).append(line.peak_rss_mb)
    for job, found in peaks.items():
        yield f"{job}, MB", max(found)
        yield f"{job}: peak at ten times the rows", found[-1] / found[0]
