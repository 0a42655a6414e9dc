"""Stable hashes of rows, and key groups: the plain Python twin of `_hashing`.

The hash is part of the format of state and journals: it never changes. All arithmetic is on
unsigned 64-bit numbers, modulo 2**64.

1. finalizer(z), the output function of splitmix64:
       z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
       z = (z ^ (z >> 27)) * 0x94D049BB133111EB
       z ^ (z >> 31)
2. The hash of a value in one column:
       null                                  0x9E3779B97F4A7C15
       integer, boolean, date, time,         finalizer(the value as int64, in two's complement);
       timestamp, duration                   times in the unit of their column
       float                                 finalizer(the bits of the float64), -0.0 being 0.0
                                             and every NaN being 0x7FF8000000000000
       string, binary                        finalizer(FNV-1a 64 of the UTF-8 or raw bytes)
       decimal                               as the string that Arrow casts it to
       dictionary                            as the value it stands for
3. The hash of a row, over its columns in order, from h = 0:
       h = finalizer(h * 31 + hash of the value)
4. The key group of a row, of `groups`:
       ((h >> 32) * groups) >> 32

FNV-1a 64 starts at 0xCBF29CE484222325 and, for each byte, does an exclusive or with the byte, then
multiplies by 0x100000001B3. Vectors are in tests/vectors/key_groups.json.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa

from .columns import Column, checked_groups, columns_of

MASK: Final = (1 << 64) - 1
NULL: Final = 0x9E3779B97F4A7C15
NAN: Final = 0x7FF8000000000000
FNV_START: Final = 0xCBF29CE484222325
FNV_PRIME: Final = 0x100000001B3


def key_groups(columns: Sequence[pa.Array], groups: int) -> pa.Array:
    """The key group of every row, an int32 array with values in 0 .. groups - 1.

    `columns` are the key columns, in order and of one length. Raises ValueError if there is no
    column, if their lengths differ, if a buffer is too short or if `groups` is not in
    1 .. 2**31 - 1; TypeError for nested types.
    """
    groups = checked_groups(groups)
    found = array("i", ((h >> 32) * groups >> 32 for h in _rows(columns_of(columns))))
    return pa.Array.from_buffers(pa.int32(), len(found), [None, pa.py_buffer(found)])


def row_hashes(columns: Sequence[pa.Array]) -> pa.Array:
    """The hash of every row over `columns`, a uint64 array; raises as `key_groups` does."""
    found = array("Q", _rows(columns_of(columns)))
    return pa.Array.from_buffers(pa.uint64(), len(found), [None, pa.py_buffer(found)])


def _rows(columns: list[Column]) -> list[int]:
    hashes = [0] * columns[0].length
    for column in columns:
        for row, value in enumerate(_values(column)):
            hashes[row] = _finalizer((hashes[row] * 31 + value) & MASK)
    return hashes


def _values(column: Column) -> Iterator[int]:
    """The hash of each value of one column."""
    if column.form == "bytes":
        yield from _bytes(column)
        return
    numbers, bits = column.words("d"), column.words("Q")
    for row in range(column.length):
        if not column.is_valid(row):
            yield NULL
        elif column.form == "int":
            yield _finalizer(bits[row])
        elif numbers[row] == 0.0:
            yield _finalizer(0)
        elif numbers[row] != numbers[row]:
            yield _finalizer(NAN)
        else:
            yield _finalizer(bits[row])


def _bytes(column: Column) -> Iterator[int]:
    if not column.length:
        return
    offsets = column.words("q", extra=1)
    for row in range(column.length):
        if not column.is_valid(row):
            yield NULL
            continue
        begin, end = offsets[row], offsets[row + 1]
        if not 0 <= begin <= end <= len(column.data):
            raise ValueError(f"row {row}: its offsets lie outside the data of the column")
        h = FNV_START
        for byte in column.data[begin:end]:
            h = (h ^ byte) * FNV_PRIME & MASK
        yield _finalizer(h)


def _finalizer(z: int) -> int:
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31
