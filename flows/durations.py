"""Lengths of time as a person writes them: ``"250ms"``, ``"10s"``, ``"1h30m"``."""

from __future__ import annotations

import re
from datetime import timedelta

__all__ = ["Duration", "microseconds", "spelled"]

Duration = str | timedelta
"""How a length of time is given; see `microseconds`."""

_UNITS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_PART = re.compile(r"([0-9]+)(us|ms|s|m|h|d|w)")
_WHOLE = re.compile(r"(?:[0-9]+(?:us|ms|s|m|h|d|w))+")
_LONGEST = 2**63 - 1


def microseconds(duration: str | timedelta) -> int:
    """Return a duration in microseconds.

    Takes a `timedelta`, or whole numbers with the units us, ms, s, m (minutes), h, d and w, one
    or several in a row (``"1h30m"``). A duration is not negative and fits 64 bits. Raises
    `ValueError`, with the units in its text.
    """
    if isinstance(duration, timedelta):
        total = duration // timedelta(microseconds=1)
    elif isinstance(duration, str):
        text = duration.strip()
        if not _WHOLE.fullmatch(text):
            raise ValueError(
                f"{duration!r} is not a duration; write whole numbers with the units us, ms, s, "
                'm (minutes), h, d or w, such as "250ms", "10s" or "1h30m"'
            )
        total = sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    else:
        raise ValueError(
            f"{duration!r} is not a duration; give a timedelta or a text with the units us, ms, "
            's, m (minutes), h, d or w, such as "10s"'
        )
    if not 0 <= total <= _LONGEST:
        raise ValueError(
            f"{duration!r} is out of range; a duration is not negative and at most "
            f"{_LONGEST // _UNITS['w']}w (units us, ms, s, m, h, d, w)"
        )
    return total


def spelled(duration: int) -> str:
    """Return microseconds as `microseconds` reads them, such as ``1h30m``."""
    parts = []
    for unit, length in sorted(_UNITS.items(), key=lambda item: -item[1]):
        if unit != "w" and duration >= length:
            parts.append(f"{duration // length}{unit}")
            duration %= length
    return "".join(parts) or "0s"
