"""Hashes of keys, Kafka's partitioner and splitting, against polars and packages from PyPI.

``python -m benchmarks.kernels.keys``, in an environment that has polars-hash (hashes that stay the
same, of text), aiokafka and kafka-python (the partitioner) beside polars.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import Any, Final

import polars as pl

from headwater.ext._hashing import key_groups, row_hashes
from headwater.ext._partitioning import kafka_partitions, split

_ROUNDS: Final = 9
_ROWS: Final = 65_536
_KEYS: Final = 4_096
"""Of the partitioners in Python, which take a key a call."""
_GROUPS: Final = 128

Figure = tuple[str, float, str, float]
Call = Callable[[], Any]


def measure() -> list[Figure]:
    """What was done, our M rows/s, the best library and its: NaN if none is installed."""
    frame = _keys()
    return [
        *(_hashes(name, frame[name]) for name in ("int64", "int64 with nulls", "float64")),
        *(_hashes(name, frame[name]) for name in _TEXTS),
        *(_stable(name, frame[name]) for name in _TEXTS),
        _two_columns(frame.select(_TEXTS[0], "int64")),
        *(_groups(name, frame[name]) for name in ("int64", _TEXTS[0])),
        *(_kafka(name, frame[name][:_KEYS]) for name in _TEXTS),
        *(_split(frame, parts) for parts in (2, 12, _GROUPS)),
    ]


_TEXTS: Final = ("text of 5 to 11 bytes", "text of 19 to 56 bytes")


def _hashes(name: str, column: pl.Series) -> Figure:
    peers = {"polars hash": column.hash, "pyarrow": column.to_arrow().dictionary_encode}
    return _figure(f"hashes, {name}", partial(row_hashes, [column]), peers)


def _stable(name: str, column: pl.Series) -> Figure:
    """Against hashes that are the same in every version, as ours is and that of polars is not."""
    peers = {}
    try:
        kinds = import_module("polars_hash").col(column.name).nchash
    except ImportError:
        kinds = None
    for kind in ("wyhash", "xxh3_64", "xxhash64", "farmhash64") if kinds is not None else ():
        peers[f"polars-hash {kind}"] = partial(column.to_frame().select, getattr(kinds, kind)())
    return _figure(f"stable hashes, {name}", partial(row_hashes, [column]), peers, "polars-hash")


def _two_columns(frame: pl.DataFrame) -> Figure:
    ours = partial(row_hashes, frame.get_columns())
    return _figure("hashes, text and int64", ours, {"polars hash_rows": frame.hash_rows})


def _groups(name: str, column: pl.Series) -> Figure:
    chosen = pl.col(column.name).hash() // 2**32 * _GROUPS // 2**32
    peers = {"polars hash": partial(column.to_frame().select, chosen.cast(pl.Int32))}
    return _figure(f"{_GROUPS} key groups, {name}", partial(key_groups, [column], _GROUPS), peers)


def _kafka(name: str, column: pl.Series) -> Figure:
    keys = [key.encode() for key in column]
    peers = {}
    for package, place in {"aiokafka": "aiokafka", "kafka-python": "kafka"}.items():
        try:
            murmur2 = import_module(f"{place}.partitioner").murmur2
        except ImportError:
            continue
        peers[package] = partial(_one_by_one, murmur2, keys)
    ours = partial(kafka_partitions, column, 12)
    for package, call in peers.items():
        assert call() == ours().to_pylist(), package
    what = f"partitions of Kafka, {name}"
    return _figure(what, ours, peers, "aiokafka, kafka-python", len(keys))


def _one_by_one(murmur2: Callable[[bytes], int], keys: list[bytes]) -> list[int]:
    return [(murmur2(key) & 0x7FFFFFFF) % 12 for key in keys]


def _split(frame: pl.DataFrame, count: int) -> Figure:
    """A frame by parts that are known, into a frame for each part."""
    parts = pl.Series("part", key_groups([frame["int64"]], count))
    beside = frame.with_columns(parts)
    peers: dict[str, Call] = {
        "polars partition_by": partial(beside.partition_by, "part", include_key=False)
    }
    if count < _GROUPS:
        peers["polars filter"] = partial(_filtered, frame, parts, count)
    ours = partial(_parted, frame, parts, count)
    for part, theirs in zip(ours(), _filtered(frame, parts, count), strict=True):
        assert part.equals(theirs)
    return _figure(f"split into {count} parts, {frame.width} columns", ours, peers)


def _parted(frame: pl.DataFrame, parts: pl.Series, count: int) -> Sequence[pl.DataFrame]:
    numbers, offsets = split(parts, count)
    placed = frame[pl.Series(numbers)]
    return [placed[begin:end] for begin, end in pairwise(offsets)]


def _filtered(frame: pl.DataFrame, parts: pl.Series, count: int) -> Sequence[pl.DataFrame]:
    return [frame.filter(parts == part) for part in range(count)]


def _figure(
    what: str, ours: Call, peers: Mapping[str, Call], absent: str = "", rows: int = _ROWS
) -> Figure:
    """Rows by the seconds of the fastest call of several rounds, in which all take turns."""
    seconds = dict.fromkeys(("", *peers), math.inf)
    for _ in range(_ROUNDS):
        for name, call in (("", ours), *peers.items()):
            end = time.perf_counter() + 0.01
            while (begun := time.perf_counter()) < end:
                call()
                seconds[name] = min(seconds[name], time.perf_counter() - begun)
    own = rows * 1e-6 / seconds.pop("")
    if not peers:
        return what, own, f"not installed: {absent}", math.nan
    best = min(seconds, key=seconds.__getitem__)
    return what, own, best, rows * 1e-6 / seconds[best]


def _keys() -> pl.DataFrame:
    chance = random.Random(1)
    numbers = [chance.randrange(1000) for _ in range(_ROWS)]
    longer = [f"site-4711/device-{number}/" + "x" * chance.randrange(36) for number in numbers]
    return pl.DataFrame(
        {
            "int64": numbers,
            "int64 with nulls": [None if chance.random() < 0.1 else n for n in numbers],
            "float64": [chance.random() for _ in numbers],
            _TEXTS[0]: [f"dev-{number * 10 ** chance.randrange(5)}" for number in numbers],
            _TEXTS[1]: longer,
        }
    )


def _main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for what, ours, peer, theirs in measure():
        print(f"{what:44} {ours:8.1f}   {peer:22} {theirs:8.1f}   ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    _main()
