"""One entry of a journal: one step of a shard, as the header of a frame.

A step says what was consumed, in which order and cut how, what time it was, and what came out.
Integers are little-endian; the layout is in `docs/journal.md`.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from .errors import FormatError

__all__ = [
    "NO_WATERMARK",
    "Continues",
    "Entry",
    "IdleMark",
    "OutputMark",
    "Range",
    "Step",
    "StepKind",
    "TimerFired",
    "decode_entry",
    "encode_entry",
]

NO_WATERMARK: Final = -(1 << 63)
"""The watermark before there is any."""
NO_SCHEMA: Final = (1 << 32) - 1
"""The schema of an entry without a body."""
REQUIRED: Final = 0x8000
"""A field whose tag has this bit cannot be skipped by who does not know it."""

_TIMERS: Final = 1
_IDLES: Final = 2
_CONTINUES: Final = 3 | REQUIRED
_ENDED: Final = 4 | REQUIRED
_OUTPUTS: Final = 5

_FIXED: Final = struct.Struct("<QQBBHIqq16s16sIII")
_RANGE: Final = struct.Struct("<IQQII")
_FIELD: Final = struct.Struct("<HI")
_TIMER: Final = struct.Struct("<IqI")
_IDLE: Final = struct.Struct("<IQB")
_PAIR: Final = struct.Struct("<QQ")
_CHANNEL: Final = struct.Struct("<I")
_OUTPUT: Final = struct.Struct("<IQI")
_NOTHING: Final = bytes(16)


class StepKind(enum.IntEnum):
    """What an entry is: a step of operators, input taken in, or the opening of an epoch."""

    STEP = 0
    INGEST = 1
    OPEN = 2


@dataclass(frozen=True, slots=True)
class Range:
    """What was consumed of one channel: positions `first` to `last`, both included.

    Of `first` without its first `skip` rows; of `last` only the rows before row `cut`, or all of
    them if `cut` is 0.
    """

    channel: int
    first: int
    last: int
    skip: int = 0
    cut: int = 0


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer of operator number `operator` fired: set for `at` (µs UTC) by `key` (encoded)."""

    operator: int
    at: int
    key: bytes


@dataclass(frozen=True, slots=True)
class IdleMark:
    """A channel was set aside at a position, or (`idle` False) taken back."""

    channel: int
    position: int
    idle: bool


@dataclass(frozen=True, slots=True)
class OutputMark:
    """What came to node number `node` of the graph: so many rows, with this checksum."""

    node: int
    rows: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Continues:
    """An epoch goes on after entry `sequence - 1` of epoch `epoch`."""

    epoch: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Step:
    """What a shard did in one step.

    `ranges` stand in the order consumed. `watermark` and `clock` are µs; `digest` (16 bytes) is
    of the outputs, by whatever the engine chose. Rows of output partition i are those from
    `offsets[i]` to `offsets[i + 1]`; empty if there is one partition. A drop policy takes a low
    `priority` (0 .. 255) first. `ended` are channels that have nothing more to give; `outputs` say
    what came out, so that a step that is done again can be compared.
    """

    ranges: tuple[Range, ...] = ()
    timers: tuple[TimerFired, ...] = ()
    idles: tuple[IdleMark, ...] = ()
    watermark: int = NO_WATERMARK
    clock: int = 0
    digest: bytes = _NOTHING
    offsets: tuple[int, ...] = ()
    kind: StepKind = StepKind.STEP
    priority: int = 0
    continues: Continues | None = None
    ended: tuple[int, ...] = ()
    outputs: tuple[OutputMark, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A step with its place in the journal.

    `flow` (16 bytes) is the hash of the code that made it, `schema` the id of the schema of its
    `rows` rows, within its segment.
    """

    epoch: int
    sequence: int
    flow: bytes
    schema: int
    rows: int
    step: Step


def encode_entry(entry: Entry) -> bytes:
    """The payload of an entry's frame; raises `FormatError` for what the layout cannot hold."""
    step = entry.step
    extras = _extras(step)
    ranges, offsets = step.ranges, step.offsets
    try:
        fixed = _FIXED.pack(
            entry.epoch, entry.sequence, step.kind, step.priority, len(ranges), len(offsets),
            step.watermark, step.clock, step.digest, entry.flow, entry.schema, entry.rows,
            len(extras),
        )  # fmt: skip
        parts = [fixed]
        parts += [_RANGE.pack(r.channel, r.first, r.last, r.skip, r.cut) for r in ranges]
        if offsets:
            parts.append(struct.pack(f"<{len(offsets)}I", *offsets))
    except struct.error as error:
        raise FormatError(f"a step does not fit its entry: {error}") from error
    parts.append(extras)
    return b"".join(parts)


def decode_entry(payload: bytes | memoryview) -> Entry:
    """The entry of a payload, which may hold anything; raises `FormatError`."""
    try:
        (epoch, sequence, kind, priority, ranges, offsets, watermark, clock, digest, flow,
         schema, rows, size) = _FIXED.unpack_from(payload)  # fmt: skip
    except struct.error as error:
        raise FormatError("an entry is shorter than its fixed part") from error
    at = _FIXED.size
    middle = at + ranges * _RANGE.size
    end = middle + 4 * offsets
    if end + size != len(payload):
        raise FormatError("an entry's counts do not add up to its length")
    if kind > StepKind.OPEN:
        raise FormatError(f"an entry is of the unknown kind {kind}")
    consumed = tuple([Range(*found) for found in _RANGE.iter_unpack(payload[at:middle])])
    starts: tuple[int, ...] = struct.unpack_from(f"<{offsets}I", payload, middle) if offsets else ()
    for found in consumed:
        if found.first > found.last:
            raise FormatError("an entry consumed a range that ends before it begins")
    if starts and (starts[-1] != rows or starts[0] or list(starts) != sorted(starts)):
        raise FormatError("an entry's offsets do not divide its rows")
    step = Step(
        consumed,
        watermark=watermark,
        clock=clock,
        digest=digest,
        offsets=starts,
        kind=_KINDS[kind],
        priority=priority,
        **_fields(payload[end:]),
    )
    return Entry(epoch, sequence, flow, schema, rows, step)


_KINDS: Final = tuple(StepKind)


def _extras(step: Step) -> bytes:
    """The optional fields, each with its tag and length."""
    parts = []
    if step.outputs:
        parts.append((_OUTPUTS, b"".join([_OUTPUT.pack(*_values(o)) for o in step.outputs])))
    if step.ended:
        parts.append((_ENDED, b"".join(map(_CHANNEL.pack, step.ended))))
    if step.timers:
        packed = [_TIMER.pack(t.operator, t.at, len(t.key)) + t.key for t in step.timers]
        parts.append((_TIMERS, b"".join(packed)))
    if step.idles:
        idles = [_IDLE.pack(i.channel, i.position, i.idle) for i in step.idles]
        parts.append((_IDLES, b"".join(idles)))
    if step.continues:
        parts.append((_CONTINUES, _PAIR.pack(step.continues.epoch, step.continues.sequence)))
    return b"".join(_FIELD.pack(tag, len(value)) + value for tag, value in parts)


def _fields(data: bytes | memoryview) -> dict[str, Any]:
    """Read the optional fields; those not known are skipped, unless they are required."""
    found: dict[str, Any] = {}
    for tag, value in _tagged(data):
        if tag == _TIMERS:
            found["timers"] = tuple(_timers(value))
        elif tag == _IDLES:
            idles = _filled(_IDLE, value, "idle marks do")
            if any(idle > 1 for _, _, idle in idles):
                raise FormatError("an entry's idle mark is neither set nor taken back")
            found["idles"] = tuple(IdleMark(c, p, idle == 1) for c, p, idle in idles)
        elif tag == _CONTINUES:
            if len(value) != _PAIR.size:
                raise FormatError("what an entry continues does not fill its field")
            found["continues"] = Continues(*_PAIR.unpack(value))
        elif tag == _ENDED:
            found["ended"] = tuple(c for (c,) in _filled(_CHANNEL, value, "ends do"))
        elif tag == _OUTPUTS:
            found["outputs"] = tuple(
                OutputMark(*mark) for mark in _filled(_OUTPUT, value, "outputs do")
            )
        elif tag & REQUIRED:
            raise FormatError(f"an entry has the field {tag}, which a newer version wrote")
    return found


def _filled(form: struct.Struct, value: bytes, what: str) -> list[tuple[Any, ...]]:
    if len(value) % form.size:
        raise FormatError(f"an entry's {what} not fill their field")
    return list(form.iter_unpack(value))


def _values(mark: OutputMark) -> tuple[int, int, int]:
    return mark.node, mark.rows, mark.checksum


def _tagged(data: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if at + _FIELD.size > len(data):
            raise FormatError("an entry ends inside a field")
        tag, size = _FIELD.unpack_from(data, at)
        at += _FIELD.size + size
        if at > len(data):
            raise FormatError("an entry ends inside a field")
        yield tag, bytes(data[at - size : at])


def _timers(data: bytes) -> Iterator[TimerFired]:
    at = 0
    while at < len(data):
        if at + _TIMER.size > len(data):
            raise FormatError("an entry ends inside a timer")
        operator, due, size = _TIMER.unpack_from(data, at)
        at += _TIMER.size + size
        if at > len(data):
            raise FormatError("an entry ends inside a timer")
        yield TimerFired(operator, due, data[at - size : at])
