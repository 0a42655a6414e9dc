"""Incremental aggregates over flat state: the plain Python twin of `_folding`.

`slots` (int64, without nulls) says for every row which element of the state it belongs to;
`values` (int64 or float64) are folded into it strictly row by row, so that how rows were cut into
batches changes no bit. A null value changes nothing. `running`, where given, is as long as the
rows and receives the state of the row's slot after each row.

All functions raise, before anything is changed, TypeError for a wrong kind of array, ValueError
for lengths that differ, nulls among the slots or buffers that are too short, and IndexError for a
slot that the state does not have.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from operator import add, ge, le
from typing import Any, TypeAlias

import pyarrow as pa

from .rows import Floats, Rows, check_running, check_state, numbers, pair, presence

Ints: TypeAlias = "array[int]"
Numbers: TypeAlias = "array[int] | array[float]"


def fold_count(
    slots: pa.Array, values: pa.Array | None, counts: Ints, running: Ints | None = None
) -> None:
    """Count the rows of each slot in `counts` ("q"), or the values that are not null."""
    rows = presence(slots, values)
    places = rows.places()
    check_state(rows, *_bounds(places), counts=(counts, "q"))
    check_running(rows, "q", running)
    for row, slot in enumerate(places):
        if rows.is_valid(row):
            counts[slot] += 1
        if running is not None:
            running[row] = counts[slot]


def fold_sum(
    slots: pa.Array, values: pa.Array, sums: Numbers, running: Numbers | None = None
) -> None:
    """Add the values of each slot to `sums` ("q" for int64, which wraps; "d" for float64)."""
    rows = numbers(slots, values)
    places, items = rows.places(), rows.items()
    check_state(rows, *_bounds(places), sums=(sums, rows.code))
    check_running(rows, rows.code, running)
    plus: Callable[[Any, Any], Any] = _wrapped if rows.code == "q" else add
    for row, slot in enumerate(places):
        total: Any = sums[slot]
        if rows.is_valid(row):
            sums[slot] = total = plus(total, items[row])
        if running is not None:
            running[row] = total


def fold_min(
    slots: pa.Array,
    values: pa.Array,
    best: Numbers,
    seen: Ints,
    running: Numbers | None = None,
) -> None:
    """Keep the least value of each slot in `best`; `seen` ("b") becomes 1 where there is one.

    `best` is "q" for int64, "d" for float64. A NaN counts only until another value comes. Of
    equal values the last stays, which shows in the sign of a zero. Where `seen` is 0, `best` and
    `running` keep what `best` held.
    """
    _fold_best(numbers(slots, values), le, best, seen, running)


def fold_max(
    slots: pa.Array,
    values: pa.Array,
    best: Numbers,
    seen: Ints,
    running: Numbers | None = None,
) -> None:
    """Keep the greatest value of each slot in `best`, as `fold_min` does the least."""
    _fold_best(numbers(slots, values), ge, best, seen, running)


def fold_moments(
    slots: pa.Array,
    values: pa.Array,
    counts: Ints,
    means: Floats,
    squares: Floats,
    running: tuple[Floats, Floats] | None = None,
) -> None:
    """Welford's moments of each slot, of int64 or float64 values.

    `counts` ("q") is the number of values, `means` ("d") their mean, `squares` ("d") the sum of
    squared differences from it; the variance is squares / (counts - ddof). `running` receives
    mean and squares. Welford, "Note on a method for calculating corrected sums of squares and
    products", Technometrics 4 (1962).
    """
    rows = numbers(slots, values)
    places, items = rows.places(), rows.items()
    check_state(
        rows, *_bounds(places), counts=(counts, "q"), means=(means, "d"), squares=(squares, "d")
    )
    running_means, running_squares = pair(running)
    check_running(rows, "d", running_means, running_squares)
    for row, slot in enumerate(places):
        if rows.is_valid(row):
            value = float(items[row])
            counts[slot] += 1
            delta = value - means[slot]
            means[slot] += delta / counts[slot]
            squares[slot] += delta * (value - means[slot])
        if running_means is not None and running_squares is not None:
            running_means[row] = means[slot]
            running_squares[row] = squares[slot]


def _fold_best(
    rows: Rows,
    better: Callable[[Any, Any], bool],
    best: Numbers,
    seen: Ints,
    running: Numbers | None,
) -> None:
    places, items = rows.places(), rows.items()
    check_state(rows, *_bounds(places), best=(best, rows.code), seen=(seen, "b"))
    check_running(rows, rows.code, running)
    for row, slot in enumerate(places):
        found: Any = best[slot]
        if rows.is_valid(row):
            value = items[row]
            if not seen[slot] or found != found or better(value, found):
                best[slot] = found = value
                seen[slot] = 1
        if running is not None:
            running[row] = found


def _bounds(places: memoryview[int]) -> tuple[int, int]:
    return (min(places), max(places)) if len(places) else (0, -1)


def _wrapped(left: int, right: int) -> int:
    """The sum in two's complement, 64 bits wide."""
    return (left + right + (1 << 63)) % (1 << 64) - (1 << 63)
