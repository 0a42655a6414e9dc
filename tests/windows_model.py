"""Rows of windows by lists in plain Python: what the kernels for windows are held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

from headwater.ext.accumulators import WindowPart
from headwater.ext.hashing import row_hashes
from headwater.ext.windowing import START

LONG = "a text that is longer than a view holds, "
TEXTS = st.sampled_from(
    [None, "", "a", "b", "twelve bytes", "thirteen byte", LONG + "1", LONG + "2"]
)
NUMBERS = st.sampled_from([None, 0, 1, -1, 2**63 - 1, -(2**63)])
WHOLES = st.none() | st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)
REALS = st.none() | st.sampled_from([0.1, 0.2, -0.3, 1e16, -1e16, 0.0, -0.0, math.nan, math.inf])
PARTS = (
    WindowPart("len"),
    WindowPart("count", "text"),
    WindowPart("count", "real"),
    WindowPart("sum", "whole"),
    WindowPart("sum", "real", True),
    WindowPart("mean", "real", True),
    WindowPart("min", "whole"),
    WindowPart("max", "whole"),
    WindowPart("min", "real", True),
    WindowPart("max", "real", True),
    WindowPart("var", "real", True),
    WindowPart("std", "real", True, ddof=0),
    WindowPart("first", "whole"),
    WindowPart("last", "real", True),
    WindowPart("first", "real", True, skip_nulls=True),
    WindowPart("last", "whole", skip_nulls=True),
)
SCHEMA = pl.Schema(
    {"text": pl.String(), "number": pl.Int64(), "time": pl.Datetime("us", "UTC"),
     "mark": pl.Int64(), "whole": pl.Int64(), "real": pl.Float64()}
)  # fmt: skip
KEYS = pa.schema([("text", pa.string_view()), ("number", pa.int64())])


@dataclass(frozen=True)
class Row:
    text: str | None
    number: int | None
    time: int
    whole: int | None = None
    real: float | None = None


@dataclass(frozen=True)
class Windows:
    size: int
    every: int
    offset: int = 0
    lateness: int = 0


ROWS = st.lists(
    st.builds(Row, TEXTS, NUMBERS, st.integers(-20, 60), WHOLES, REALS), max_size=40
)  # fmt: skip
WINDOWS = st.builds(
    lambda every, more, offset, lateness: Windows(every + more, every, offset, lateness),
    st.integers(1, 10), st.sampled_from([0, 0, 3, 5, 10]), st.integers(-3, 12), st.integers(0, 8),
)  # fmt: skip
CUTS = st.lists(st.integers(0, 40), max_size=5)


def frame_of(rows: Sequence[Row], disorder: int) -> pl.DataFrame:
    """The rows, each with the newest time before it less the disorder."""
    marks, newest = [], -math.inf
    for row in rows:
        marks.append(START if newest == -math.inf else int(newest) - disorder)
        newest = max(newest, row.time)
    columns: dict[str, list[Any]] = {
        "text": [r.text for r in rows], "number": [r.number for r in rows],
        "time": [r.time for r in rows], "mark": marks,
        "whole": [r.whole for r in rows], "real": [r.real for r in rows],
    }  # fmt: skip
    return pl.DataFrame(
        [pl.Series(n, v, dtype=pl.Int64 if n == "time" else SCHEMA[n]) for n, v in columns.items()]
    ).cast({"time": SCHEMA["time"]})


# The model


def hash_of(text: str | None, number: int | None) -> int:
    columns = [pa.array([text], pa.string_view()), pa.array([number], pa.int64())]
    found: int = row_hashes(columns)[0].as_py()
    return found


def order(text: str | None, number: int | None) -> tuple[Any, ...]:
    plain = ("" if text is None else text).encode()
    return hash_of(text, number), text is not None, plain, number is not None, number or 0


def modelled(rows: Sequence[Row], windows: Windows, disorder: int) -> tuple[list[Any], list[int]]:
    """The rows of windows in their order, and the places of late rows."""
    inside: dict[tuple[Any, Any, int], list[Row]] = {}
    late = []
    newest = -math.inf
    for place, row in enumerate(rows):
        begins = [
            begin
            for begin in range(row.time - windows.size + 1, row.time + 1)
            if (begin - windows.offset) % windows.every == 0
            and begin + windows.size + windows.lateness > newest - disorder
        ]
        for begin in begins:
            inside.setdefault((row.text, row.number, begin), []).append(row)
        if not begins:
            late.append(place)
        newest = max(newest, row.time)
    width = math.gcd(windows.size, windows.every)
    found = [
        (text, number, begin + windows.size, *summary(mine, width, windows.offset))
        for (text, number, begin), mine in inside.items()
    ]
    return sorted(found, key=lambda f: (f[2], order(f[0], f[1]))), late


def summary(rows: list[Row], width: int | None, offset: int = 0) -> tuple[Any, ...]:
    """What `PARTS` give for the rows of a window, whose panes are `width` long."""
    panes: dict[int, list[Row]] = {}
    for row in rows:
        panes.setdefault(0 if width is None else (row.time - offset) // width, []).append(row)
    cut = [panes[begin] for begin in sorted(panes)]
    wholes = [row.whole for row in rows if row.whole is not None]
    reals = [row.real for row in rows if row.real is not None]
    apart = [[row.real for row in pane if row.real is not None] for pane in cut]
    by_time = [row for pane in cut for row in pane]
    total = added(added(pane) for pane in apart)
    count, squares = moments(apart)
    return (
        len(rows),
        sum(row.text is not None for row in rows),
        len(reals),
        (sum(wholes) + 2**63) % 2**64 - 2**63,
        total,
        total / len(reals) if reals else None,
        min(wholes, default=None),
        max(wholes, default=None),
        extreme([r for pane in apart for r in pane], lambda new, old: new <= old),
        extreme([r for pane in apart for r in pane], lambda new, old: new >= old),
        squares / (count - 1) if count > 1 else None,
        math.sqrt(squares / count) if count else None,
        end_of(by_time, "whole", min, some=False),
        end_of(by_time, "real", max, some=False),
        end_of(by_time, "real", min, some=True),
        end_of(by_time, "whole", max, some=True),
    )


def added(values: Iterable[float]) -> float:
    total = None
    for value in values:
        total = value if total is None else total + value
    return 0.0 if total is None else 0.0 + total


def moments(panes: list[list[float]]) -> tuple[int, float]:
    """Welford's in each pane, Chan's over them."""
    count, mean, squares = 0, 0.0, 0.0
    for pane in panes:
        here, middle, spread = 0, 0.0, 0.0
        for value in pane:
            here += 1
            delta = value - middle
            middle += delta / here
            spread += delta * (value - middle)
        if not here:
            continue
        if not count:
            count, mean, squares = here, middle, spread
            continue
        delta = middle - mean
        mean += delta * (here / (count + here))
        squares += spread + delta * delta * (count * here / (count + here))
        count += here
    return count, squares


def extreme(values: list[float], better: Callable[[float, float], bool]) -> float | None:
    found: float | None = None
    for value in values:
        if found is None or found != found or better(value, found):
            found = value
    return found


def end_of(rows: list[Row], name: str, pick: Callable[..., Any], *, some: bool) -> Any:
    """The value of the row that is first (`pick` is min) or last (max)."""

    def rank(row: Row) -> tuple[Any, ...]:
        value = getattr(row, name)
        if value is None:
            return row.time, 0
        if value != value:
            return row.time, 2
        return row.time, 1, value, math.copysign(1, value) if name == "real" else 0

    held = [row for row in rows if not (some and getattr(row, name) is None)]
    return getattr(pick(held, key=rank), name) if held else None


__all__ = [
    "CUTS",
    "KEYS",
    "LONG",
    "PARTS",
    "ROWS",
    "SCHEMA",
    "WINDOWS",
    "Row",
    "Windows",
    "frame_of",
    "modelled",
    "order",
    "summary",
]
