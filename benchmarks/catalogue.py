"""The jobs by name: what they do, their input files and their engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["CATALOGUE", "Entry", "chosen"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A job: the formats of its files, its engines (Headwater first), and at most how many rows."""

    name: str
    title: str
    forms: tuple[str, ...]
    engines: tuple[str, ...]
    most: int | None = None
    kind: Literal["timed", "overhead", "memory"] = "timed"


_BESIDE_POLARS: Final = ("headwater", "polars")
_BESIDE_BOTH: Final = ("headwater", "polars", "python")
_ENTRIES: Final = (
    Entry("A-memory", "filter, add, drop a column; in memory", ("parquet",), _BESIDE_POLARS),
    Entry("A-parquet", "the same, from Parquet", ("parquet",), _BESIDE_POLARS),
    Entry("B", "10 s windows by device: count, mean, max", ("parquet",), _BESIDE_POLARS),
    Entry("C-rows", "JSON in and out, function per row", ("jsonl",), _BESIDE_BOTH, 500_000),
    Entry("C-columns", "JSON in and out, by columns", ("jsonl",), _BESIDE_POLARS, 500_000),
    Entry("D", "function per row adds a field", ("parquet",), _BESIDE_BOTH, 500_000),
    Entry("overhead", "the engine's own cost", (), ("headwater",), kind="overhead"),
    Entry("memory-csv", "B from CSV, peak memory", ("csv",), ("headwater",), kind="memory"),
    Entry("memory-parquet", "likewise from Parquet", ("parquet",), ("headwater",), kind="memory"),
)
CATALOGUE: Final = {entry.name: entry for entry in _ENTRIES}


def chosen(names: Sequence[str]) -> tuple[Entry, ...]:
    """Return the jobs whose names begin so, all without a name; raises ValueError for none."""
    if not names:
        return _ENTRIES
    for name in names:
        if not any(_is_meant(name, entry) for entry in _ENTRIES):
            raise ValueError(f"there is no job {name!r}; the jobs are {', '.join(CATALOGUE)}")
    return tuple(e for e in _ENTRIES if any(_is_meant(name, e) for name in names))


def _is_meant(name: str, entry: Entry) -> bool:
    return name in (entry.name, entry.name.partition("-")[0])
