"""Rows of any schema, to try a connector with."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import cast

import polars as pl
from polars.datatypes import DataTypeClass

from ..flows.schema import Schema

__all__ = ["sample_rows"]

_TEXTS = (
    "",
    "a",
    "Pavia",
    "naïve 漢字 🌡",
    'say "hi"',
    "a,b;c\td",
    "null",
    " spaced ",
    "-1",
    "x" * 300,
)
_BITS = ((pl.Int8, 7), (pl.Int16, 15), (pl.Int32, 31))
_START = datetime(2024, 2, 28, 23, 59, 59, 999_999)


def sample_rows(schema: Schema, rows: int, seed: int = 0) -> pl.DataFrame:
    """Return rows with ordinary and awkward values; the same for the same seed.

    There are nulls where the schema allows them, and no NaN, infinity or line feed, which some
    formats cannot hold.
    """
    rng = random.Random(seed)
    columns = []
    for name, dtype in schema.columns:
        values = [_value(dtype, rng) for _ in range(rows)]
        if name in schema.nullable:
            values = [None if rng.random() < 0.2 else value for value in values]
        columns.append(pl.Series(name, values, dtype=dtype, strict=False))
    return pl.DataFrame(columns)


def _value(dtype: pl.DataType, rng: random.Random) -> object:
    if isinstance(dtype, pl.List):
        return [_value(_instance(dtype.inner), rng) for _ in range(rng.randrange(4))]
    if isinstance(dtype, pl.Struct):
        return {field.name: _value(_instance(field.dtype), rng) for field in dtype.fields}
    if isinstance(dtype, pl.Datetime):
        moment = _START + timedelta(microseconds=rng.randrange(10**13))
        return moment.replace(tzinfo=UTC) if dtype.time_zone else moment
    if isinstance(dtype, pl.Decimal):
        scale = dtype.scale or 0
        return Decimal(rng.randrange(-(10**4), 10**4)).scaleb(-min(scale, 2))
    return _plain(dtype, rng)


def _plain(dtype: pl.DataType, rng: random.Random) -> object:
    if dtype.is_float():
        return rng.choice([0.0, -0.0, 0.1, 1e-300, -18.25, 1e300, rng.uniform(-50, 50)])
    if dtype.is_integer():
        bits = next((n for one, n in _BITS if dtype == one), 63)
        low = 0 if dtype.is_unsigned_integer() else -(2**bits)
        return rng.choice([0, low, 2**bits - 1, rng.randrange(100)])
    if dtype == pl.Boolean:
        return rng.random() < 0.5
    if dtype == pl.String:
        return rng.choice([*_TEXTS, f"device-{rng.randrange(1000)}"])
    if dtype == pl.Binary:
        return rng.randbytes(rng.randrange(5))
    if dtype == pl.Date:
        return date(2024, 2, 1) + timedelta(days=rng.randrange(400))
    if dtype == pl.Time:
        return time(rng.randrange(24), rng.randrange(60), 5, rng.randrange(10**6))
    if dtype == pl.Duration:
        return timedelta(microseconds=rng.randrange(-(10**10), 10**10))
    raise ValueError(f"no sample for a column of {dtype}")


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return cast(pl.DataType, dtype() if isinstance(dtype, DataTypeClass) else dtype)
