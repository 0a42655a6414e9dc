"""Feeds hostile columns to the kernels for keys and holds their twins against each other.

    python -m tests.fuzz.keys --seconds 600 [--seed 1] [--modules build/asan]

Views, offsets and indices point anywhere, into exact blocks of the heap, which AddressSanitizer
watches where `--modules` names a folder with modules built with it. Exits with 1 at the first
difference, and prints the column.
"""

from __future__ import annotations

import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pyarrow as pa

from headwater.ext import hashing, partitioning

from .watched import command_line, heap_buffer, loaded, validity

EDGES = (0, 1, 3, 4, 7, 8, 11, 12, 13, 16, 17, 31, 32, 33, 63, 64, 65, 128, 129, 2**31 - 1)
PLAIN = (
    *(pa.int8(), pa.uint16(), pa.int32(), pa.uint64(), pa.bool_(), pa.date32(), pa.float16()),
    *(pa.float32(), pa.float64(), pa.decimal128(38, 5), pa.decimal64(18, 3), pa.binary(5)),
)


def number(chance: random.Random, near: int) -> int:
    """A size or a place: mostly one that could be right."""
    if chance.random() < 0.97:
        return chance.randint(0, max(0, near))
    return min(chance.choice((*EDGES, near, near + 1, -1, -(2**31))), 2**31 - 1)


def views(chance: random.Random, rows: int) -> pa.Array:
    """Texts of any size, in up to three blocks."""
    sizes = [chance.choice((0, 12, 13, 40, 300)) for _ in range(chance.randint(0, 3))]
    found = bytearray()
    for _ in range(rows):
        block = number(chance, len(sizes) - 1)
        held = sizes[block] if 0 <= block < len(sizes) else 20
        size = number(chance, held) if sizes else chance.randint(0, 12)
        begin = number(chance, held - size)
        found += struct.pack("<i4sii", size, chance.randbytes(4), block, begin)
    kind = chance.choice((pa.string_view(), pa.binary_view()))
    blocks = [heap_buffer(chance.randbytes(size)) for size in sizes]
    held_bits = validity(chance, rows)
    return pa.Array.from_buffers(kind, rows, [held_bits, heap_buffer(bytes(found)), *blocks])


def offsets(chance: random.Random, rows: int) -> pa.Array:
    """Texts between offsets of 32 or 64 bits."""
    kind, code = chance.choice(((pa.string(), "i"), (pa.large_binary(), "q")))
    size = chance.choice((0, 1, 15, 200))
    places = sorted(chance.randint(0, size) for _ in range(rows + 1))
    if chance.random() < 0.3:
        places[chance.randrange(rows + 1)] = chance.choice((number(chance, size), -1, -size))
    packed = struct.pack(f"<{rows + 1}{code}", *places)
    data = heap_buffer(chance.randbytes(size))
    return pa.Array.from_buffers(kind, rows, [validity(chance, rows), heap_buffer(packed), data])


def plain(chance: random.Random, rows: int) -> pa.Array:
    """Values of a fixed size, of any bits."""
    kind = chance.choice(PLAIN)
    values = heap_buffer(chance.randbytes((rows * kind.bit_width + 7) // 8))
    return pa.Array.from_buffers(kind, rows, [validity(chance, rows), values])


def indices(chance: random.Random, rows: int) -> pa.Array:
    """Indices into one of the others."""
    values = chance.choice((views, offsets, plain))(chance, chance.randint(0, 20))
    kind, code = chance.choice(((pa.int8(), "b"), (pa.uint16(), "H"), (pa.int64(), "q")))
    top = {"b": 127, "H": 2**16 - 1, "q": 2**63 - 1}[code]
    chosen = [max(min(number(chance, len(values) - 1), top), 0) for _ in range(rows)]
    if code != "H" and rows and chance.random() < 0.1:
        chosen[0] = -1
    packed = heap_buffer(struct.pack(f"<{rows}{code}", *chosen))
    places = pa.Array.from_buffers(kind, rows, [validity(chance, rows), packed])
    return pa.DictionaryArray.from_arrays(places, values, safe=False)


def hostile(chance: random.Random) -> pa.Array:
    """A column, cut somewhere."""
    rows = chance.choice((0, 1, 2, 9, 30, 30, 30, 1200))
    column = chance.choice((views, views, offsets, plain, indices))(chance, rows)
    start = chance.choice((0, 0, chance.randint(0, rows)))
    return column[start : chance.randint(start, rows)]


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, or how it refuses."""
    try:
        return call()
    except (ValueError, IndexError) as error:
        return type(error).__name__, str(error)
    except TypeError:
        return "TypeError"


def one(kernels: list[ModuleType], chance: random.Random) -> str:
    """One column; what came of it."""
    keys, parts = kernels
    try:
        column = hostile(chance)
    except pa.ArrowInvalid:
        return "refused by Arrow"
    count = chance.choice((1, 2, 5, 300))
    some = [chance.randrange(count) for _ in range(chance.choice((0, 1, 9, 200)))]
    if some and chance.random() < 0.2:
        some[chance.randrange(len(some))] = chance.choice((-1, count, 2**31 - 1))
    given = pa.array(some, pa.int32())[chance.choice((0, 3)) :]
    found = outcome(lambda: keys.row_hashes([column, column]))
    try:
        assert outcome(lambda: hashing.row_hashes([column, column])) == found
        assert outcome(lambda: partitioning.murmur2(column)) == outcome(
            lambda: parts.murmur2(column)
        )
        assert outcome(lambda: partitioning.kafka_partitions(column, count)) == outcome(
            lambda: parts.kafka_partitions(column, count)
        )
        theirs = outcome(lambda: partitioning.split(given, count))
        assert theirs == outcome(lambda: parts.split(given, count))
    except AssertionError:
        shown = [None if b is None else b.to_pybytes().hex() for b in column.buffers()]
        print(f"differ on {column.type}, {column.offset}, {len(column)}, {shown}", file=sys.stderr)
        raise
    return "hashed" if isinstance(found, pa.Array) else "refused"


def main() -> None:
    """Run for the given time."""
    asked = command_line(__doc__)
    kernels = [loaded(name, asked.modules) for name in ("_hashing", "_partitioning")]
    chance = random.Random(asked.seed)
    seen: Counter[str] = Counter()
    end = time.monotonic() + asked.seconds
    while time.monotonic() < end:
        seen[one(kernels, chance)] += 1
    counts = ", ".join(f"{name} {count}" for name, count in sorted(seen.items()))
    print(f"{kernels[0].__file__}: {seen.total()} columns in {asked.seconds:g} s; {counts}")


if __name__ == "__main__":
    main()
