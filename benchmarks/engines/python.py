"""The jobs as a plain Python loop, over rows that are there already; JSON by orjson."""

from __future__ import annotations

import math
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

from ..functions import WARM, calibrated, fahrenheit, without_humidity
from ..work import Inputs, Prepare, Result, Totals, Work, dicts, in_ms
from .texts import lines_of, result_of

__all__ = ["PREPARE"]

_SIZE_MS: Final = 10_000


def _over_dicts(loop: Callable[[list[dict[str, Any]], Totals], None]) -> Prepare:
    """A loop over dicts that counts and sums what it makes."""

    def prepare(inputs: Inputs) -> Work:
        rows, totals = dicts(inputs.frame()), Totals(())
        return Work(lambda: loop(rows, totals), totals.result)

    return prepare


def _warm(rows: list[dict[str, Any]], totals: Totals) -> None:
    count, total = 0, 0.0
    for row in rows:
        if row["temp"] > WARM:
            made = without_humidity(row)
            count += 1
            total += made["f"]
    totals.count(count, f=total)


def _vectorizable(rows: list[dict[str, Any]], totals: Totals) -> None:
    total = 0.0
    for row in rows:
        made = fahrenheit(row)
        total += made["f"]
    totals.count(len(rows), f=total)


def _looked_up(rows: list[dict[str, Any]], totals: Totals) -> None:
    total = 0.0
    for row in rows:
        made = {**row, "f": calibrated(row["device"], row["site"], row["temp"])}
        total += made["f"]
    totals.count(len(rows), f=total)


def _windowed(fleet: str, panes: int) -> Prepare:
    """Windows of `panes` times 10 s, every 10 s, in a dict; it needs no watermark."""

    def prepare(inputs: Inputs) -> Work:
        rows = dicts(in_ms(inputs.frame(fleet)))
        windows: dict[tuple[str, int], list[float]] = {}

        def run() -> None:
            for row in rows:
                device, temp, last = row["device"], row["temp"], row["ts"] // _SIZE_MS
                for start in range(last - panes + 1, last + 1):
                    found = windows.get((device, start))
                    if found is None:
                        windows[device, start] = [1, temp, temp]
                    else:
                        found[0] += 1
                        found[1] += temp
                        if temp > found[2]:
                            found[2] = temp

        def result() -> Result:
            totals = Totals(())
            totals.count(
                len(windows),
                n=math.fsum(n for n, _, _ in windows.values()),
                mean=math.fsum(total / n for n, total, _ in windows.values()),
                peak=math.fsum(peak for _, _, peak in windows.values()),
            )
            return totals.result()

        return Work(run, result)

    return prepare


def _messages(inputs: Inputs) -> Work:
    from orjson import OPT_APPEND_NEWLINE, dumps, loads

    lines = lines_of(inputs)
    out = BytesIO()

    def run() -> None:
        write = out.write
        for line in lines:
            row = loads(line)
            if row["temp"] > WARM:
                row["f"] = row["temp"] * 9 / 5 + 32
                write(dumps(row, option=OPT_APPEND_NEWLINE))

    return Work(run, lambda: result_of(out))


PREPARE: Final[dict[str, Prepare]] = {
    "A": _over_dicts(_warm),
    "B": _windowed("sensors", 1),
    "C": _messages,
    "D-vector": _over_dicts(_vectorizable),
    "D-python": _over_dicts(_looked_up),
    "E": _windowed("sensors", 6),
    "G": _windowed("keys", 1),
}
