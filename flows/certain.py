"""Columns: the values that pydantic would certainly take, and as what."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from .fieldtypes import FieldType
from .validation import LONGEST

__all__ = ["MICROS", "certain_times", "certain_values"]

_WHOLE = "-?(0|[1-9][0-9]{0,17})"
_FLOAT = rf"^{_WHOLE}(\.[0-9]{{1,18}})?([eE][+-]?[0-9]{{1,2}})?$"
_DATE = "[12][0-9]{3}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
_STAMP = rf"^{_DATE}[T ]{_TIME}(Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])$"
_TRUE = ("true", "1", "yes", "on", "t", "y")
_FALSE = ("false", "0", "no", "off", "f", "n")
_DAYS = (-719_162, 2_932_896)
MICROS = (-62_135_596_800_000_000, 253_402_300_799_999_999)
"""The first and the last µs since 1970 of the years 1 to 9999."""
_YEAR = 366 * 86_400_000_000
_UTC = pl.Datetime("us", "UTC")
_LONGEST = LONGEST // timedelta(microseconds=1)

_INTS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)


def certain_times(kept: pl.DataType) -> tuple[int, int]:
    """The first and the last µs since 1970 that Python can certainly tell in a column's zone."""
    margin = 0 if kept == _UTC else _YEAR
    return MICROS[0] + margin, MICROS[1] - margin


def certain_values(kept: FieldType, found: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The column converted, and which of its values pydantic would certainly take, as that."""
    height = len(found)
    nothing = pl.Series([None], dtype=kept.polars).new_from_index(0, height)
    if isinstance(found.dtype, pl.Categorical | pl.Enum):
        found = found.cast(pl.String)
    values = None
    if kept.plain and found.dtype != pl.Null:
        values = _of_text(kept, found) if found.dtype == pl.String else _of_typed(kept, found)
    if values is None:
        values = nothing
    sure = values.is_not_null() & _within(kept, values)
    return values, (sure | found.is_null()) if kept.nullable and kept.plain else sure


def _within(kept: FieldType, values: pl.Series) -> pl.Series:
    """Which values keep the bounds; none if a bound is of a kind that needs pydantic."""
    sure = pl.Series([True], dtype=pl.Boolean).new_from_index(0, len(values))
    for name, limit in kept.bounds:
        exact = isinstance(limit, int) or (isinstance(limit, float) and kept.kind == "float")
        if kept.kind not in ("int", "float") or not exact or not abs(limit) <= 1 << 53:
            return ~sure
        compare = {"ge": values.ge, "gt": values.gt, "le": values.le, "lt": values.lt}[name]
        sure = sure & compare(limit)
    if kept.bounds and kept.kind == "float":
        sure = sure & values.is_not_nan()
    return sure.fill_null(False)


def _where(certain: pl.Series, values: pl.Series) -> pl.Series:
    """The values, with null for those that are not certain."""
    return values.set(~certain.fill_null(False), None)


def _of_text(kept: FieldType, found: pl.Series) -> pl.Series | None:
    dtype = kept.polars
    if kept.kind in ("int", "float", "bool", "str"):
        return _of_plain_text(kept, found)
    if kept.kind in ("enum", "literal"):
        if dtype == pl.String:
            return _among(kept, found)
        words = kept.spelled
        known = _where(found.is_in(list(words)), found)
        return known.replace_strict(words, return_dtype=dtype)
    if kept.kind == "datetime":
        if kept.unit is not None:
            counts = _where(found.str.contains(f"^{_WHOLE}$"), found).cast(pl.Int64, strict=False)
            return _of_epoch(kept, counts)
        text = _where(found.str.contains(_STAMP), found).str.replace(" ", "T", literal=True)
        stamps = text.str.to_datetime(
            "%Y-%m-%dT%H:%M:%S%.f%#z", time_unit="us", time_zone="UTC", strict=False
        )
        return stamps.cast(dtype)
    if kept.kind == "date":
        return _where(found.str.contains(f"^{_DATE}$"), found).str.to_date("%Y-%m-%d", strict=False)
    if kept.kind == "time":
        text = _where(found.str.contains(f"^{_TIME}$"), found)
        return text.str.to_time("%H:%M:%S%.f", strict=False)
    if isinstance(dtype, pl.Decimal):
        whole = (dtype.precision or 38) - dtype.scale
        part = rf"(\.[0-9]{{1,{dtype.scale}}})?" if dtype.scale else ""
        if not whole:  # pydantic counts the 0 before the point as a digit
            return None
        pattern = rf"^-?(0|[1-9][0-9]{{0,{whole - 1}}}){part}$"
        return _where(found.str.contains(pattern), found).cast(dtype, strict=False)
    return None


def _of_plain_text(kept: FieldType, found: pl.Series) -> pl.Series:
    if kept.kind == "str":
        return found
    if kept.kind == "int":
        whole = _where(found.str.contains(f"^{_WHOLE}$"), found)
        return whole.cast(pl.Int64, strict=False).cast(kept.polars, strict=False)
    if kept.kind == "float":
        return _where(found.str.contains(_FLOAT), found).cast(pl.Float64, strict=False)
    text = found.str.to_lowercase()
    return _where(text.is_in([*_TRUE, *_FALSE]), text.is_in(_TRUE))


def _among(kept: FieldType, found: pl.Series) -> pl.Series:
    return _where(found.is_in(kept.allowed), found)


def _of_epoch(kept: FieldType, counts: pl.Series) -> pl.Series:
    """Times that whole numbers of the field's unit stand for, null outside the years 1 to 9999."""
    first, last = certain_times(kept.polars)
    if kept.unit == "ns":
        micros = counts // 1_000
    else:
        factor = {"s": 1_000_000, "ms": 1_000, "us": 1}[str(kept.unit)]
        low, high = -(-first // factor), last // factor
        micros = _where(counts.is_between(low, high), counts) * factor
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(kept.polars)


def _of_typed(kept: FieldType, found: pl.Series) -> pl.Series | None:
    dtype = found.dtype
    if kept.kind == "datetime":
        if kept.unit is not None and dtype in _INTS:
            return _of_epoch(kept, found.cast(pl.Int64, strict=False))
        if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
            return None
        micros = found.dt.cast_time_unit("us")
        here, there = certain_times(kept.polars), certain_times(pl.Datetime("us", dtype.time_zone))
        first, last = max(here[0], there[0]), min(here[1], there[1])
        sure = micros.to_physical().is_between(first, last)
        if dtype.time_unit == "ms":
            sure = sure & found.to_physical().is_between(-(-first // 1000), last // 1000)
        return _where(sure, micros).cast(kept.polars)
    if kept.kind in ("int", "float") and dtype in _INTS:
        return found.cast(kept.polars, strict=False)
    if kept.kind == "float" and dtype == pl.Float32:
        return found.cast(pl.Float64)
    if dtype != kept.polars:
        return None
    if kept.kind in ("enum", "literal"):
        return _among(kept, found)
    if kept.kind == "date":
        return _where(found.to_physical().is_between(*_DAYS), found)
    if kept.kind == "time":  # of which Python has microseconds
        return _where(found.to_physical() % 1000 == 0, found)
    if kept.kind == "duration":
        return _where(found.to_physical().is_between(-_LONGEST, _LONGEST), found)
    if kept.kind == "list":
        return _of_lists(kept, found)
    return None if kept.kind == "event" else found


def _of_lists(kept: FieldType, found: pl.Series) -> pl.Series | None:
    item = kept.item
    if item is None or item.bounds or not item.plain:
        return None
    if item.kind not in ("bool", "int", "float", "str", "bytes"):
        return None
    full = found.list.len() == found.list.drop_nulls().list.len()
    return found if item.nullable else _where(full, found)
