"""A fleet of sensors that does not exist: rows for examples, tests and benchmarks.

    synthetic.sensors(devices=10, sites=2, rate="1s", rows=1_000_000, seed=7, disorder="5s")

fills any event by the types of its fields:

- the `EventTime` field: when the device took the reading;
- the `Site` field: ``store-01``, ``store-02`` ..., after the field's name;
- the other text fields: the device, ``freezer-03``, after the field's name; numbered per site;
- float fields: a value that wanders about `base`, each field by itself;
- int fields: the number of the reading, from 0, per device (a gap shows as missing numbers);
- bool fields: whether the reading is a spike;
- a field of another type takes null, if it may.

There is a partition per site. Offsets are row numbers, from 0. The rows depend on the parameters
and the seed only: not on the platform, nor on how many rows are read at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from ..flows.connector import Chunk, Reader, Signal, Source, SourceContext
from ..flows.durations import Duration, microseconds
from ..flows.errors import ConnectorError
from .fleet import Fleet, Walk, numbers
from .pending import Pending

__all__ = ["sensors"]


_START = datetime(2024, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Sensors(Source[Any]):
    """A fleet that stops after so many rows, or so long a time."""

    fleet: Fleet

    def partitions(self) -> Sequence[str]:
        return self.fleet.sites_named()

    def open(self, partition: str, context: SourceContext) -> Reader:
        return _open(self.fleet, partition, context)


@dataclass(frozen=True, slots=True)
class _EndlessSensors(Source[Any]):
    """A fleet that goes on."""

    bounded: ClassVar[bool] = False

    fleet: Fleet

    def partitions(self) -> Sequence[str]:
        return self.fleet.sites_named()

    def open(self, partition: str, context: SourceContext) -> Reader:
        return _open(self.fleet, partition, context)


def _open(fleet: Fleet, partition: str, context: SourceContext) -> Reader:
    names = fleet.sites_named()
    if partition not in names:
        raise ConnectorError(f"{partition!r} is no site; the sites are {', '.join(names)}")
    walk = Walk(fleet, names.index(partition), context.event)
    return _FleetReader(walk, context.start)


class _FleetReader(Reader):
    def __init__(self, walk: Walk, start: int | None) -> None:
        self._walk = walk
        self._start = start
        self._pending = Pending()
        self._next = 0
        self._ended = False

    def read(self, limit: int) -> Chunk | Signal:
        while not len(self._pending):
            rows = None if self._ended else self._walk.block()
            if rows is None:
                self._ended = True
                return Signal.END
            offsets = numbers(self._next, len(rows))
            self._next += len(rows)
            self._pending.put(Chunk(rows, offsets), self._start)
        return self._pending.take(limit)

    def close(self) -> None:
        self._ended = True
        self._pending = Pending()

    def describe(self, offset: int) -> str:
        return f"row {offset}"

    def progress(self) -> float | None:
        return 1.0 if self._ended else self._walk.progress()


def sensors(
    *,
    devices: int = 10,
    sites: int = 1,
    rate: Duration = "1s",
    rows: int | None = None,
    duration: Duration | None = None,
    seed: int = 0,
    base: float = -18.0,
    noise: float = 0.5,
    drift: float = 0.0,
    spikes: float = 0.0,
    disorder: Duration = "0s",
    gaps: float = 0.0,
    warm: int = 0,
    start: datetime = _START,
) -> Source[Any]:
    """Return a source of readings; without `rows` and `duration` it never ends.

    - `devices`: how many each site has; `sites`: how many sites, each a partition;
    - `rate`: event time between two readings of a device;
    - `rows`: how many rows all sites give together (less if `duration` is reached before);
    - `duration`: how much event time passes, from `start`;
    - `seed`: which of the fleets; rows are the same for the same seed;
    - `base`, `noise`: values wander about `base` with this standard deviation, in the field's
      own unit, as does each device about its own mean;
    - `drift`: by how much every value rises per hour of event time;
    - `spikes`: the share of readings, 0 to 1, that lie 10 to 30 units off, above or below;
    - `disorder`: a row arrives at most so much event time behind the latest row before it;
    - `gaps`: the share of event time, 0 to 1, in which a device is silent, 10 min at a time;
    - `warm`: how many devices of a site run warm: from the 10th to the 40th minute of every six
      hours they rise to 15 units more, and fall back;
    - `start`: the event time of the first readings; aware.

    The rows are made as fast as they are read: no wall clock paces them. Raises `ValueError`.
    """
    step = microseconds(rate)
    length = None if duration is None else microseconds(duration)
    if start.tzinfo is None:
        raise ValueError("start has no time zone; write datetime(2024, 1, 1, tzinfo=UTC)")
    fleet = Fleet(
        devices=devices,
        sites=sites,
        step=step,
        rows=rows,
        ticks=None if length is None else -(-length // max(step, 1)),
        seed=seed,
        base=base,
        noise=noise,
        drift=drift,
        spikes=spikes,
        disorder=microseconds(disorder),
        gaps=gaps,
        warm=warm,
        start=(start - _EPOCH) // timedelta(microseconds=1),
    )
    return _EndlessSensors(fleet) if rows is None and length is None else _Sensors(fleet)
