"""What an operator remembers, as tables: to be written down, looked at from outside, taken back.

A table holds plain columns, so that it goes through Arrow IPC unchanged; its rows stand in an order
that `restore` may rely on. The names of an operator's tables belong to what it promises: a later
version reads them, or counts up `Logic.layout`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import polars as pl

__all__ = ["Tables", "part_of", "scalars", "scalars_in", "with_parts"]

Tables: TypeAlias = dict[str, pl.DataFrame]
"""State, by the name of the table."""

_SCALARS = "scalars"


def with_parts(**parts: Tables) -> Tables:
    """Return the tables of several parts of an operator, each as ``PART.TABLE``."""
    return {
        f"{part}.{name}": table for part, tables in parts.items() for name, table in tables.items()
    }


def part_of(tables: Mapping[str, pl.DataFrame], part: str) -> Tables:
    """Return the tables of one part, as it named them."""
    start = f"{part}."
    return {name.removeprefix(start): t for name, t in tables.items() if name.startswith(start)}


def scalars(**values: int | float | str | bool | None) -> Tables:
    """Return single values as a table of one row; integers are Int64."""
    return {_SCALARS: pl.DataFrame({name: [value] for name, value in values.items()})}


def scalars_in(tables: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    """Return what `scalars` was given."""
    return tables[_SCALARS].row(0, named=True)
