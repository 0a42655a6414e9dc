"""Feeds hostile bytes to the JSON decoder: its twins, and pydantic, are held against each other.

    python -m tests.fuzz.json_decoding --seconds 600 [--seed 1] [--modules build/asan]

Inputs are lines of JSON of an event, mutated, cut into a head and a block. Half of the blocks end
at a page that must not be touched, so that an over-read is a crash, the others lie in blocks of the
heap of just their size, which AddressSanitizer watches. Exits with 1 at the first difference, and
prints the input.
"""

from __future__ import annotations

import enum
import json
import random
import struct
import sys
import time
from collections import Counter
from datetime import date, datetime
from datetime import time as clock
from types import ModuleType
from typing import Annotated, Any, Final, Literal

from headwater.ext import jsondecoding
from headwater.ext.jsonfields import Decoded
from headwater.flows.boundary import Boundary, Checked
from headwater.flows.event import Event, EventTime, Field, Unit, Width, Zone
from headwater.flows.jsondecoder import decoder_of, json_fields

from .watched import Fence, command_line, loaded, on_the_heap

ROOM = 1 << 20
LONG: Final = "key" * 60
"""A key that is longer than what can be read behind the end of any text."""


class Colour(enum.Enum):
    RED = "red"
    LONG = "a colour with a long name"


class Part(Event):
    x: float
    on: bool = True


class Reading(Event):
    at: Annotated[EventTime, Unit("ms")]
    device: str
    temp: float = Field(ge=-90, lt=60.5)
    n: int | None = None
    small: Annotated[int, Width(8)] = 3
    on: bool | None = None
    status: Literal["ok", "warn"] = "ok"
    colour: Colour | None = None
    raw: bytes = b""
    seen: datetime | None = None
    local: Annotated[datetime, Zone("Europe/Rome"), Unit("s")] | None = None
    day: date | None = None
    hour: clock | None = None
    tags: list[str | None] | None = None
    part: Part | None = None
    parts: list[Part] | None = None
    long: int = Field(default=0, validation_alias=LONG)


GOOD: Final[dict[str, Any]] = {
    "at": 1_704_067_200_000, "device": "device-0042", "temp": 25.37, "n": -3, "small": 127,
    "on": True, "status": "warn", "colour": "a colour with a long name", "raw": "\x00é",
    "seen": "2024-02-29T23:59:59.123456+05:30", "local": 1_704_067_200.5, "day": "2000-02-29",
    "hour": "12:34:56.7", "tags": ["a", None, "a tag of more than twelve"],
    "part": {"x": 1e-300, "on": False}, "parts": [{"x": 1}, {"on": True, "x": -2.5}],
    LONG: 7,
}  # fmt: skip
VALUES: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 128, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**30, 0.1, -0.0, 5e-324, 1e308,
    "", "red", "ok", "1", "true", "2024-02-30", "2024-01-01T00:00:00Z", "24:00:00", "é😀\n\"\\\x00",
    [], {}, [[1, {"x": []}]], {"x": {"x": None}}, ["a", 1], "x" * 70, "é\n" * 3000, "y" * 4090,
)  # fmt: skip
PIECES: Final = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"\\ud83d\\ude00", b"\\udc00", b"null",
    b"true", b"false", b"nul", b"-", b"0", b"1", b".", b"e", b"E+", b"99999999999", b" ", b"\n",
    b"\r", b"\r\n", b"\x00", b"\x0b", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80",
    b'"n":1,', b'"at":', b"18446744073709551616", b"NaN", b"Infinity", b"1e400", b"[" * 70,
    b'{"a":' * 66, b"1.00000000000000011102230246251565404", b"\xef\xbb\xbf", b" " * 70,
)  # fmt: skip


def line(chance: random.Random) -> bytes:
    """A line of a reading, perhaps with other values and without some keys."""
    found = dict(GOOD)
    for _ in range(chance.choice((0, 0, 1, 1, 3))):
        found[chance.choice((*GOOD, "other", "é"))] = chance.choice(VALUES)
    if chance.random() < 0.3:
        found["temp"] = chance.choice((chance.uniform(-1e3, 1e3), chance.random() * 1e-300))
    pairs = list(found.items())
    if chance.random() < 0.3:
        chance.shuffle(pairs)
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        pairs.pop(chance.randrange(len(pairs)))
    spaced = (", ", ": ") if chance.random() < 0.3 else (",", ":")
    wide = chance.random() < 0.5
    text = json.dumps(dict(pairs), ensure_ascii=wide, separators=spaced).encode()
    return text.replace(b"25.37", decimal(chance)) if chance.random() < 0.3 else text


def decimal(chance: random.Random) -> bytes:
    """A decimal that lies half-way between two doubles, or near to it, or has many digits."""
    if chance.random() < 0.5:
        return b"%d.%d" % (chance.randrange(60), chance.getrandbits(chance.randrange(1, 180)))
    odd = 2 * chance.randrange(1 << 52, 1 << 53) + 1
    power = chance.randrange(49, 58)  # of two, by which it is divided, and so of five
    digits = f"{odd * 5**power:0{power + 1}}"
    return f"{digits[:-power]}.{digits[-power:]}".encode()[: chance.choice((62, 64, 64, 20))]


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
        del data[at : at + chance.choice((1, 2, 8, 64))]
    elif what == 4:
        data[at:at] = chance.choice(PIECES)
    elif what == 5:
        start = chance.randrange(len(data) + 1)
        data[at : at + 32] = data[start : start + 32]


def hostile(chance: random.Random) -> list[bytes]:
    """Some lines, not all of them sound, and not all of them one line."""
    lines = []
    for _ in range(chance.randint(0, 6)):
        data = bytearray(line(chance))
        for _ in range(chance.choice((0, 0, 0, 1, 1, 3))):
            mutated(data, chance)
        lines.append(bytes(data))
    return lines


def contents(found: Decoded) -> tuple[Any, ...]:
    """What was decoded, floats as their bits."""
    columns = []
    for column in found.columns:
        column.validate(full=True)
        values = column.to_pylist()
        columns.append([struct.pack("<d", v) if isinstance(v, float) else v for v in values])
    return columns, found.rows.to_pylist(), found.lines, found.doubts


def judged(found: Checked) -> tuple[Any, ...]:
    """What a boundary said."""
    bad = [(one.index, one.raw, one.reason) for one in found.bad]
    return found.rows.rows(), found.rows.schema, found.index.to_list(), bad


class Decoders:
    """The twins and pydantic, all for the same event."""

    def __init__(self, compiled: ModuleType) -> None:
        fields = json_fields(Reading)
        self.fast = compiled.JsonDecoder(fields)
        self.plain = jsondecoding.JsonDecoder(fields)
        self.boundary = Boundary(Reading)
        assert decoder_of(Reading) is not None

    def check(self, lines: list[bytes], fence: Fence, chance: random.Random) -> tuple[int, int]:
        """Hold all against each other; how many lines were taken, and how many in doubt."""
        end = chance.choice((b"\n", b"\n", b"\r\n"))
        text = b"".join(one + end for one in lines) + chance.choice((b"", b"{", b'{"at":1'))
        cut = chance.choice((0, 0, chance.randint(0, len(text))))
        longest = chance.choice((None, None, 0, 60, 500))
        expected = contents(self.plain.decode(text, b"", 1, longest))
        block = fence.put(text[cut:]) if chance.random() < 0.5 else on_the_heap(text[cut:])
        assert expected == contents(self.fast.decode(block, text[:cut], 1, longest))
        every = contents(self.plain.decode_all(lines))
        assert every == contents(self.fast.decode_all(lines))
        self._alone(fence, chance)
        by_pydantic = self.boundary.each_line(lines, range(len(lines)))
        assert judged(by_pydantic) == judged(self.boundary.json_lines(lines))
        return len(every[1]), len(every[3])

    def _alone(self, fence: Fence, chance: random.Random) -> None:
        """Decode more, in which nothing but a crash is looked for."""
        for _ in range(10):
            text = b"\n".join(hostile(chance))
            cut = chance.randint(0, len(text))
            block = fence.put(text[cut:]) if chance.random() < 0.5 else on_the_heap(text[cut:])
            self.fast.decode(block, text[:cut])


def main() -> None:
    """Run for the given time."""
    asked = command_line(__doc__)
    compiled, fence = loaded("_jsondecoding", asked.modules), Fence(ROOM)
    chance = random.Random(asked.seed)
    decoders = Decoders(compiled)
    seen: Counter[str] = Counter()
    inputs, end = 0, time.monotonic() + asked.seconds
    while time.monotonic() < end:
        lines = hostile(chance)
        try:
            taken, doubts = decoders.check(lines, fence, chance)
        except AssertionError:
            print(f"differ on {lines!r}", file=sys.stderr)
            raise
        seen["taken"] += taken
        seen["in doubt"] += doubts
        inputs += 1
    counts = ", ".join(f"{count} lines {name}" for name, count in sorted(seen.items()))
    print(f"{compiled.__file__}: {inputs} inputs in {asked.seconds:g} s, no difference; {counts}")


if __name__ == "__main__":
    main()
