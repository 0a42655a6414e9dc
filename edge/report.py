"""What a run did, as JSON for programs."""

from __future__ import annotations

import json
import resource
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from ..connectors.atomic import AtomicFile
from ..flows.batch import END, START
from ..flows.engine.runner import Progress
from ..flows.errors import ConnectorError
from ..flows.graph import Graph
from .tally import Tally, rows_read, tallies

__all__ = ["Measured", "report_of", "write_report"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured about a run from outside."""

    started: int
    """µs since the epoch."""
    wall_seconds: float
    workers: int


def report_of(graph: Graph, progress: Progress, measured: Measured) -> dict[str, Any]:
    """Return the report of a run.

    `peak_rss_mb` is of this process, plus that of the largest worker times their number.
    `late` rows that no operator reads are among the `dead`. `dropped` counts the rows that
    operators left out on purpose, as repetitions. A function of a row says how many batches it ran
    on columns, how many row by row, and why the last of these.
    """
    every = tallies(graph, progress)
    read = rows_read(graph, progress)
    return {
        "flow": graph.flow,
        "started": _time(measured.started),
        "wall_seconds": measured.wall_seconds,
        "rows_per_second": read / measured.wall_seconds if measured.wall_seconds else 0.0,
        "peak_rss_mb": _peak_rss_mb(measured.workers),
        "workers": measured.workers,
        "sources": {
            tally.operator: {
                "rows": tally.rows_in,
                "dead": tally.dead,
                "watermark": _watermark(tally.watermark),
            }
            for tally in every
            if tally.is_source
        },
        "operators": {t.operator: _operator(t) for t in every if not t.is_source},
        "sinks": {graph.node(name).operator: rows for name, rows in progress.sinks.items()},
        "late": sum(tally.late for tally in every),
        "dead": progress.dead,
        "dropped": sum(tally.dropped for tally in every),
    }


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write a report, all of it or nothing; raises `ConnectorError`."""
    file = AtomicFile(path)
    try:
        file.file.write(json.dumps(report, indent=2, ensure_ascii=False).encode() + b"\n")
        file.close()
    except OSError as error:
        file.abort()
        raise ConnectorError(f"{path}: cannot be written: {error.strerror}") from error


def _operator(tally: Tally) -> dict[str, Any]:
    found = {
        "rows_in": tally.rows_in,
        "rows_out": tally.rows_out,
        "seconds": tally.seconds,
        "batches": tally.batches,
        "late": tally.late,
        "dead": tally.dead,
        "watermark": _watermark(tally.watermark),
    }
    if tally.by_columns or tally.by_rows:
        found["batches_by_columns"] = tally.by_columns
        found["batches_by_rows"] = tally.by_rows
        found["by_rows_because"] = tally.why_by_rows or None
    return found


def _watermark(watermark: int) -> str | None:
    """Return a watermark as a time; None before the first row, "end" after the last."""
    if watermark <= START:
        return None
    return "end" if watermark >= END else _time(watermark)


def _time(moment: int) -> str | None:
    try:
        return (_EPOCH + timedelta(microseconds=moment)).isoformat().replace("+00:00", "Z")
    except OverflowError:  # a source may have set it before the year 1
        return None


def _peak_rss_mb(workers: int) -> float:
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss if workers > 1 else 0
    return (own + child * workers) / 1024
