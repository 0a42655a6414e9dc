"""CRC32C and frames, against the PyPI packages google-crc32c and crc32c, and pyarrow's IPC stream.

``python -m benchmarks.kernels.framing``, in an environment that has the packages.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Final

import pyarrow as pa

from headwater.ext._framing import crc32c, encode, scan, ways
from headwater.ext.framing import batch_body, batch_of

_PEERS: Final = {"google-crc32c": "google_crc32c.value", "crc32c": "crc32c.crc32c"}
_ABSENT: Final = f"not installed: {', '.join(_PEERS)}"
_ROUNDS: Final = 9
_ROWS: Final = 16_384
_HEADER: Final = b"epoch, sequence, positions"

Figure = tuple[str, float, str, float]


def measure() -> list[Figure]:
    """What was done, our figure, the best library and its figure: NaN if none is installed."""
    peers = _peers()
    batch = _sensors()
    return [
        *(_checksum(size, peers) for size in (64, 1024, 16_384, 1 << 19, 1 << 25)),
        _stored("Arrow batch written and read", batch, {"pyarrow.ipc": None}),
        _stored("likewise, theirs with a CRC32C too", batch, peers),
    ]


def _peers() -> dict[str, Callable[[Any], int]]:
    """The checksums of the peers that are installed."""
    found = {}
    for name, place in _PEERS.items():
        module, function = place.split(".")
        try:
            found[name] = getattr(import_module(module), function)
        except ImportError:
            continue
    return found


def _checksum(size: int, peers: dict[str, Callable[[Any], int]]) -> Figure:
    data = random.Random(size).randbytes(size)
    calls = {name: partial(peer, data) for name, peer in peers.items()}
    for name, call in calls.items():
        assert crc32c(data) == call(), name
    unit, scale = ("M/s", 1e-6) if size < 1024 else ("GB/s", size * 1e-9)
    repeat = max(4, min(50_000, (1 << 24) // size))
    return _figure(f"CRC32C of {size} bytes, {unit}", scale, partial(crc32c, data), calls, repeat)


def _stored(
    what: str, batch: pa.RecordBatch, peers: Mapping[str, Callable[[Any], int] | None]
) -> Figure:
    """A batch made into bytes and read from them: a frame, and a stream with or without a check."""
    frame = pa.py_buffer(b"".join(map(bytes, encode(_HEADER, batch_body(batch)))))
    stream = _streamed(batch)
    calls = {
        name: partial(_through_stream, batch, stream, checksum) for name, checksum in peers.items()
    }
    ours = partial(_through_frame, batch, frame)
    for call in (ours, *calls.values()):
        assert batch.equals(call())
    return _figure(f"{what}, GB/s", batch.nbytes * 1e-9, ours, calls, 200)


def _through_frame(batch: pa.RecordBatch, frame: pa.Buffer) -> pa.RecordBatch:
    encode(_HEADER, batch_body(batch))
    (found,) = scan(frame).frames
    return batch_of(frame[found.body], batch.schema)


def _through_stream(
    batch: pa.RecordBatch, stream: pa.Buffer, checksum: Callable[[Any], int] | None
) -> pa.RecordBatch:
    written = _streamed(batch)
    if checksum is not None:
        checksum(written)
        checksum(stream)
    with pa.ipc.open_stream(stream) as reader:
        return reader.read_next_batch()


def _streamed(batch: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _figure(
    what: str,
    scale: float,
    ours: Callable[[], Any],
    peers: Mapping[str, Callable[[], Any]],
    repeat: int,
) -> Figure:
    """`scale` by the seconds of the fastest of several rounds, in which all take turns."""
    seconds = dict.fromkeys(("", *peers), math.inf)
    for _ in range(_ROUNDS):
        for name, call in (("", ours), *peers.items()):
            begun = time.perf_counter()
            for _ in range(repeat):
                call()
            seconds[name] = min(seconds[name], (time.perf_counter() - begun) / repeat)
    own = scale / seconds.pop("")
    if not peers:
        return what, own, _ABSENT, math.nan
    best = min(seconds, key=seconds.__getitem__)
    return what, own, best, scale / seconds[best]


def _sensors() -> pa.RecordBatch:
    """A batch of sensor events."""
    chance = random.Random(1)
    rows = range(_ROWS)
    return pa.record_batch(
        {
            "ts": pa.array([1_700_000_000_000 + row for row in rows], pa.timestamp("ms")),
            "device": [f"device-{chance.randrange(1000):04}" for _ in rows],
            "site": [f"site-{chance.randrange(20):02}" for _ in rows],
            "temp": [chance.gauss(20, 5) for _ in rows],
            "hum": [chance.random() for _ in rows],
            "status": pa.array([chance.randrange(4) for _ in rows], pa.int32()),
        }
    )


def _main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(f"CRC32C by {ways()[-1]}")
    for what, ours, peer, theirs in measure():
        print(f"{what:50} {ours:8.2f}   {peer:15} {theirs:8.2f}   ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    _main()
