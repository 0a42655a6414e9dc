"""Whether columns hold what Python values can hold, so that a row function gives them back alike.

Columns come from expressions as well, which may put anything of their type into them: times that no
`datetime` reaches, text that is no member of the field's enum.
"""

from __future__ import annotations

from datetime import date
from typing import Final

import polars as pl

from ..fieldtypes import FieldType, field_types
from ..validation import LONGEST
from .nodes import ByRows

__all__ = ["check_nulls", "check_readable", "needs_reading"]

_DAY: Final = 86_400_000_000
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_FIRST_DAY: Final = date.min.toordinal() - _EPOCH_DAY
_LAST_DAY: Final = date.max.toordinal() - _EPOCH_DAY
_FIRST: Final = _FIRST_DAY * _DAY
_LAST: Final = (_LAST_DAY + 1) * _DAY - 1
_LONGEST: Final = LONGEST.days * _DAY
_CLOSED: Final = ("enum", "literal")


def needs_reading(kept: FieldType) -> bool:
    """Whether a column of this type may hold what no value of the field is."""
    if kept.kind == "list" and kept.item is not None:
        return needs_reading(kept.item) or not kept.item.nullable
    if kept.kind == "event":
        return True
    return kept.kind not in ("bool", "int", "float", "str", "bytes")


def check_readable(name: str, kept: FieldType, column: pl.Series) -> None:
    """Raise `ByRows` if a column holds what no value of its field is, nulls apart."""
    if kept.kind in _CLOSED:
        odd = not _among(column, kept.allowed)
    elif kept.kind in _RANGES:
        odd = not _in_range(kept, column)
    elif kept.kind == "time":
        odd = bool((column.to_physical() % 1000 != 0).any())
    elif kept.kind == "list":
        assert kept.item is not None
        inner = pl.Series(pl.from_arrow(column.drop_nulls().to_arrow().flatten()))
        check_nulls(name, kept.item, inner)
        check_readable(name, kept.item, inner)
        odd = False
    elif kept.kind == "event":
        for inner_name, inner_kept in field_types(kept.of).items():
            inner = column.drop_nulls().struct.field(inner_name)
            check_nulls(f"{name}.{inner_name}", inner_kept, inner)
            check_readable(f"{name}.{inner_name}", inner_kept, inner)
        odd = False
    else:
        odd = False
    if odd:
        raise ByRows(f"a value of {name} that its field cannot have")


def check_nulls(name: str, kept: FieldType, column: pl.Series) -> None:
    """Raise `ByRows` for None in a field that is not optional."""
    if column.null_count() and not kept.nullable:
        raise ByRows(f"None for {name}, which is not optional")


def _among(column: pl.Series, allowed: list[object]) -> bool:
    left = column.drop_nulls() if column.null_count() else column
    found = pl.Series([False], dtype=pl.Boolean).new_from_index(0, left.len())
    for value in allowed:
        found = found | (left == value)
        if found.all():
            return True
    return bool(found.all())


_RANGES: Final = {
    "date": (_FIRST_DAY, _LAST_DAY),
    "datetime": (_FIRST, _LAST),
    "duration": (-_LONGEST, _LONGEST),
}


def _in_range(kept: FieldType, column: pl.Series) -> bool:
    first, last = _RANGES[kept.kind]
    if kept.kind == "datetime" and kept.polars != pl.Datetime("us", "UTC"):
        first, last = first + _DAY, last - _DAY  # local times reach further
    counts = column.to_physical()
    low, high = counts.min(), counts.max()
    if not isinstance(low, int) or not isinstance(high, int):
        return True
    return first <= low and high <= last
