"""Tumbling, hopping and whole windows over keyed streams.

Order-free: a row goes into its windows as it comes. A window closes when the watermark reaches
its end plus the lateness allowed; see `windowed` for the order of their rows. A row is late when,
by the watermark of its own partition, all its windows had closed before it.

As updates, every batch gives a row for each window that it changed: how often a window is seen on
its way depends on how rows were cut into batches, the last row of each window does not.

There are two ways: `window_table` where a kernel has every aggregate and key, `window_slots` for
all others, and for windows whose length and step have so small a common divisor that panes would
be as many as rows. Their rows and their order are the same, but for floats of hopping windows: the
first adds up the sums of panes, the second row by row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from ..batch import Logic
from ..decompose import Buffered, Incremental
from ..graph import Place
from ..windows import HoppingWindow, WholeWindow
from .window_columns import table_columns
from .window_slots import HoppingSlots, WholeSlots
from .window_table import WindowsByTable
from .windowed import (
    BEGIN,
    WINDOW_TIME,
    Emit,
    aggregated_schema,
    assigned,
    checked_keys,
    delayed,
    instants,
    window_rows,
    window_schema,
)

__all__ = [
    "BEGIN",
    "WINDOW_TIME",
    "Emit",
    "WindowAggregate",
    "aggregated_schema",
    "assigned",
    "checked_keys",
    "delayed",
    "instants",
    "window_rows",
    "window_schema",
]

_MOST_PANES: Final = 1000
"""In a step: an open pane has some memory of its own, however few its rows are."""


@dataclass(frozen=True, slots=True)
class WindowAggregate:
    """Aggregates per key and window; `lateness` in µs. See `window_schema` for its rows."""

    keys: tuple[str, ...]
    window: HoppingWindow | WholeWindow
    aggregates: tuple[Incremental | Buffered, ...]
    lateness: int = 0
    emit: Emit = "close"

    @property
    def title(self) -> str:
        """The window, by what, and how it is emitted."""
        by = f" by {', '.join(self.keys)}" if self.keys else ""
        return f"{self.window}{by}" + (" as updates" if self.emit == "updates" else "")

    def build(self, place: Place) -> Logic:
        """Make the state machine."""
        window = self.window
        columns = table_columns(self.aggregates, self.keys, place.inputs[0])
        if columns is not None and _panes(window) <= _MOST_PANES:
            return WindowsByTable(self, columns, place)
        if isinstance(window, WholeWindow):
            return WholeSlots(self, place)
        return HoppingSlots(self, window, place)


def _panes(window: HoppingWindow | WholeWindow) -> int:
    """Into how many panes a kernel cuts the time from one window's begin to the next."""
    if isinstance(window, WholeWindow):
        return 1
    return window.every // math.gcd(window.size, window.every)
