"""How the readings of a synthetic fleet come about, a block at a time, in columns."""

from __future__ import annotations

import random
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from ..flows.errors import ConnectorError
from ..flows.event import Event
from ..flows.schema import Schema, schema_of

__all__ = ["Fleet", "Walk", "numbers"]

_BLOCK = 65_536
_SLOT = 600_000_000
_HOUR = 3_600_000_000
_PERIOD = 6 * _HOUR
_PULL = 0.05
_DEVICE, _TICK, _AT, _DUE, _SPIKE = "_device", "_tick", "_at", "_due", "_spike"


@dataclass(frozen=True, slots=True)
class Fleet:
    """The parameters of `synthetic.sensors`, with times in microseconds; raises `ValueError`."""

    devices: int
    sites: int
    step: int
    rows: int | None
    ticks: int | None
    seed: int
    base: float
    noise: float
    drift: float
    spikes: float
    disorder: int
    gaps: float
    warm: int
    start: int

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ValueError("rate is the event time between two readings; give at least 1us")
        if self.devices < 1 or self.sites < 1 or self.warm < 0 or self.noise < 0:
            raise ValueError("devices and sites are at least 1, warm and noise not negative")
        if self.rows is not None and self.rows < 0:
            raise ValueError("rows is not negative")
        if not 0 <= self.spikes <= 1 or not 0 <= self.gaps < 1:
            raise ValueError("spikes and gaps are shares, from 0 to 1 (gaps below 1)")

    def sites_named(self) -> list[str]:
        """Return the partitions' names."""
        return [f"site-{_numbered(site, self.sites)}" for site in range(self.sites)]


def numbers(first: int, count: int) -> pl.Series:
    """Return `count` numbers from `first` on, as Int64."""
    return pl.int_range(first, first + count, dtype=pl.Int64, eager=True)


def _numbered(index: int, count: int) -> str:
    return str(index + 1).zfill(max(2, len(str(count))))


class Walk:
    """The readings of one site, in arrival order.

    Raises `ConnectorError` for a field that it cannot fill.
    """

    def __init__(self, fleet: Fleet, site: int, event: type[Event]) -> None:
        self._fleet = fleet
        self._schema = schema_of(event)
        self._fills = _fills(self._schema, fleet, site, event.__name__)
        self._floats = [n for n, t in self._schema.columns if t in (pl.Float64, pl.Float32)]
        # A stream of draws for each purpose: to add disorder changes no value.
        draws = ("gaps", "disorder", "spikes", *(f"field {name}" for name in self._floats))
        self._draws = {one: random.Random(f"{fleet.seed}/{site}/{one}") for one in draws}
        self._salt = self._draws["gaps"].getrandbits(32)
        self._ticks = max(1, _BLOCK // fleet.devices)
        self._tick = 0
        self._late: pl.DataFrame | None = None
        share, rest = divmod(fleet.rows or 0, fleet.sites)
        self._total = None if fleet.rows is None else share + (site < rest)
        self._left = self._total
        self._ended = False
        self._means = {name: self._wander(name, fleet.devices) for name in self._floats}
        self._last = {name: self._wander(name, fleet.devices) for name in self._floats}

    def progress(self) -> float | None:
        """Return how much of the rows or the time is done, if there is an end."""
        done = []
        if self._total and self._left is not None:
            done.append(1.0 - self._left / self._total)
        if self._fleet.ticks:
            done.append(min(1.0, self._tick / self._fleet.ticks))
        return max(done, default=None)

    def block(self) -> pl.DataFrame | None:
        """Return the next rows, or None after the last; a block may be empty."""
        if self._ended:
            return None
        ticks = self._ticks
        if self._fleet.ticks is not None:
            ticks = min(ticks, self._fleet.ticks - self._tick)
        made = self._readings(ticks) if ticks > 0 and self._left != 0 else None
        if made is not None:
            self._tick += ticks
        rows = self._arrived(made)
        if rows is None or self._left == 0:
            self._ended = True
        if rows is None:
            return None
        if self._left is not None:
            rows = rows.head(self._left)
            self._left -= len(rows)
        return rows.select(
            [fill.cast(self._schema.dtype(name)).alias(name) for name, fill in self._fills]
        )

    def _readings(self, ticks: int) -> pl.DataFrame:
        fleet, count = self._fleet, ticks * self._fleet.devices
        frame = pl.DataFrame({"i": numbers(0, count)}).select(
            (pl.col("i") // ticks).alias(_DEVICE), (pl.col("i") % ticks + self._tick).alias(_TICK)
        )
        at = fleet.start + pl.col(_TICK) * fleet.step
        frame = frame.with_columns(at.alias(_AT), at.alias(_DUE))
        if fleet.disorder:
            delay = (self._uniform("disorder", count) * (fleet.disorder + 1)).cast(pl.Int64)
            frame = frame.with_columns((frame[_DUE] + delay).alias(_DUE))
        spike = self._uniform("spikes", count) < fleet.spikes if fleet.spikes else None
        kick = self._kick(count) if fleet.spikes else None
        frame = frame.with_columns(
            pl.lit(False).alias(_SPIKE) if spike is None else spike.alias(_SPIKE)
        )
        frame = frame.with_columns([self._value(name, frame, ticks) for name in self._floats])
        if kick is not None:
            frame = frame.with_columns(
                pl.when(_SPIKE).then(pl.col(n) + kick).otherwise(n).alias(n) for n in self._floats
            )
        return frame.filter(~self._silent(frame)) if fleet.gaps else frame

    def _value(self, name: str, frame: pl.DataFrame, ticks: int) -> pl.Series:
        fleet = self._fleet
        before = pl.DataFrame(
            {_DEVICE: numbers(0, fleet.devices), "n": self._last[name], "first": True}
        )
        steps = pl.DataFrame({_DEVICE: frame[_DEVICE], "n": self._wander(name, len(frame)) * 6.25})
        walk = (
            pl.concat([before, steps.with_columns(pl.lit(False).alias("first"))])
            .with_columns(pl.col("n").ewm_mean(alpha=_PULL, adjust=False).over(_DEVICE))
            .filter(~pl.col("first"))["n"]
        )
        self._last[name] = walk.gather(numbers(1, fleet.devices) * ticks - 1)
        hours = (frame[_AT] - fleet.start) / _HOUR
        mean = self._means[name].gather(frame[_DEVICE])
        return (fleet.base + mean + walk + fleet.drift * hours + self._warmth(frame)).alias(name)

    def _warmth(self, frame: pl.DataFrame) -> pl.Series:
        if not self._fleet.warm:
            return pl.repeat(0.0, len(frame), eager=True)
        minute = ((pl.col(_AT) - self._fleet.start) % _PERIOD) / 60_000_000
        shape = pl.min_horizontal((minute - 10) * 1.5, (40 - minute) * 1.5, pl.lit(15.0))
        warm = pl.when(pl.col(_DEVICE) < self._fleet.warm).then(shape.clip(0)).otherwise(0.0)
        return frame.select(warm.alias("warmth"))["warmth"]

    def _silent(self, frame: pl.DataFrame) -> pl.Series:
        """Say by device and slot, not by draw, so that a slot may span blocks."""
        slot = (frame[_AT] - self._fleet.start) // _SLOT
        pairs = pl.DataFrame({"slot": slot, "device": frame[_DEVICE]})
        slots = _mixed(pl.col("slot") + self._salt)
        mixed = pairs.select(_mixed(slots + pl.col("device").cast(pl.UInt64)))
        return mixed.to_series() < int(self._fleet.gaps * 2**32)

    def _arrived(self, made: pl.DataFrame | None) -> pl.DataFrame | None:
        """Return what arrives before the next block's first reading is taken, in order."""
        late = self._late
        every = [one for one in (late, made) if one is not None]
        if not every:
            return None
        rows = pl.concat(every).sort(_DUE, _TICK, _DEVICE)
        if made is None:
            self._late = None
            return rows
        until = self._fleet.start + self._tick * self._fleet.step
        first = int(rows[_DUE].search_sorted(until))
        self._late = rows.slice(first) if first < len(rows) else None
        return rows.slice(0, first)

    def _uniform(self, purpose: str, count: int) -> pl.Series:
        """Return numbers from 0 to 1 (not included), of 32 bits."""
        return _drawn(self._draws[purpose], count, pa.uint32()).cast(pl.Float64) * 2.0**-32

    def _wander(self, name: str, count: int) -> pl.Series:
        """Return numbers with mean 0 and the standard deviation `noise`, nearly normal."""
        rng = self._draws[f"field {name}"]
        parts = [_drawn(rng, count, pa.int16()).cast(pl.Int32) for _ in range(4)]
        total = (parts[0] + parts[1] + parts[2] + parts[3] + 2).cast(pl.Float64)
        scaled: pl.Series = total * (self._fleet.noise * 3.0**0.5 / 2**16)
        return scaled

    def _kick(self, count: int) -> pl.Series:
        push = self._uniform("spikes", count) * 40.0 - 20.0
        kicked: pl.Series = push + push.sign() * 10.0
        return kicked


def _drawn(rng: random.Random, count: int, dtype: pa.DataType) -> pl.Series:
    data = rng.randbytes(count * dtype.bit_width // 8)
    array = pa.Array.from_buffers(dtype, count, [None, pa.py_buffer(data)])
    return pl.Series(pl.from_arrow(array))


def _mixed(number: pl.Expr) -> pl.Expr:
    """Return 32 bits that show no pattern (the finaliser of MurmurHash3, by 64-bit steps)."""
    mask = 2**32 - 1
    bits = number.cast(pl.UInt64) & mask
    bits = ((bits ^ (bits // 2**16)) * 0x85EBCA6B) & mask
    bits = ((bits ^ (bits // 2**13)) * 0xC2B2AE35) & mask
    return bits ^ (bits // 2**16)


def _fills(schema: Schema, fleet: Fleet, site: int, event: str) -> list[tuple[str, pl.Expr]]:
    fills: list[tuple[str, pl.Expr]] = []
    for name, dtype in schema.columns:
        if name == schema.event_time or isinstance(dtype, pl.Datetime):
            fill = pl.from_epoch(_AT, "us").dt.replace_time_zone("UTC")
        elif name == schema.site:
            fill = pl.lit(f"{name}-{_numbered(site, fleet.sites)}")
        elif dtype == pl.String:
            width = max(2, len(str(fleet.devices)))
            number = (pl.col(_DEVICE) + 1).cast(pl.String).str.zfill(width)
            fill = pl.concat_str(pl.lit(f"{name}-"), number)
        elif dtype.is_float():
            fill = pl.col(name)
        elif dtype.is_integer():
            fill = pl.col(_TICK)
        elif dtype == pl.Boolean:
            fill = pl.col(_SPIKE)
        elif name in schema.nullable:
            fill = pl.lit(None)
        else:
            raise ConnectorError(f"{event}.{name}: no sensor gives a {dtype}; make it optional")
        fills.append((name, fill))
    return fills
