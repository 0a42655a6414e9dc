"""The keys of a `WindowTable` as Python values, for the twin of `_windowing`."""

from __future__ import annotations

import math
from typing import Any, Final

import pyarrow as pa

__all__ = ["checked_keys", "key_column", "key_values"]

_MOST_KEYS: Final = 32


def checked_keys(keys: pa.Schema) -> pa.Schema:
    """`keys` if a table can have them; raises TypeError for a type, ValueError for too many."""
    if len(keys) > _MOST_KEYS:
        raise ValueError(f"there are {len(keys)} key columns; there may be {_MOST_KEYS}")
    for key in keys:
        kind = key.type
        plain = pa.types.is_integer(kind) or kind in (pa.bool_(), pa.float32(), pa.float64())
        timed = pa.types.is_temporal(kind) and not pa.types.is_interval(kind)
        if not (plain or timed or _is_text(kind)):
            raise TypeError(f"the key {key.name} is {kind}, which windows have no keys of")
    return keys


def key_values(column: pa.Array) -> list[Any]:
    """The values of a key column, equal if they are one key."""
    kind = column.type
    if pa.types.is_temporal(kind):
        return column.view(_plain(kind)).to_pylist()  # type: ignore[no-any-return]
    if _is_text(kind):
        return column.cast(pa.large_binary()).to_pylist()  # type: ignore[no-any-return]
    if pa.types.is_floating(kind):
        # As (whether it is a NaN, the number): two NaNs are not equal.
        numbers = column.cast(pa.float64()).to_pylist()
        return [None if n is None else (n != n, 0.0 if n != n else n + 0.0) for n in numbers]
    return column.to_pylist()  # type: ignore[no-any-return]


def key_column(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Undo `key_values`."""
    if pa.types.is_temporal(kind):
        return pa.array(values, _plain(kind)).view(kind)
    if _is_text(kind):
        return pa.array(values, pa.large_binary()).cast(kind)
    if pa.types.is_floating(kind):
        numbers = [None if v is None else math.nan if v[0] else v[1] for v in values]
        return pa.array(numbers, pa.float64()).cast(kind)
    return pa.array(values, kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.int64() if kind.bit_width == 64 else pa.int32()


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string_view(), pa.binary_view())
