"""Rows per second of every job and engine as a bar chart (SVG, logarithmic)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from .catalogue import CATALOGUE
from .report import Line, Report

__all__ = ["picture"]

_WIDTH: Final = 800
_NAMES: Final = 130
"""Pixels on the left, for the names of the engines."""
_FIGURES: Final = 70
_BAR: Final = 14
_STEP: Final = 18
_GAP: Final = 34
_GREY: Final = "#7a7f87"  # can be read on white and on black
_FAINT: Final = "#7a7f8740"
_COLOURS: Final = {
    "headwater": "#0b7fc7",
    "polars": "#8a93a0",
    "python": "#b9a24c",
    "bytewax": "#d98f2b",
    "quix": "#8e6bbf",
    "pathway": "#3f9b7a",
    "faust": "#c2606b",
}


def picture(report: Report) -> str:
    """Return the chart as an SVG document; an empty string if no job was timed."""
    lines = [one for one in report.lines if CATALOGUE[one.job].kind == "timed"]
    if not lines:
        return ""
    jobs = {
        job: [one for one in lines if one.job == job] for job in dict.fromkeys(x.job for x in lines)
    }
    scale = _Scale.over([one.median_rows_per_s for one in lines])
    top = 24
    drawn: list[str] = []
    for job, those in jobs.items():
        drawn += _group(job, those, scale, top)
        top += _GAP + _STEP * len(those)
    ticks = "".join(scale.ticks(top))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + 30}" '
        f'width="{_WIDTH}" height="{top + 30}" font-family="sans-serif" font-size="12" '
        f'fill="{_GREY}" role="img"><title>Rows per second by job and engine, on one core'
        f"</title>{ticks}{''.join(drawn)}</svg>\n"
    )


class _Scale:
    """From rows per second to pixels, by whole powers of ten."""

    def __init__(self, low: int, high: int) -> None:
        self._low = low
        self._high = high

    @classmethod
    def over(cls, speeds: Sequence[float]) -> _Scale:
        """Return the scale that holds all speeds, with a bar of some length for the lowest."""
        low = math.floor(math.log10(min(speeds)))
        high = math.ceil(math.log10(max(speeds)))
        return cls(low, max(high, low + 1))

    def x(self, speed: float) -> float:
        """Return where a bar of a speed ends."""
        share = (math.log10(speed) - self._low) / (self._high - self._low)
        return _NAMES + share * (_WIDTH - _NAMES - _FIGURES)

    def ticks(self, bottom: int) -> Iterator[str]:
        """Yield a line and a label for each power of ten."""
        for power in range(self._low, self._high + 1):
            x = self.x(10.0**power)
            yield f'<path d="M{x:.1f} 14V{bottom}" stroke="{_FAINT}"/>'
            yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{_short(10.0**power)}'
            yield "</text>"


def _group(job: str, lines: Sequence[Line], scale: _Scale, top: int) -> Iterator[str]:
    title = escape(f"{job}: {CATALOGUE[job].title}")
    yield f'<text x="4" y="{top + 8}" font-weight="bold">{title}</text>'
    for number, line in enumerate(lines):
        y = top + 16 + number * _STEP
        colour = _COLOURS[line.engine.partition("-")[0]]
        length = scale.x(line.median_rows_per_s) - _NAMES
        middle = y + _BAR - 3
        yield f'<text x="{_NAMES - 6}" y="{middle}" text-anchor="end">{line.engine}</text>'
        yield f'<rect x="{_NAMES}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>'
        x = _NAMES + length + 5
        yield f'<text x="{x:.1f}" y="{middle}">{_short(line.median_rows_per_s)}/s</text>'


def _short(number: float) -> str:
    for power, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= power:
            return f"{number / power:.3g}{letter}"
    return f"{number:.3g}"
