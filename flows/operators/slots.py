"""Numbers the groups of a keyed stream, so that aggregates are folded into flat arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["codes_of", "slots_of"]


def codes_of(columns: Sequence[pl.Series]) -> tuple[pa.Array, list[tuple[Any, ...]]]:
    """Return a code (Int64) for each row, and the distinct values that the codes stand for.

    Codes count from 0 in the order in which the values first appear; nulls are values.
    """
    codes: pa.Array | None = None
    dictionaries: list[list[Any]] = []
    for column in columns:
        array = column.to_arrow()
        if pa.types.is_string_view(array.type):
            array = array.cast(pa.large_string())
        encoded = pc.dictionary_encode(array, null_encoding="encode")
        dictionaries.append(encoded.dictionary.to_pylist())
        part = encoded.indices.cast(pa.int64())
        if codes is None:
            codes = part
        else:
            codes = pc.add(pc.multiply(codes, len(dictionaries[-1])), part)
    assert codes is not None
    if len(dictionaries) == 1:
        return codes, [(value,) for value in dictionaries[0]]
    encoded = pc.dictionary_encode(codes)
    return encoded.indices.cast(pa.int64()), [
        _values(code, dictionaries) for code in encoded.dictionary.to_pylist()
    ]


def _values(code: int, dictionaries: list[list[Any]]) -> tuple[Any, ...]:
    values = []
    for dictionary in reversed(dictionaries):
        code, index = divmod(code, len(dictionary))
        values.append(dictionary[index])
    return tuple(reversed(values))


def slots_of(
    columns: Sequence[pl.Series],
    known: dict[tuple[Any, ...], int],
    make: Callable[[tuple[Any, ...]], int],
) -> tuple[pa.Array, list[int]]:
    """Return the slot (Int64) of each row, and the distinct slots; `make` gives a new one."""
    codes, values = codes_of(columns)
    slots = []
    for value in values:
        slot = known.get(value)
        if slot is None:
            slot = known[value] = make(value)
        slots.append(slot)
    return pc.take(pa.array(slots, pa.int64()), codes), slots
