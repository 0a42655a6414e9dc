"""Numbers the groups of a keyed stream, so that aggregates are folded into flat arrays.

A group's values are kept as plain Python values: times as their physical number, a NaN as one
object, so that equal groups are equal keys of a dict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import polars as pl
import pyarrow as pa

from ..schema import Schema

__all__ = ["Key", "codes_of", "key_columns", "slots_of"]

Key: TypeAlias = tuple[Any, ...]
_NAN: Final = float("nan")


def codes_of(rows: pl.DataFrame, names: Sequence[str]) -> tuple[pa.Array, list[Key]]:
    """Return a code (Int64) for each row, and the distinct values that the codes stand for.

    Codes count from 0 in the order in which the values first appear; nulls are values. Without
    names, every row has code 0.
    """
    codes = pa.repeat(pa.scalar(0, pa.int64()), rows.height)
    keys: list[Key] = [()] if rows.height else []
    for number, name in enumerate(names):
        encoded = _plain(rows[name]).dictionary_encode(null_encoding="encode")
        values = [_NAN if v != v else v for v in encoded.dictionary.to_pylist()]
        part = encoded.indices.cast(pa.int64())
        if number == 0:
            codes, keys = part, [(value,) for value in values]
            continue
        # A pair of codes is below rows squared, so it fits; then pairs are numbered anew.
        many = max(len(values), 1)
        pairs_of_rows = pl.Series(codes) * many + pl.Series(part)
        encoded = pairs_of_rows.to_arrow().dictionary_encode()
        codes = encoded.indices.cast(pa.int64())
        pairs = (divmod(pair, many) for pair in encoded.dictionary.to_pylist())
        keys = [(*keys[left], values[right]) for left, right in pairs]
    return codes, keys


def slots_of(
    rows: pl.DataFrame,
    names: Sequence[str],
    known: dict[Key, int],
    make: Callable[[Key], int],
) -> tuple[pa.Array, list[Key]]:
    """Return the slot (Int64) of each row, and the distinct keys; `make` gives a new slot."""
    codes, keys = codes_of(rows, names)
    slots = []
    for key in keys:
        slot = known.get(key)
        if slot is None:
            slot = known[key] = make(key)
        slots.append(slot)
    return pa.array(slots, pa.int64()).take(codes), keys


def key_columns(schema: Schema, names: Sequence[str], keys: Sequence[Key]) -> list[pl.Series]:
    """Return the columns that keys of `codes_of` came from, one row a key."""
    columns = []
    for i, name in enumerate(names):
        dtype = schema.dtype(name)
        physical = _physical(dtype)
        columns.append(pl.Series(name, [k[i] for k in keys], dtype=physical).cast(dtype))
    return columns


def _physical(dtype: pl.DataType) -> pl.DataType:
    if dtype.is_temporal():
        return pl.Int32() if dtype == pl.Date else pl.Int64()
    return pl.String() if dtype in (pl.Categorical, pl.Enum) else dtype


def _plain(column: pl.Series) -> pa.Array:
    dtype = column.dtype
    if dtype.is_float():
        # -0.0 equals 0.0, and there are many NaNs; one of each is kept.
        zero = pl.when(column == 0.0).then(0.0).otherwise(column)
        column = pl.select(zero.fill_nan(_NAN)).to_series()
    elif dtype.is_temporal():
        column = column.to_physical()
    else:
        column = column.cast(_physical(dtype))
    return column.to_arrow()
