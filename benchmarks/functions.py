"""What the jobs compute, where several engines call the same Python function."""

from __future__ import annotations

import re
from typing import Any, Final

__all__ = ["WARM", "calibrated", "fahrenheit", "without_humidity"]

WARM: Final = 25.0
_OFFSETS: Final = {f"site-{number:02}": number / 100 for number in range(20)}
_NUMBER: Final = re.compile(r"device-0*(\d+)$")


def calibrated(device: str, site: str, temp: float) -> float:
    """Return Fahrenheit, corrected by site (a dict) and number of the device (a pattern)."""
    found = _NUMBER.match(device)
    odd = found is not None and int(found[1]) % 2 == 1
    return temp * 9 / 5 + 32 + _OFFSETS[site] + (0.1 if odd else 0.0)


def fahrenheit(row: dict[str, Any]) -> dict[str, Any]:
    """Return a reading with Fahrenheit."""
    return {**row, "f": row["temp"] * 9 / 5 + 32}


def without_humidity(row: dict[str, Any]) -> dict[str, Any]:
    """Return a reading with Fahrenheit and without its humidity."""
    return {
        "ts": row["ts"],
        "device": row["device"],
        "site": row["site"],
        "temp": row["temp"],
        "status": row["status"],
        "f": row["temp"] * 9 / 5 + 32,
    }
