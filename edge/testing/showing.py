"""What a failing test says of its streams."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

from ...flows.event import Event

__all__ = ["compared", "shortened"]

_MOST: Final = 8
"""Differences that are shown."""
_WIDE: Final = 160


def shortened(text: str, limit: int = _WIDE) -> str:
    """Return a text of one line, cut to so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def compared(left: Sequence[Any], right: Sequence[Any]) -> list[str] | None:
    """Say how two lists of events differ, row by row; None if they are no such lists."""
    if not all(isinstance(row, Event) for row in (*left, *right)) or left == right:
        return None
    told = [f"{_rows(left)} on the left, {_rows(right)} on the right"]
    for place in range(max(len(left), len(right))):
        if len(told) > _MOST:
            told.append("  …")
            break
        if place >= len(right):
            told.append(f"  row {place} is only on the left: {shortened(repr(left[place]))}")
        elif place >= len(left):
            told.append(f"  row {place} is only on the right: {shortened(repr(right[place]))}")
        elif left[place] != right[place]:
            told += _differing(place, left[place], right[place])
    if sorted(map(repr, left)) == sorted(map(repr, right)):
        told.append("  the rows are the same, in another order")
    return told


def _rows(rows: Sequence[Any]) -> str:
    return f"{len(rows)} {type(rows[0]).__name__ if rows else 'rows'}"


def _differing(place: int, left: Event, right: Event) -> list[str]:
    if type(left) is not type(right):
        return [f"  row {place}: {shortened(repr(left))} != {shortened(repr(right))}"]
    told = [f"  row {place}: {shortened(repr(left))}"]
    for one in dataclasses.fields(left):
        a, b = getattr(left, one.name), getattr(right, one.name)
        if a != b:
            told.append(f"    {one.name}: {shortened(repr(a))} != {shortened(repr(b))}")
    return told
