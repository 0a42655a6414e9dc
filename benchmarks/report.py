"""Puts measurements together: medians, ratios, whether results agree."""

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

from .catalogue import CATALOGUE
from .processes import Measured

__all__ = ["Line", "Report", "machine", "versions"]

_VERSIONS: Final = ("headwater", "polars", "pyarrow", "pydantic")
_BUSY: Final = 0.95


@dataclass(frozen=True, slots=True)
class Line:
    """A job with one engine: rows per second over all rounds, and the largest peak memory.

    Rows per second of the core leave out when the process did not have it; 0 if not measured.
    """

    job: str
    engine: str
    rows: int
    median_rows_per_s: float
    min: float
    max: float
    peak_rss_mb: float
    result: dict[str, float]
    median_rows_per_core_s: float = 0.0

    @classmethod
    def of(cls, job: str, engine: str, rows: int, rounds: Sequence[Measured]) -> Line:
        """Sum up the rounds of a job with one engine; of a result, each figure's median."""
        speeds = [rows / one.seconds for one in rounds if one.seconds]
        of_core = [rows / one.core_seconds for one in rounds if one.core_seconds]
        return cls(
            job,
            engine,
            rows,
            median(speeds) if speeds else 0.0,
            min(speeds, default=0.0),
            max(speeds, default=0.0),
            max(one.peak_mb for one in rounds),
            {name: median(one.result[name] for one in rounds) for name in rounds[0].result},
            median(of_core) if of_core else 0.0,
        )

    @property
    def core_share(self) -> float:
        """The part of its time that the process had the core; 1 if that was not measured."""
        return self.median_rows_per_s / (self.median_rows_per_core_s or self.median_rows_per_s or 1)


@dataclass(slots=True)
class Report:
    """All that was measured in one run, and on what."""

    machine: dict[str, str]
    versions: dict[str, str]
    rounds: int
    lines: list[Line] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """Why an engine is not there, by name, or by job and engine."""
    references: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)
    """Headwater's result of a job over the rows that a slower engine got."""
    overhead: dict[str, float] = field(default_factory=dict)
    """µs per operator and batch, by kind and rows of a batch."""
    kernels: list[dict[str, Any]] = field(default_factory=list)

    def line(self, job: str, engine: str = "headwater") -> Line | None:
        """Return what was measured of a job and engine, if it was."""
        found = (one for one in self.lines if (one.job, one.engine) == (job, engine))
        return next(found, None)

    def rivals(self, job: str | None = None) -> Iterator[tuple[Line, Line]]:
        """Yield Headwater's line of a job, and another engine's."""
        for other in self.lines:
            if other.engine != "headwater" and other.rows and job in (None, other.job):
                own = self.line(other.job)
                if own is not None:
                    yield own, other

    def differences(self) -> list[str]:
        """Say where another engine's results are not Headwater's over the same rows."""
        return [
            f"{own.job}: headwater gives {name} = {expected.get(name)}, {other.engine} {value}"
            for own, other in self.rivals()
            for expected in [self._expected(own, other)]
            for name, value in other.result.items()
            if not math.isclose(
                expected.get(name, math.nan), value, rel_tol=_tolerance(own.job, other.engine)
            )
        ]

    def _expected(self, own: Line, other: Line) -> dict[str, float]:
        if own.rows == other.rows:
            return own.result
        return self.references.get((own.job, other.rows), {})

    def busy(self) -> list[Line]:
        """Return what was measured while other programs used the core."""
        timed = (one for one in self.lines if CATALOGUE[one.job].kind == "timed")
        return [one for one in timed if one.core_share < _BUSY]

    def as_json(self, ratios: dict[str, float]) -> dict[str, Any]:
        """Return everything as JSON, with the ratios by name."""
        return {
            "machine": self.machine,
            "versions": self.versions,
            "rounds": self.rounds,
            "results": [asdict(line) for line in self.lines],
            "ratios": ratios,
            "missing": self.missing,
            "overhead_us": self.overhead,
            "kernels": self.kernels,
        }


def _tolerance(job: str, engine: str) -> float:
    return next(c.tolerance for c in CATALOGUE[job].contenders if c.engine == engine)


def machine() -> dict[str, str]:
    """Name the machine."""
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "memory": f"{_memory_gib():.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions(peers: dict[str, str]) -> dict[str, str]:
    """Name the versions: of the project's environment, then those that only the peers' has."""
    own = {name: importlib.metadata.version(name) for name in _VERSIONS}
    return own | {name if name not in own else f"{name} (peers)": v for name, v in peers.items()}


def _memory_gib() -> float:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError):
        return math.nan


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
