"""Feeds random and hostile batches to the kernel for windows and holds it against its twin.

    python -m tests.fuzz.windows --seconds 600 [--seed 1] [--modules build/asan]

Batches lie in exact blocks of the heap, which AddressSanitizer watches where `--modules` names a
folder with a module built with it; some views point outside. Exits with 1 at the first difference.
"""

from __future__ import annotations

import random
import struct
import sys
import time
from collections import Counter
from types import ModuleType
from typing import Any

import pyarrow as pa

from headwater.ext import windowing
from headwater.ext.windowing import END, START, WindowPart

from .watched import command_line, heap_buffer, loaded, validity

NUMBERS = (pa.int8(), pa.uint16(), pa.int64(), pa.uint64(), pa.bool_(), pa.date32())
KEYS = (*NUMBERS, pa.float32(), pa.float64(), pa.timestamp("us", "UTC"))
SPECIAL = (0.0, -0.0, float("nan"), float("inf"), 1e300, 1e16, -1e16, 0.1, 0.3)


def texts(chance: random.Random, kind: pa.DataType, rows: int, wrong: float) -> pa.Array:
    """Few texts of many sizes, in two blocks; with a chance of `wrong` a view points outside."""
    blocks = [bytes(chance.choices(b"ab", k=size)) for size in (13, 200)]
    found = bytearray()
    for _ in range(rows):
        block = chance.randrange(2)
        size = min(chance.choice((0, 1, 4, 11, 12, 13, 14, 16, 17, 40, 180)), len(blocks[block]))
        begin = chance.randint(0, min(3, len(blocks[block]) - size))
        text = blocks[block][begin : begin + size]
        if size <= 12:
            found += struct.pack("<i12s", size, text)
            continue
        if chance.random() < wrong:
            size, block, begin = chance.choice(
                ((size, 2, begin), (size, -1, begin), (201, 1, 0), (size, block, 199), (-1, 0, 0))
            )
        found += struct.pack("<i4sii", size, text[:4], block, begin)
    data = [heap_buffer(block) for block in blocks]
    return pa.Array.from_buffers(
        kind, rows, [validity(chance, rows), heap_buffer(bytes(found)), *data]
    )


def plain(chance: random.Random, kind: pa.DataType, rows: int) -> pa.Array:
    """Values of a fixed size, of few or of any bits."""
    size = (rows * kind.bit_width + 7) // 8
    if pa.types.is_floating(kind) and kind.bit_width == 64:
        data = struct.pack(f"<{rows}d", *chance.choices(SPECIAL, k=rows))
    elif chance.random() < 0.7:
        data = bytes(chance.choices(b"\0\0\0\1", k=size))
    else:
        data = chance.randbytes(size)
    return pa.Array.from_buffers(kind, rows, [validity(chance, rows), heap_buffer(data)])


def instants(values: list[int]) -> pa.Array:
    """A column of int64 without nulls."""
    packed = heap_buffer(struct.pack(f"<{len(values)}q", *values))
    return pa.Array.from_buffers(pa.int64(), len(values), [None, packed])


def parts(chance: random.Random) -> list[WindowPart]:
    """Any of them, in any order."""
    made = [WindowPart("len"), WindowPart("count", "real"), WindowPart("count", "whole")]
    made += [WindowPart(k, "whole") for k in ("sum", "min", "max")]
    for kind in ("sum", "min", "max", "mean", "var", "std", "count"):
        made.append(WindowPart(kind, "real", True, chance.randint(0, 2)))
    for skip in (False, True):
        made += [
            WindowPart("first", "whole", False, 1, skip),
            WindowPart("last", "whole", False, 1, skip),
        ]
        made += [
            WindowPart("first", "real", True, 1, skip),
            WindowPart("last", "real", True, 1, skip),
        ]
    return chance.sample(made, chance.randint(1, len(made)))


class Case:
    """A table's arguments and batches, the same for both."""

    def __init__(self, chance: random.Random) -> None:
        kinds = (pa.string_view(), pa.binary_view(), *KEYS)
        self.keys = pa.schema(
            [(f"key{n}", chance.choice(kinds)) for n in range(chance.choice((0, 1, 1, 2, 3)))]
        )
        every = chance.randint(1, 12)
        size = every + chance.choice((0, 0, 0, 1, every, 3 * every, 17))
        lateness, offset = chance.choice((0, 0, 5)), chance.randint(-5, 20)
        self.options: dict[str, Any] = {"updates": chance.random() < 0.3, "time": "time"}
        self.whole = chance.random() < 0.1
        if not self.whole:
            self.options |= {
                "size": size, "every": every, "offset": offset, "lateness": lateness,
                "watermark": "mark",
            }  # fmt: skip
        self.parts = parts(chance)
        wrong = chance.choice((0, 0, 0, 0.01))
        self.batches = []
        self.mark = START
        begin = chance.choice((0, -(10**6), 10**15))
        for _ in range(chance.randint(1, 4)):
            rows = chance.choice((0, 1, 9, 60, 300, 700))
            times = [begin + chance.randint(0, 40) + n // 10 for n in range(rows)]
            begin += rows // 10 + chance.choice((0, 0, 0, 100, 10**12))
            now = None if chance.random() < 0.9 else begin
            self.batches.append((*self._batch(chance, rows, times, wrong), now))

    def _batch(
        self, chance: random.Random, rows: int, times: list[int], wrong: float
    ) -> tuple[pa.RecordBatch, int]:
        marks = []
        for at in times:
            marks.append(self.mark)
            self.mark = max(self.mark, at - chance.choice((5, 20, 40)))
        columns = [
            texts(chance, kind, rows, wrong) if "view" in str(kind) else plain(chance, kind, rows)
            for kind in self.keys.types
        ]
        columns += [instants(times), instants(marks)]
        columns += [plain(chance, pa.int64(), rows), plain(chance, pa.float64(), rows)]
        names = [*self.keys.names, "time", "mark", "whole", "real"]
        batch = pa.RecordBatch.from_arrays(columns, names)
        start = chance.randint(0, rows) if chance.random() < 0.2 else 0
        return batch[start:], self.mark

    def run(self, module: ModuleType) -> list[Any]:
        """What the table of a module gives, to its first error."""
        table = module.WindowTable(self.keys, self.parts, **self.options)
        found: list[Any] = []
        try:
            for batch, mark, now in self.batches:
                late = table.add(batch, now)
                found.append(None if late is None else late.to_pylist())
                if self.options["updates"]:
                    table.update()
                if not self.whole:
                    table.close(mark)
                found.append(rows_of(table.take()))
            table.close(END)
            found.append(rows_of(table.take()))
        except ValueError:
            found.append("ValueError")
        return [*found, table.live if found[-1] != "ValueError" else None]


def rows_of(batch: pa.RecordBatch | None) -> Any:
    """The rows as text, in which one NaN is as good as another and zeros have their sign."""
    if batch is None:
        return None
    batch.validate(full=True)
    return [str(column.to_pylist()) for column in (c.cast(plainer(c.type)) for c in batch.columns)]


def plainer(kind: pa.DataType) -> pa.DataType:
    """A type whose values can be printed whatever their bits."""
    if kind == pa.date32():
        return pa.int32()
    if pa.types.is_timestamp(kind):
        return pa.int64()
    return pa.large_binary() if kind == pa.string_view() else kind


def main() -> int:
    """Try cases until the time is over."""
    given = command_line(__doc__)
    kernel = loaded("_windowing", given.modules)
    tried: Counter[str] = Counter()
    end = time.monotonic() + given.seconds
    seed = given.seed
    while time.monotonic() < end:
        seed += 1
        case = Case(random.Random(seed))
        expected, found = case.run(windowing), case.run(kernel)
        tried["refused" if "ValueError" in expected else "taken"] += 1
        # The kernel does not look at the keys of rows that are late, so it may take what the twin
        # refuses, and no more can be compared.
        if "ValueError" not in expected and expected != found:
            print(f"seed {seed - 1}: {expected}\n{found}")
            return 1
    print(dict(tried))
    return 0


if __name__ == "__main__":
    sys.exit(main())
