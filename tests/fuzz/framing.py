"""Feeds hostile bytes to the framing kernel and holds its twins against each other.

    python -m tests.fuzz.framing --seconds 600 [--seed 1] [--modules build/asan]

Inputs are frames, forged frames and rubbish, mutated; half of them end or begin at a page that must
not be touched, so that an over-read is a crash, the others lie in exact blocks of the heap, which
AddressSanitizer watches. Exits with 1 at the first difference, and prints the input.
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

from headwater.ext import framing

from .watched import Fence, command_line, loaded, on_the_heap

ROOM = 1 << 16
BATCHES = (
    pa.record_batch({"i": [1, 2, None], "s": ["x", "yy", None], "l": [[1], None, [2, 3]]}),
    pa.record_batch({"d": pa.array(["a", None]).dictionary_encode(), "b": [True, None]}),
    pa.record_batch({"v": pa.array(["a" * 30, "b", None], pa.string_view())}),
)


def forged(chance: random.Random) -> bytes:
    """A prologue with a right CRC32C over whatever stands in it, and something behind it."""
    lengths = (0, 1, 32, 33, 64, 1 << 20, (1 << 20) + 1, (1 << 32) - 1, chance.randrange(300))
    bodies = (*lengths, 1 << 30, (1 << 30) + 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
    checked = struct.pack(
        "<4sHHIIQI",
        framing.MAGIC,
        chance.choice((1, 1, 1, 1, 0, 2, 65535)),
        chance.choice((0, 0, 0, 0, 1, 65535)),
        chance.choice(lengths),
        chance.choice((0, chance.getrandbits(32))),
        chance.choice(bodies),
        chance.choice((0, chance.getrandbits(32))),
    )
    crc = framing.crc32c(checked).to_bytes(4, "little")
    return checked + crc + bytes(chance.choice((0, 32, 96)))


def framed(chance: random.Random) -> bytes:
    longest = chance.choice((0, 40, 300, 300, 2000))
    header, body = (chance.randbytes(chance.randint(0, longest)) for _ in range(2))
    return b"".join(map(bytes, framing.encode(header, body)))


def rubbish(chance: random.Random) -> bytes:
    size = chance.choice((1, 7, 31, 32, 63, 64, 65, 200))
    return chance.choice((bytes(size), chance.randbytes(size), framing.MAGIC * size))


def mutated(data: bytearray, chance: random.Random) -> None:
    """Change `data` somewhere, once."""
    at = chance.randrange(len(data) + 1)
    what = chance.randrange(6)
    if what == 0 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif what == 1:
        data[at : at + 1] = chance.randbytes(1)
    elif what == 2:
        del data[at:]
    elif what == 3:
        del data[at : at + chance.choice((1, 8, 64))]
    elif what == 4:
        data[at:at] = rubbish(chance)
    elif what == 5:
        start = chance.randrange(len(data) + 1)
        data[at : at + 64] = data[start : start + 64]


def hostile(chance: random.Random) -> bytes:
    """One input: up to a few thousand bytes, or now and then tens of thousands."""
    pieces = chance.choices((framed, forged, rubbish), (8, 1, 1), k=chance.randint(0, 5))
    data = bytearray(b"".join(piece(chance) for piece in pieces))
    if chance.random() < 0.01:
        data += framed(chance) * chance.randint(1, 100)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
        mutated(data, chance)
    return bytes(data[: ROOM - 64])


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, or how it refuses."""
    try:
        return call()
    except (ValueError, TypeError, BufferError) as error:
        return type(error).__name__, str(error)


def arguments(chance: random.Random, size: int) -> dict[str, Any]:
    """Arguments of a scan, some of them wrong."""
    limits = (0, 1, 32, 300, 300, 1 << 20, 1 << 30, (1 << 32) - 1, -1, 1 << 63)
    given: dict[str, Any] = {}
    if chance.random() < 0.2:
        given["offset"] = chance.choice((0, 64, 128, size, size + 1, -1, chance.randint(0, size)))
    if chance.random() < 0.2:
        given["max_frames"] = chance.choice((None, 1, 2, 3, 0, 1 << 62))
    if chance.random() < 0.1:
        given["max_header"] = chance.choice(limits)
        given["max_body"] = chance.choice(limits)
    return given


def check_scan(compiled: ModuleType, data: bytes, view: memoryview, given: dict[str, Any]) -> Any:
    """Both twins say the same, and what they call a frame is one to the last byte."""
    found = outcome(lambda: compiled.scan(view, **given))
    assert outcome(lambda: framing.scan(data, **given)) == found, given
    if isinstance(found, framing.Scan):
        for frame in found.frames:
            again = compiled.encode(view[frame.header], view[frame.body])
            assert data[frame.offset : frame.end] == b"".join(map(bytes, again)), frame
    return found


def check_sums(compiled: ModuleType, data: bytes, view: memoryview, chance: random.Random) -> None:
    """Each way to a checksum gives the same."""
    at, start = chance.randint(0, len(data)), chance.getrandbits(32)
    expected = compiled.crc32c(data[at:], start)
    for way in compiled.ways():
        assert expected == compiled.crc32c_by(way, view[at:], start), (way, at, start)


def check_batch(chance: random.Random, fence: Fence) -> str:
    """A damaged body is refused, or is a batch that can be read."""
    batch = chance.choice(BATCHES)
    body = bytearray(framing.batch_body(batch).to_pybytes())
    for _ in range(chance.choice((0, 1, 2, 5))):
        mutated(body, chance)
    view = fence.put(bytes(body[:ROOM]), low=False)
    try:
        framing.batch_of(view, batch.schema, full=True).to_pylist()
    except ValueError:
        return "body refused"
    return "body read"


def one(compiled: ModuleType, fence: Fence, chance: random.Random, seen: Counter[str]) -> None:
    """One input; counts in `seen` what came of it."""
    data = hostile(chance)
    where = chance.randrange(4)
    view = fence.put(data, low=where == 0) if where < 2 else on_the_heap(data)
    given = arguments(chance, len(data))
    try:
        found = check_scan(compiled, data, view, given)
        check_sums(compiled, data, view, chance)
    except AssertionError:
        print(f"differ on {given} and {data.hex()}", file=sys.stderr)
        raise
    if isinstance(found, framing.Scan):
        seen["frames"] += len(found.frames)
        seen[found.reason or found.ending.value] += 1
    else:
        seen["refused"] += 1
    if chance.random() < 0.2:
        seen[check_batch(chance, fence)] += 1


def main() -> None:
    """Run for the given time."""
    asked = command_line(__doc__)
    compiled, fence = loaded("_framing", asked.modules), Fence(ROOM)
    chance = random.Random(asked.seed)
    seen: Counter[str] = Counter()
    inputs, end = 0, time.monotonic() + asked.seconds
    while time.monotonic() < end:
        one(compiled, fence, chance, seen)
        inputs += 1
    counts = ", ".join(f"{name} {count}" for name, count in sorted(seen.items()))
    print(f"{compiled.__file__}: {inputs} inputs in {asked.seconds:g} s, no difference; {counts}")


if __name__ == "__main__":
    main()
