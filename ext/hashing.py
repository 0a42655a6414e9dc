"""Stable hashes of rows, and key groups: the plain Python twin of `_hashing`.

The hash is part of the format of state and journals: it never changes. All arithmetic is on
unsigned 64-bit numbers, modulo 2**64, except that `mum` multiplies to 128 bits.

    P0 = 0xA0761D6478BD642F   P1 = 0xE7037ED1A0B428DB   P2 = 0x8EBC6AF09C88C6E3
    P3 = 0x589965CC75374CC3    G = 0x9E3779B97F4A7C15

    mum(a, b)     the lower 64 bits of a * b, exclusive or the upper 64
    word(w)       mum(w ^ P0, P1)
    with(r, v)    mum(r ^ v ^ P2, P3)
    bytes(s)      from h = len(s) * G, over blocks of 16 bytes as two little-endian words:
                  h = mum(first ^ P0 ^ h, second ^ P1)
                  Up to 16 bytes are one block, with zeros after them; more than 16, the first
                  block and the last; more than 32, the first two and the last two; more than
                  64, all those of as many times 64 bytes as end before the last byte, then the
                  last four.

1. The hash of a value in one column:
       null                                  P2
       integer, boolean                      word(the value as int64, in two's complement)
       date, time, timestamp, duration       likewise, in the unit of their column
       float                                 word(the bits of the float64), -0.0 being 0.0 and
                                             every NaN being 0x7FF8000000000000
       string, binary, also of fixed size    bytes(UTF-8 or raw)
       decimal of up to 128 bits             with(bytes(n), word(e)): the number is n * 10**-e, n
                                             without zeros at its end (0 is 0 * 10**0), as 16
                                             little-endian bytes; n and e in two's complement
       dictionary, extension type            as the value it stands for
2. The hash of a row, over its columns in order, from h = 0:
       h = with(h, hash of the value)
3. The key group of a row, of `groups`:
       ((h >> 32) * groups) >> 32

Equal numbers have equal hashes whatever the width of their integer or float, and the width and
scale of their decimal; equal texts whatever their layout. `mum` is that of wyhash. The hash has no
seed: who chooses the keys can choose keys that collide. Vectors are in
tests/vectors/key_groups.json.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

from .keycolumns import Value, arrays_of, values_of

__all__ = ["key_groups", "key_owners", "row_hashes"]

_MASK: Final = (1 << 64) - 1
_P0: Final = 0xA0761D6478BD642F
_P1: Final = 0xE7037ED1A0B428DB
_P2: Final = 0x8EBC6AF09C88C6E3
_P3: Final = 0x589965CC75374CC3
_G: Final = 0x9E3779B97F4A7C15
_NAN: Final = 0x7FF8000000000000


def row_hashes(columns: Sequence[Any]) -> pa.Array:
    """The hash of every row over `columns`, a uint64 array.

    `columns` are the key columns, in order and of one length: polars Series, or pyarrow Arrays.
    Raises TypeError for nested types and for what is no column; ValueError if there is no column,
    if their lengths differ, if one has several chunks, or for a row whose value lies outside the
    data of its column.
    """
    found = array("Q", _rows(columns))
    return pa.Array.from_buffers(pa.uint64(), len(found), [None, pa.py_buffer(found)])


def key_groups(columns: Sequence[Any], groups: int) -> pa.Array:
    """The key group of every row, an int32 array with values in 0 .. groups - 1.

    Raises as `row_hashes` does, and ValueError if `groups` is not in 1 .. 2**31 - 1.
    """
    return key_owners(columns, groups, groups)


def key_owners(columns: Sequence[Any], groups: int, owners: int) -> pa.Array:
    """Who has each row's key group, an int32 array with values in 0 .. owners - 1.

    Every owner has a contiguous range of the key groups: group * owners // groups. Raises as
    `key_groups` does, and ValueError if `owners` is not in 1 .. groups.
    """
    if not 1 <= groups < 1 << 31:
        raise ValueError(f"groups must be in 1 .. 2**31 - 1, not {groups}")
    if not 1 <= owners <= groups:
        raise ValueError(f"owners must be in 1 .. {groups}, not {owners}")
    found = array("i", (((h >> 32) * groups >> 32) * owners // groups for h in _rows(columns)))
    return pa.Array.from_buffers(pa.int32(), len(found), [None, pa.py_buffer(found)])


def _rows(columns: object) -> list[int]:
    arrays = arrays_of(columns)
    hashes = [0] * len(arrays[0])
    for column in arrays:
        for row, value in enumerate(values_of(column)):
            hashes[row] = _with(hashes[row], _value(value))
    return hashes


def _value(value: Value) -> int:
    match value:
        case None:
            return _P2
        case float():
            bits: int = struct.unpack("<Q", struct.pack("<d", value + 0.0))[0]
            return _word(bits if value == value else _NAN)
        case int():
            return _word(value & _MASK)
        case bytes():
            return _bytes(value)
        case number, scale:
            while number and number % 10 == 0:
                number, scale = number // 10, scale - 1
            digits = number.to_bytes(16, "little", signed=True)
            return _with(_bytes(digits), _word(scale & _MASK if number else 0))


def _bytes(data: bytes) -> int:
    size = len(data)
    found = size * _G & _MASK
    if size <= 16:
        return _block(found, data.ljust(16, b"\0"))
    half = 16 if size <= 32 else 32
    if size > 64:
        whole = data[: (size - 1) // 64 * 64]
        data = whole + data[-64:]
    else:
        data = data[:half] + data[-half:]
    for begin in range(0, len(data), 16):
        found = _block(found, data[begin : begin + 16])
    return found


def _block(found: int, block: bytes) -> int:
    first, second = struct.unpack("<QQ", block)
    return _mum(first ^ _P0 ^ found, second ^ _P1)


def _word(bits: int) -> int:
    return _mum(bits ^ _P0, _P1)


def _with(row: int, value: int) -> int:
    return _mum(row ^ value ^ _P2, _P3)


def _mum(a: int, b: int) -> int:
    product = a * b
    return (product ^ product >> 64) & _MASK
