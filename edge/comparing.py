"""What two tables differ in: rows added, missing and changed, by key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from ..flows.batch import DELETED
from ..flows.errors import SettingsError
from .catching import Written

__all__ = ["Changed", "Difference", "compare", "differing"]

_NUMBER: Final = "_hw_number"
_OLD: Final = "_hw_old_"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Changed:
    """A row of one key in two versions: what it was and is, in the columns that differ."""

    key: Row
    old: Row
    new: Row


@dataclass(frozen=True, slots=True)
class Difference:
    """How a second table differs from a first one; examples are in the order of the tables."""

    before: int
    """Rows of the first."""
    after: int
    key: tuple[str, ...]
    """Empty if whole rows were compared, so that none is changed."""
    added: int = 0
    missing: int = 0
    changed: int = 0
    columns: dict[str, int] = field(default_factory=dict)
    """How many rows are changed in each column."""
    schema: tuple[str, ...] = ()
    """What is different about the columns themselves, in words."""
    some_added: tuple[Row, ...] = ()
    some_missing: tuple[Row, ...] = ()
    some_changed: tuple[Changed, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether there is no difference."""
        return not (self.added or self.missing or self.changed or self.schema)


def differing(
    one: Written, other: Written, key: Sequence[str] | None = None, *, show: int = 3
) -> Difference:
    """Compare what two versions of a sink were given; upsert streams as the tables they come to.

    Without a `key`, rows are told apart by the stream's, or by that of the operator before it and
    event time where these say which row is meant; else whole rows are compared. Raises
    `SettingsError` for a key that is not there.
    """
    tables = _table(one), _table(other)
    if key is not None:
        return compare(*tables, key, show=show)
    found = one.keys if one.keys == other.keys else ()
    unique = found and all(not table.select(found).is_duplicated().any() for table in tables)
    return compare(*tables, found if unique else (), show=show)


def _table(written: Written) -> pl.DataFrame:
    """Return the rows, or the table that they leave."""
    if written.schema.key is None:
        return written.rows
    last = written.rows.unique(written.schema.key, keep="last", maintain_order=True)
    return last.filter(~pl.col(DELETED)).drop(DELETED).sort(written.schema.key)


def compare(
    one: pl.DataFrame, other: pl.DataFrame, key: Sequence[str] = (), *, show: int = 3
) -> Difference:
    """Compare two tables by `key`, rows of the same key in their order; or else whole rows."""
    for name in key:
        if name not in one.columns or name not in other.columns:
            raise SettingsError(f"the key {name!r} is no column: {', '.join(one.columns)}")
    odd = _odd_columns(one, other)
    common = [n for n in one.columns if n in other.columns and one[n].dtype == other[n].dtype]
    old, new = one.select(common), other.select(common)
    by = [name for name in (key or common) if name in common]
    told = tuple(odd.values())
    if old.equals(new):
        return Difference(one.height, other.height, tuple(key), schema=told)
    before, after = _numbered(old, by), _numbered(new, by)
    keys = [name for name in before.columns if name.startswith(_NUMBER)]
    added = after.join(before, on=keys, how="anti", nulls_equal=True, maintain_order="left")
    missing = before.join(after, on=keys, how="anti", nulls_equal=True, maintain_order="left")
    rest = [name for name in common if name not in by]
    changed = 0
    columns: dict[str, int] = {}
    some: tuple[Changed, ...] = ()
    if rest:
        renamed = before.select(*keys, *(pl.col(name).alias(_OLD + name) for name in rest))
        both = after.join(renamed, on=keys, how="inner", nulls_equal=True, maintain_order="left")
        unlike = both.select(pl.col(name).ne_missing(pl.col(_OLD + name)) for name in rest)
        counts = {name: int(unlike[name].sum()) for name in rest}
        columns = {name: count for name, count in counts.items() if count}
        if columns:
            mask = unlike.select(pl.any_horizontal(rest)).to_series()
            changed, some = int(mask.sum()), _changes(both.filter(mask).head(show), by, rest)
    return Difference(
        one.height, other.height, tuple(key), added.height, missing.height, changed, columns, told,
        tuple(added.select(common).head(show).to_dicts()),
        tuple(missing.select(common).head(show).to_dicts()),
        some,
    )  # fmt: skip


def _odd_columns(one: pl.DataFrame, other: pl.DataFrame) -> dict[str, str]:
    told: dict[str, str] = {}
    for name in dict.fromkeys([*one.columns, *other.columns]):
        if name not in other.columns:
            told[name] = f"column {name} is gone"
        elif name not in one.columns:
            told[name] = f"column {name} is new"
        elif one[name].dtype != other[name].dtype:
            told[name] = f"column {name} was {one[name].dtype} and is {other[name].dtype}"
    return told


def _numbered(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Add what stands for the key: its columns, and which row of that key it is."""
    told = [_told(rows[name]).alias(f"{_NUMBER}_{name}") for name in by]
    keyed = rows.with_columns(told)
    names = [series.name for series in told]
    number = pl.int_range(pl.len()).over(names) if names else pl.int_range(pl.len())
    return keyed.with_columns(number.alias(_NUMBER))


def _told(series: pl.Series) -> pl.Series:
    """Return values that can be compared in a join."""
    if not series.dtype.is_nested():
        return series
    return pl.Series([repr(value) for value in series.to_list()], dtype=pl.String)


def _changes(rows: pl.DataFrame, by: Sequence[str], rest: Sequence[str]) -> tuple[Changed, ...]:
    found: list[Changed] = []
    for row in rows.iter_rows(named=True):
        old = {name: row[_OLD + name] for name in rest}
        new = {name: row[name] for name in rest}
        odd = [name for name in rest if repr(old[name]) != repr(new[name])]
        found.append(
            Changed(
                {name: row[name] for name in by},
                {name: old[name] for name in odd},
                {name: new[name] for name in odd},
            )
        )
    return tuple(found)
