"""Puts measurements together: medians, ratios, whether results agree, a table."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from .processes import Measured

__all__ = ["Line", "Report", "machine", "shown"]

_VERSIONS: Final = ("polars", "pyarrow", "pydantic")
_MEMORY_MB: Final = 400.0
_GROWTH: Final = 1.2
_OVERHEAD_US: Final = 20.0
_TOLERANCE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Line:
    """A job with one engine: rows per second over all rounds, and the largest peak memory."""

    job: str
    engine: str
    rows: int
    median_rows_per_s: float
    min: float
    max: float
    peak_rss_mb: float
    result: dict[str, float]

    @classmethod
    def of(cls, job: str, engine: str, rows: int, rounds: Sequence[Measured]) -> Line:
        """Sum up the rounds of a job with one engine."""
        speeds = [rows / one.seconds for one in rounds]
        return cls(
            job,
            engine,
            rows,
            median(speeds),
            min(speeds),
            max(speeds),
            max(one.peak_mb for one in rounds),
            rounds[0].result,
        )


@dataclass(slots=True)
class Report:
    """All that was measured in one run, and on what."""

    machine: dict[str, str]
    lines: list[Line] = field(default_factory=list)
    overhead: dict[str, float] = field(default_factory=dict)
    """µs per operator and batch, by kind and rows of a batch."""

    def rivals(self) -> Iterator[tuple[Line, Line]]:
        """Yield Headwater's line of a job, and another engine's."""
        for other in self.lines:
            if other.engine != "headwater":
                yield next(one for one in self.lines if one.job == other.job), other

    def ratios(self) -> dict[str, float]:
        """Return Headwater's speed over that of each other engine, and memory's growth."""
        found = {
            f"{own.job}: headwater / {other.engine}": own.median_rows_per_s
            / other.median_rows_per_s
            for own, other in self.rivals()
        }
        peaks: dict[str, list[Line]] = {}
        for line in self.lines:
            if line.job.startswith("memory-"):
                peaks.setdefault(line.job, []).append(line)
        for job, (few, many) in ((job, pair) for job, pair in peaks.items() if len(pair) == 2):
            found[f"{job}: peak at ten times the rows"] = many.peak_rss_mb / few.peak_rss_mb
        return found

    def differences(self) -> list[str]:
        """Say where another engine's results are not Headwater's (1e-9 relative)."""
        return [
            f"{own.job}: headwater gives {name} = {own.result.get(name)}, {other.engine} {value}"
            for own, other in self.rivals()
            for name, value in other.result.items()
            if not math.isclose(own.result.get(name, math.nan), value, rel_tol=_TOLERANCE)
        ]

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "machine": self.machine,
            "results": [asdict(line) for line in self.lines],
            "ratios": self.ratios(),
            "overhead_us": self.overhead,
        }


def machine() -> dict[str, str]:
    """Name the machine and the versions."""
    found = {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    return found | {name: importlib.metadata.version(name) for name in _VERSIONS}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def shown(report: Report) -> str:
    """Return the report as Markdown tables, which a terminal shows as well."""
    parts = [", ".join(f"{name} {value}" for name, value in report.machine.items())]
    if report.lines:
        parts.append(_table(_HEAD, [_cells(report, line) for line in report.lines]))
    growth = [(n, r) for n, r in report.ratios().items() if n.endswith("ten times the rows")]
    if growth:
        rows = [(name, f"{ratio:.2f}", f"at most {_GROWTH}") for name, ratio in growth]
        parts.append(_table(("memory", "ratio", "goal"), rows))
    if report.overhead:
        goal = f"at most {_OVERHEAD_US:.0f}"
        rows = [
            (name, f"{micros:.1f}", "" if "by hand" in name or "source" in name else goal)
            for name, micros in report.overhead.items()
        ]
        parts.append(_table(("overhead", "µs", "goal"), rows))
    return "\n\n".join(parts)


_HEAD: Final = ("job", "engine", "rows", "k rows/s", "min", "max", "headwater / it", "peak MiB")


def _cells(report: Report, line: Line) -> tuple[str, ...]:
    ratio = report.ratios().get(f"{line.job}: headwater / {line.engine}")
    peak = f"{line.peak_rss_mb:.0f}"
    if line.job.startswith("memory-"):
        peak += f" (goal: {_MEMORY_MB:.0f})"
    speeds = (line.median_rows_per_s, line.min, line.max)
    return (
        line.job,
        line.engine,
        f"{line.rows:,}",
        *(f"{speed / 1000:,.0f}" for speed in speeds),
        "" if ratio is None else f"{ratio:.3f}",
        peak,
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    ruled = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in (head, ruled, *rows)
    )
