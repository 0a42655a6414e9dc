"""Sketches: small mergeable summaries of many values.

`QuantileSketch` is DDSketch (Masson, Rim, Lee, VLDB 2019) with the linearly interpolated mapping;
`DistinctSketch` is HyperLogLog (Flajolet et al. 2007) with Ertl's estimator (arXiv 1702.01284).
Both depend only on the multiset of values: any order of adding and merging gives the same bytes,
on any machine, so that a flow may be cut between edge and centre wherever it suits.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from hashlib import blake2b

__all__ = ["DistinctSketch", "QuantileSketch", "canonical_bytes"]

_PER_OCTAVE = 50
_KEPT = 4096
_HEAD = struct.Struct("<BQQQQddII")
_BUCKET = struct.Struct("<iQ")
_QUANTILE_VERSION = 1

_PRECISION = 14
_REGISTERS = 1 << _PRECISION
_TAIL = 64 - _PRECISION
_EXACT_UP_TO = 1024
_EXACT, _DENSE = 1, 2


class QuantileSketch:
    """Counts values in buckets of 2 % relative width; NaN is ignored.

    `quantile(q)` is within 1 % (relative) of the exact value of rank floor(q * (n - 1)), as long as
    that value's magnitude is at least 1e-24 of the largest one of its sign; below that, the lowest
    buckets are joined, which bounds the memory to 4096 buckets a sign. Infinities count exactly.
    """

    __slots__ = ("_above", "_below", "_high", "_low", "_minus_inf", "_plus_inf", "_zero")

    def __init__(self) -> None:
        self._above: dict[int, int] = {}
        self._below: dict[int, int] = {}
        self._zero = 0
        self._plus_inf = 0
        self._minus_inf = 0
        self._low = math.inf
        self._high = -math.inf

    def __len__(self) -> int:
        """How many values were added."""
        finite = sum(self._above.values()) + sum(self._below.values()) + self._zero
        return finite + self._plus_inf + self._minus_inf

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QuantileSketch):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # it is mutable

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        return QuantileSketch.from_bytes, (self.to_bytes(),)

    def add(self, value: float) -> None:
        """Count one value."""
        if value != value:
            return
        if value == math.inf:
            self._plus_inf += 1
        elif value == -math.inf:
            self._minus_inf += 1
        else:
            self._low = min(self._low, value)
            self._high = max(self._high, value)
            if value == 0:
                self._zero += 1
            else:
                _count(self._above if value > 0 else self._below, _bucket_of(abs(value)), 1)

    def merge(self, other: QuantileSketch) -> None:
        """Count everything that the other sketch has counted."""
        for mine, theirs in ((self._above, other._above), (self._below, other._below)):
            for bucket, count in theirs.items():
                _count(mine, bucket, count)
        self._zero += other._zero
        self._plus_inf += other._plus_inf
        self._minus_inf += other._minus_inf
        self._low = min(self._low, other._low)
        self._high = max(self._high, other._high)

    def quantile(self, q: float) -> float | None:
        """The value at rank floor(q * (n - 1)), within 1 %; None if nothing was added."""
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile lies between 0 and 1, not {q}")
        total = len(self)
        if not total:
            return None
        rank = math.floor(q * (total - 1))
        for value, count in self._ascending():
            if rank < count:
                return value
            rank -= count
        raise AssertionError("the counts do not add up")

    def _ascending(self) -> Iterator[tuple[float, int]]:
        yield -math.inf, self._minus_inf
        for bucket in sorted(self._below, reverse=True):
            yield self._within(-_middle_of(bucket)), self._below[bucket]
        yield 0.0, self._zero
        for bucket in sorted(self._above):
            yield self._within(_middle_of(bucket)), self._above[bucket]
        yield math.inf, self._plus_inf

    def _within(self, value: float) -> float:
        return min(max(value, self._low), self._high)

    def to_bytes(self) -> bytes:
        """The state as bytes; equal states give equal bytes."""
        head = _HEAD.pack(
            _QUANTILE_VERSION, self._zero, self._plus_inf, self._minus_inf, 0,
            self._low + 0.0, self._high + 0.0, len(self._above), len(self._below),
        )  # fmt: skip
        buckets = [*sorted(self._above.items()), *sorted(self._below.items())]
        return head + b"".join(_BUCKET.pack(*bucket) for bucket in buckets)

    @classmethod
    def from_bytes(cls, data: bytes) -> QuantileSketch:
        """The sketch that `to_bytes` wrote; raises ValueError for anything else."""
        if len(data) < _HEAD.size or data[0] != _QUANTILE_VERSION:
            raise ValueError("these bytes are not a quantile sketch")
        sketch = cls()
        _, sketch._zero, sketch._plus_inf, sketch._minus_inf, _, low, high, above, below = (
            _HEAD.unpack_from(data)
        )
        if len(data) != _HEAD.size + (above + below) * _BUCKET.size or max(above, below) > _KEPT:
            raise ValueError("these bytes are not a whole quantile sketch")
        sketch._low, sketch._high = low, high
        buckets = list(_BUCKET.iter_unpack(data[_HEAD.size :]))
        sketch._above = dict(buckets[:above])
        sketch._below = dict(buckets[above:])
        return sketch


def _bucket_of(magnitude: float) -> int:
    """Buckets are equal parts of an octave: exact arithmetic, where a logarithm is the libm's."""
    mantissa, exponent = math.frexp(magnitude)
    return (exponent - 1) * _PER_OCTAVE + math.floor((mantissa * 2 - 1) * _PER_OCTAVE)


def _middle_of(bucket: int) -> float:
    """The value with the same relative distance to both ends of the bucket."""
    exponent, part = divmod(bucket, _PER_OCTAVE)
    low, high = 1 + part / _PER_OCTAVE, 1 + (part + 1) / _PER_OCTAVE
    return math.ldexp(2 * low * high / (low + high), exponent)


def _count(buckets: dict[int, int], bucket: int, count: int) -> None:
    """Count in a bucket, joining all that lie more than 4096 below the highest ever seen.

    The floor follows the highest bucket only, so it does not depend on the order of adding.
    """
    if buckets.get(bucket):
        buckets[bucket] += count
        return
    highest = max(buckets, default=bucket)
    floor = max(highest, bucket) - _KEPT + 1
    if bucket > highest:
        for low in [low for low in buckets if low < floor]:
            buckets[floor] = buckets.get(floor, 0) + buckets.pop(low)
    bucket = max(bucket, floor)
    buckets[bucket] = buckets.get(bucket, 0) + count


class DistinctSketch:
    """Counts distinct values: exactly up to 1024, from there on by HyperLogLog with 2^14 registers.

    The standard error is 1.04 / sqrt(2^14) = 0.81 %; the state is at most 16 KiB. Values are hashed
    by `canonical_bytes`; None counts as a value, as in polars.
    """

    __slots__ = ("_hashes", "_registers")

    def __init__(self) -> None:
        self._hashes: set[int] = set()
        self._registers: bytearray | None = None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DistinctSketch):
            return NotImplemented
        return self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # it is mutable

    def __reduce__(self) -> tuple[object, tuple[bytes]]:
        return DistinctSketch.from_bytes, (self.to_bytes(),)

    def add(self, value: object) -> None:
        """Take note of one value; raises TypeError for a type that has no canonical bytes."""
        digest = blake2b(canonical_bytes(value), digest_size=8).digest()
        self._note(int.from_bytes(digest, "little"))

    def merge(self, other: DistinctSketch) -> None:
        """Take note of all values that the other sketch has seen."""
        if other._registers is not None:
            mine = self._dense()
            self._registers = bytearray(map(max, mine, other._registers))
        else:
            for hashed in other._hashes:
                self._note(hashed)

    def estimate(self) -> int:
        """How many distinct values were added."""
        if self._registers is None:
            return len(self._hashes)
        return round(_ertl(self._registers))

    def to_bytes(self) -> bytes:
        """The state as bytes; equal states give equal bytes."""
        if self._registers is not None:
            return bytes([_DENSE]) + bytes(self._registers)
        return bytes([_EXACT]) + b"".join(h.to_bytes(8, "little") for h in sorted(self._hashes))

    @classmethod
    def from_bytes(cls, data: bytes) -> DistinctSketch:
        """The sketch that `to_bytes` wrote; raises ValueError for anything else."""
        sketch = cls()
        if data[:1] == bytes([_DENSE]) and len(data) == 1 + _REGISTERS:
            if max(data[1:]) > _TAIL + 1:
                raise ValueError("these bytes are not a distinct sketch")
            sketch._registers = bytearray(data[1:])
        elif data[:1] == bytes([_EXACT]) and len(data) % 8 == 1 and len(data) <= 8200:
            sketch._hashes = {h for (h,) in struct.iter_unpack("<Q", data[1:])}
        else:
            raise ValueError("these bytes are not a distinct sketch")
        return sketch

    def _note(self, hashed: int) -> None:
        if self._registers is not None:
            _raise_register(self._registers, hashed)
            return
        self._hashes.add(hashed)
        if len(self._hashes) > _EXACT_UP_TO:
            self._dense()

    def _dense(self) -> bytearray:
        if self._registers is None:
            self._registers = bytearray(_REGISTERS)
            for hashed in self._hashes:
                _raise_register(self._registers, hashed)
            self._hashes = set()
        return self._registers


def _raise_register(registers: bytearray, hashed: int) -> None:
    index = hashed >> _TAIL
    rank = _TAIL - (hashed & ((1 << _TAIL) - 1)).bit_length() + 1
    if rank > registers[index]:
        registers[index] = rank


def _ertl(registers: Iterable[int]) -> float:
    """Ertl's improved raw estimator, which needs no correction tables (algorithm 6)."""
    counts = [0] * (_TAIL + 2)
    for rank in registers:
        counts[rank] += 1
    z = _REGISTERS * _tau(1 - counts[_TAIL + 1] / _REGISTERS)
    for rank in range(_TAIL, 0, -1):
        z = 0.5 * (z + counts[rank])
    z += _REGISTERS * _sigma(counts[0] / _REGISTERS)
    return _REGISTERS * _REGISTERS / (2 * math.log(2) * z)


def _sigma(x: float) -> float:
    if x == 1:
        return math.inf
    y, z, before = 1.0, x, -1.0
    while z != before:
        x *= x
        before = z
        z += x * y
        y += y
    return z


def _tau(x: float) -> float:
    if x in (0, 1):
        return 0.0
    y, z, before = 1.0, 1 - x, -1.0
    while z != before:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3


def canonical_bytes(value: object) -> bytes:
    """One spelling for each value of a column, so that equal values hash alike on every machine.

    Zeros and NaNs are one each; decimals lose trailing zeros. Raises TypeError for unknown types.
    """
    if isinstance(value, str):
        return b"s" + value.encode("utf-8", "surrogatepass")
    if isinstance(value, float):
        return b"f" + struct.pack("<d", math.nan if value != value else value + 0.0)
    if value is None or isinstance(value, bool | int):
        return f"i{value}".encode()
    if isinstance(value, bytes):
        return b"b" + value
    if isinstance(value, list | tuple):
        return b"l" + b"".join(_framed(item) for item in value)
    if isinstance(value, dict):
        return b"d" + b"".join(_framed(key) + _framed(item) for key, item in value.items())
    if isinstance(value, date | time):
        return b"t" + value.isoformat().encode()
    if isinstance(value, timedelta):
        return b"u" + repr(value).encode()
    if isinstance(value, Decimal):
        digits = f"{value:f}"
        return b"n" + (digits.rstrip("0").rstrip(".") if "." in digits else digits).encode()
    raise TypeError(f"a value of type {type(value).__name__} cannot be counted as distinct")


def _framed(value: object) -> bytes:
    data = canonical_bytes(value)
    return len(data).to_bytes(4, "little") + data
