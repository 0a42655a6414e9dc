"""Draws the mean delay by hour of the day, a line for each airport, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 960, 540
LEFT, RIGHT, TOP, BOTTOM = 84, 190, 104, 76
# Told apart also by those who see no difference between red and green (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
INK, FAINT, GRID = "#1f2933", "#616e7c", "#e4e7eb"
FONT = "font-family='Helvetica, Arial, sans-serif'"

Line = Mapping[int, float]
"""Hour of the day -> mean delay in minutes."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where hours and minutes lie on the picture."""

    first: int
    last: int
    low: int
    high: int
    step: int

    def x(self, hour: float) -> float:
        share = (hour - self.first) / max(1, self.last - self.first)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, minutes: float) -> float:
        share = (minutes - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def picture(lines: Mapping[str, Line], *, title: str, subtitle: str) -> str:
    """Return the picture; there must be a point at least."""
    scale = scale_of(lines)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' "
        f"width='{WIDTH}' height='{HEIGHT}' role='img' {FONT}>",
        f"<title>{escape(title)}</title>",
        f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#ffffff'/>",
        text(LEFT, 44, title, size=24, weight=600),
        text(LEFT, 70, subtitle, size=14, colour=FAINT),
        *axes(scale),
    ]
    for colour, (name, line) in zip(COLOURS, lines.items(), strict=False):
        parts.extend(drawn(name, line, colour, scale))
    parts.extend(legend(lines))
    return "\n".join([*parts, "</svg>", ""])


def scale_of(lines: Mapping[str, Line]) -> Scale:
    hours = [hour for line in lines.values() for hour in line]
    delays = [delay for line in lines.values() for delay in line.values()]
    top, bottom = max(*delays, 1.0), min(*delays, 0.0)
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if top - bottom <= 7 * step)
    # A line that only touches the floor is not worth a row of empty picture.
    low = 0 if bottom > -step / 5 else math.floor(bottom / step) * step
    high = math.ceil(top / step) * step
    return Scale(min(hours), max(hours), low, high, step)


def axes(scale: Scale) -> Iterator[str]:
    end = WIDTH - RIGHT
    for minutes in range(scale.low, scale.high + 1, scale.step):
        y = scale.y(minutes)
        colour = INK if minutes == 0 else GRID
        yield f"<path d='M{LEFT} {y:.1f}H{end}' stroke='{colour}'/>"
        yield text(LEFT - 12, y + 5, str(minutes), anchor="end", colour=FAINT)
    floor = HEIGHT - BOTTOM
    for hour in range(scale.first, scale.last + 1):
        x = scale.x(hour)
        yield f"<path d='M{x:.1f} {floor}v5' stroke='{FAINT}'/>"
        if hour % 2 == 0:
            yield text(x, floor + 23, f"{hour}:00", anchor="middle", colour=FAINT)
    middle = (LEFT + end) / 2
    yield text(middle, HEIGHT - 20, "hour of the scheduled departure (New York)", anchor="middle")
    across = (TOP + floor) / 2
    yield text(28, across, "mean delay, minutes", anchor="middle", turned=True)


def drawn(name: str, line: Line, colour: str, scale: Scale) -> Iterator[str]:
    points = [(scale.x(hour), scale.y(delay)) for hour, delay in sorted(line.items())]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    yield (
        f"<path d='M{path}' fill='none' stroke='{colour}' stroke-width='2.5' "
        f"stroke-linejoin='round'/>"
    )
    for (x, y), (hour, delay) in zip(points, sorted(line.items()), strict=True):
        label = escape(f"{name}, {hour}:00: {delay:.1f} min")
        yield (
            f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3.5' fill='{colour}' stroke='#ffffff'>"
            f"<title>{label}</title></circle>"
        )


def legend(lines: Mapping[str, Line]) -> Iterator[str]:
    x = WIDTH - RIGHT + 26
    for number, (colour, name) in enumerate(zip(COLOURS, lines, strict=False)):
        y = TOP + 14 + 28 * number
        yield f"<path d='M{x} {y}h26' stroke='{colour}' stroke-width='2.5'/>"
        yield f"<circle cx='{x + 13}' cy='{y}' r='3.5' fill='{colour}' stroke='#ffffff'/>"
        yield text(x + 36, y + 5, name)


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: int = 14,
    weight: int = 400,
    anchor: str = "start",
    colour: str = INK,
    turned: bool = False,
) -> str:
    turn = f" transform='rotate(-90 {x:.1f} {y:.1f})'" if turned else ""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' font-weight='{weight}' "
        f"text-anchor='{anchor}' fill='{colour}'{turn}>{escape(words)}</text>"
    )
