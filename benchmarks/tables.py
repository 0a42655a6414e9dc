"""A report as Markdown tables, which a terminal shows as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from .catalogue import CATALOGUE
from .ratios import Goal, Ratio
from .report import Line, Report

__all__ = ["shown"]

_OVERHEAD: Final = Goal(20, most=True)
Rows = list[tuple[str, ...]]


def shown(report: Report, ratios: Sequence[Ratio]) -> str:
    """Return the report: machine and versions, ratios, speeds, and the other tables."""
    parts = [
        f"Machine: {_listed(report.machine)}.",
        f"Versions: {_listed(report.versions)}.",
        f"Rounds: {report.rounds}, of which the tables have the median.",
        *_missing(report),
        _ratio_table(ratios),
        *_speeds(report),
        *_busy(report),
        *_latencies(report),
        *_figures(report),
        *_durable(report),
        *_kernels(report),
        *_overhead(report),
    ]
    return "\n\n".join(part for part in parts if part)


def _listed(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())


def _missing(report: Report) -> Iterator[str]:
    """Name what was not measured, and why."""
    if report.missing:
        rows = [(name, reason.replace("|", "/")) for name, reason in report.missing.items()]
        yield _table(("missing", "why"), rows)


def _ratio_table(ratios: Sequence[Ratio]) -> str:
    if not ratios:
        return ""
    said = {True: "yes", False: "**no**", None: ""}
    rows = [
        (
            one.name,
            _figure(one.value),
            _figure(one.of_core),
            "" if one.goal is None else str(one.goal),
            said[one.met],
        )
        for one in ratios
    ]
    return _table(("ratio", "by the clock", "by the core", "goal", "met"), rows)


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _speeds(report: Report) -> Iterator[str]:
    lines = [one for one in report.lines if CATALOGUE[one.job].kind in ("timed", "memory")]
    if lines:
        head = ("job", "engine", "is handed", "rows", "k rows/s", "min", "max", "peak MiB")
        yield _table(head, [_cells(line) for line in lines])


def _cells(line: Line) -> tuple[str, ...]:
    contenders = CATALOGUE[line.job].contenders
    handed = next(c.handed for c in contenders if c.engine == line.engine)
    speeds = (line.median_rows_per_s, line.min, line.max)
    return (
        line.job,
        line.engine,
        handed,
        f"{line.rows:,}",
        *(_thousands(speed) for speed in speeds),
        f"{line.peak_rss_mb:,.0f}",
    )


def _thousands(speed: float) -> str:
    return f"{speed / 1000:,.0f}" if speed >= 100_000 else f"{speed / 1000:.1f}"


def _busy(report: Report) -> Iterator[str]:
    """Say which figures to distrust."""
    busy = report.busy()
    if busy:
        named = ", ".join(f"{one.job} {one.engine} {one.core_share:.0%}" for one in busy)
        yield (
            "These had the core for only a part of their time, as they waited or as other programs "
            f"used it, which makes their figures too low: {named}."
        )


def _latencies(report: Report) -> Iterator[str]:
    lines = [one for one in report.lines if CATALOGUE[one.job].kind == "latency"]
    if lines:
        names = [name for name in lines[0].result if name.startswith("p")]
        rows = [
            (
                f"{CATALOGUE[one.job].rate:,}",
                f"{one.rows:,}",
                *(f"{one.result[name]:.2f}" for name in names),
            )
            for one in lines
        ]
        yield _table(("latency at rows/s", "rows", *names), rows)


def _figures(report: Report) -> Iterator[str]:
    imports = [one for one in report.lines if one.job == "import"]
    rows: Rows = [
        (f"{what} {one.engine}", f"{value:.3f} s")
        for one in imports
        for key, value in one.result.items()
        for what in ["import" if key == "seconds" else "import and first use of"]
    ]
    if idle := report.line("idle"):
        rows.append(("idle `headwater run`, resident", f"{idle.result['MiB']:.0f} MiB"))
    if rows:
        yield _table(("at the start", ""), rows)


def _durable(report: Report) -> Iterator[str]:
    lines = [one for one in report.lines if CATALOGUE[one.job].kind == "durable"]
    rows = [(line.job, name, _figure(v)) for line in lines for name, v in line.result.items()]
    if rows:
        yield _table(("durable runs", "what", ""), rows)


def _kernels(report: Report) -> Iterator[str]:
    if report.kernels:
        head = ("kernel", "what", "headwater", "best library", "its", "ratio")
        yield _table(head, [_kernel(one) for one in report.kernels])


def _kernel(one: dict[str, Any]) -> tuple[str, ...]:
    figures = (one["figure"], one["ratio"])
    other, ratio = ("" if value is None else f"{value:.3g}" for value in figures)
    return one["kernel"], one["what"], f"{one['headwater']:.3g}", one["library"], other, ratio


def _overhead(report: Report) -> Iterator[str]:
    if report.overhead:
        rows = [
            (name, f"{micros:.1f}", "" if "by hand" in name or "source" in name else str(_OVERHEAD))
            for name, micros in report.overhead.items()
        ]
        yield _table(("overhead of an operator and batch", "µs", "goal"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    ruled = ["-" * max(3, width) for width in widths]
    return "\n".join(
        "| " + " | ".join(c.ljust(max(3, w)) for c, w in zip(row, widths, strict=True)) + " |"
        for row in (head, ruled, *rows)
    )
