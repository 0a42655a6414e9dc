"""A run as it goes on: a live table on a terminal, a line now and then elsewhere.

Both look at the run between steps and only a few times a second, so that a row costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..flows.batch import END, START
from ..flows.clock import Clock
from ..flows.engine.runner import Progress
from ..flows.graph import Graph
from .tally import Tally, rows_read, tallies

__all__ = ["LineView", "LiveView", "Rates", "View", "duration", "lag_of", "reached"]

_REFRESH: Final = 0.2
"""Seconds between two pictures, at the least."""
_LINE: Final = 5.0
"""Seconds between two lines."""
_SMOOTH: Final = 2.0
"""Seconds over which a rate is averaged."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HISTORIC: Final = 86_400_000_000
"""µs of lag from which data counts as historic: its age says nothing about the run."""


class View(Protocol):
    """Shows a run."""

    def watch(self, progress: Progress) -> None:
        """Called between steps."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


class Rates:
    """Rows per second of each operator, averaged over the last seconds."""

    __slots__ = ("_rates", "_rows", "_when")

    def __init__(self) -> None:
        self._rates: dict[str, float] = {}
        self._rows: dict[str, int] = {}
        self._when: float | None = None

    def update(self, rows: dict[str, int], now: float) -> dict[str, float]:
        """Take the rows so far, at `now` (seconds); return the rates."""
        passed = 0.0 if self._when is None else now - self._when
        if passed > 0:
            weight = min(1.0, passed / _SMOOTH)
            for name, total in rows.items():
                fresh = (total - self._rows.get(name, 0)) / passed
                before = self._rates.get(name, fresh)
                self._rates[name] = before + weight * (fresh - before)
        self._rows = dict(rows)
        self._when = now
        return {name: self._rates.get(name, 0.0) for name in rows}


class LiveView:
    """A table that is drawn anew at most five times a second."""

    def __init__(
        self,
        graph: Graph,
        clock: Clock,
        console: Console,
        *,
        redirect: bool = False,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to draw; with `redirect`, what the flow prints is put above the table."""
        self._graph = graph
        self._clock = clock
        self._seconds = seconds
        self._begun = self._last = seconds()
        self._rates = Rates()
        self._rates.update({}, self._begun)
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=redirect,
            redirect_stderr=False,
        )
        self._live.start()

    def watch(self, progress: Progress) -> None:
        now = self._seconds()
        if now - self._last < _REFRESH:
            return
        self._last = now
        self._live.update(self._picture(progress, now), refresh=True)

    def close(self) -> None:
        self._live.stop()

    def _picture(self, progress: Progress, now: float) -> RenderableType:
        every = tallies(self._graph, progress)
        rates = self._rates.update({t.operator: t.rows_in for t in every}, now)
        table = _table(every, rates, self._clock.now())
        below = _bar(progress.done, now - self._begun)
        return Group(table, below)


class LineView:
    """A line every few seconds, for a log."""

    def __init__(
        self,
        graph: Graph,
        print_line: Callable[[str], None],
        *,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._graph = graph
        self._print = print_line
        self._seconds = seconds
        self._begun = self._last = seconds()
        self._rows = 0

    def watch(self, progress: Progress) -> None:
        now = self._seconds()
        passed = now - self._last
        if passed < _LINE:
            return
        self._last = now
        rows = rows_read(self._graph, progress)
        rate, self._rows = (rows - self._rows) / passed, rows
        late = sum(count.late for count in progress.counts.values())
        parts = [duration(now - self._begun), f"{rows:,} rows read", f"{rate:,.0f} rows/s"]
        if late:
            parts.append(f"{late:,} late")
        if progress.dead:
            parts.append(f"{progress.dead:,} dead")
        if progress.done is not None:
            parts.append(_share(progress.done, now - self._begun))
        self._print(", ".join(parts))

    def close(self) -> None:
        """Nothing to put back."""


def lag_of(watermark: int, now: int) -> int | None:
    """Return by how many µs a watermark is behind `now`; None for historic data or none yet."""
    if not START < watermark < END or now - watermark > _HISTORIC:
        return None
    return max(0, now - watermark)


def reached(watermark: int) -> str:
    """Return a watermark as a time in UTC to the second; empty before the first and at the end."""
    if not START < watermark < END:
        return ""
    try:
        return f"{_EPOCH + timedelta(microseconds=watermark):%Y-%m-%d %H:%M:%S}"
    except OverflowError:  # event times that no calendar has
        return ""


def duration(seconds: float) -> str:
    """Return a length of time as a person reads it: ``0.4s``, ``12s``, ``3m05s``, ``2h10m``."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def _table(every: tuple[Tally, ...], rates: dict[str, float], now: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("operator", no_wrap=True)
    for heading in ("rows/s", "in", "out", "queue", "late", "dead", "watermark", "lag"):
        table.add_column(heading, justify="right", no_wrap=True)
    for tally in every:
        lag = lag_of(tally.watermark, now)
        table.add_row(
            Text(tally.operator),
            f"{rates.get(tally.operator, 0.0):,.0f}",
            f"{tally.rows_in:,}",
            f"{tally.rows_out:,}",
            f"{tally.held:,}" if tally.held else "",
            f"{tally.late:,}" if tally.late else "",
            Text(f"{tally.dead:,}", style="red") if tally.dead else "",
            reached(tally.watermark),
            "" if lag is None else duration(lag / 1e6),
        )
    return table


def _bar(done: float | None, passed: float) -> RenderableType:
    if done is None:
        return Text(f"running for {duration(passed)}; Ctrl-C to finish")
    row = Table.grid(padding=(0, 1))
    row.add_row(ProgressBar(total=1.0, completed=done, width=40), Text(_share(done, passed)))
    return row


def _share(done: float, passed: float) -> str:
    """Return how much has been done, and how long the rest takes if it goes on like that."""
    text = f"{done:.0%}"
    if 0.01 <= done < 1:
        text += f", {duration(passed * (1 - done) / done)} left"
    return text
