"""What a job works on, and a job made ready; this and `engines` run in either environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from .sensors import Form, loaded, path_of

__all__ = ["BATCH", "DICTS", "Inputs", "Prepare", "Result", "Totals", "Work", "dicts", "in_ms"]

Result = dict[str, float]

BATCH: Final = 131_072
"""Rows of an Arrow batch: as many as Headwater reads at a time from a source that has an end."""
DICTS: Final = 1024
"""Dicts of a list, for an engine that takes lists."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a job works on: so many rows, and the folders of its input and output files."""

    rows: int
    data: Path
    out: Path

    def file(self, form: Form, fleet: str = "sensors") -> Path:
        """Return the file of the rows."""
        return path_of(self.data, form, self.rows, fleet)

    def frame(self, fleet: str = "sensors") -> pl.DataFrame:
        """Return the rows in memory."""
        return loaded(self.data, self.rows, fleet)


@dataclass(frozen=True, slots=True)
class Work:
    """A job made ready: `run` is timed, `result` says afterwards what came out."""

    run: Callable[[], None]
    result: Callable[[], Result]


Prepare = Callable[[Inputs], Work]


@dataclass(slots=True)
class Totals:
    """How many rows came out, and the sums of some of their columns."""

    columns: Sequence[str]
    rows: int = 0
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, rows: pl.DataFrame) -> None:
        """Count the rows of a frame in."""
        self.count(rows.height, **{name: float(rows[name].sum()) for name in self.columns})

    def count(self, rows: int, **sums: float) -> None:
        """Count so many rows in, with the sums of their columns."""
        self.rows += rows
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def result(self) -> Result:
        """Return the totals by name."""
        return {"rows": float(self.rows), **{f"sum of {k}": v for k, v in self.sums.items()}}


def dicts(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as dicts, with `ts` as an aware datetime."""
    return frame.to_dicts()


def in_ms(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows with `ts` as milliseconds since 1970."""
    return frame.with_columns(pl.col("ts").dt.epoch("ms"))
