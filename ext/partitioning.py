"""Kafka's partitioner, and splitting rows by part: the plain Python twin of `_partitioning`.

Kafka's clients send a record to the partition (murmur2(key) & 0x7FFFFFFF) % partitions. `murmur2`
is MurmurHash2 of 32 bits by Austin Appleby with the seed 0x9747B28C, its result signed; all
arithmetic is on unsigned 32-bit numbers, modulo 2**32:

    h = seed ^ length
    for each 4 bytes, as a little-endian word k:
        k = k * 0x5BD1E995; h = (h * 0x5BD1E995) ^ ((k ^ (k >> 24)) * 0x5BD1E995)
    the 1 to 3 bytes that are left, as a little-endian number: h = (h ^ number) * 0x5BD1E995
    h = (h ^ (h >> 13)) * 0x5BD1E995; h ^ (h >> 15)

Vectors, computed by Kafka's own class, are in tests/vectors/murmur2.json.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Final

import pyarrow as pa
import pyarrow.types as kinds

from .keycolumns import arrays_of, is_text, values_of

__all__ = ["kafka_partitions", "murmur2", "split"]

_SEED: Final = 0x9747B28C
_FACTOR: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def murmur2(keys: Any) -> pa.Array:
    """Kafka's hash of every key, an int32 array; null of a null key.

    `keys` is a column of strings (hashed as UTF-8) or bytes, plain or by a dictionary. Raises
    TypeError for another type; ValueError for a column of several chunks, or for a row whose
    value lies outside the data.
    """
    return pa.array(_hashes(keys), pa.int32())


def kafka_partitions(keys: Any, partitions: int) -> pa.Array:
    """The partition that Kafka's clients choose for every key, an int32 array; null of a null key.

    Raises as `murmur2` does, and ValueError if `partitions` is not in 1 .. 2**31 - 1.
    """
    if not 1 <= partitions < 1 << 31:
        raise ValueError(f"partitions must be in 1 .. 2**31 - 1, not {partitions}")
    chosen = (None if h is None else (h & 0x7FFFFFFF) % partitions for h in _hashes(keys))
    return pa.array(chosen, pa.int32())


def split(parts: Any, count: int) -> tuple[pa.Array, list[int]]:
    """The numbers of the rows part by part (uint32), and where each part begins.

    `parts` is an int32 column with values in 0 .. count - 1. The rows of part p are
    ``numbers[offsets[p]:offsets[p + 1]]``, in their order; `offsets` has `count` + 1 elements.
    Raises IndexError for a part that is not in 0 .. count - 1; TypeError for a column of another
    type; ValueError for a null, a column of several chunks or a `count` not in 1 .. 2**31 - 1.
    """
    if not 1 <= count < 1 << 31:
        raise ValueError(f"count must be in 1 .. 2**31 - 1, not {count}")
    (column,) = arrays_of([parts])
    if not kinds.is_int32(column.type):
        raise TypeError(f"parts are int32, not {column.type}")
    found: list[int | None] = column.to_pylist()
    sizes = [0] * count
    for row, part in enumerate(found):
        if part is None:
            raise ValueError(f"row {row}: its part is null")
        if not 0 <= part < count:
            raise IndexError(f"row {row}: there is no part {part} of {count}")
        sizes[part] += 1
    numbers = array("I", sorted(range(len(found)), key=found.__getitem__))  # type: ignore[arg-type]
    offsets = list(accumulate(sizes, initial=0))
    return pa.Array.from_buffers(pa.uint32(), len(numbers), [None, pa.py_buffer(numbers)]), offsets


def _hashes(keys: Any) -> Iterable[int | None]:
    (column,) = arrays_of([keys])
    if not is_text(column.type):
        raise TypeError(f"a key of Kafka is a string or bytes, not {column.type}")
    for value in values_of(column):
        assert value is None or isinstance(value, bytes)
        yield None if value is None else _signed(_murmur2(value))


def _murmur2(data: bytes) -> int:
    h = _SEED ^ len(data)
    whole = len(data) & ~3
    for begin in range(0, whole, 4):
        k = int.from_bytes(data[begin : begin + 4], "little") * _FACTOR & _MASK
        h = (h * _FACTOR & _MASK) ^ ((k ^ k >> 24) * _FACTOR & _MASK)
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _MASK
    h = (h ^ h >> 13) * _FACTOR & _MASK
    return h ^ h >> 15


def _signed(number: int) -> int:
    return number - (1 << 32) if number >> 31 else number
