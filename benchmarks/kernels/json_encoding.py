"""Columns to JSON lines, against polars, and the PyPI packages msgspec and orjson.

``python -m benchmarks.kernels.json_encoding``; peers that are not installed are left out. polars
starts from the same columns, on one thread; msgspec and orjson from dicts that are ready. What
counts is the processor's time, of all threads of the process.
"""

from __future__ import annotations

import io
import json
import math
import os
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from typing import Any, BinaryIO, Final

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import polars as pl

from headwater.ext._jsonencoding import encode_lines, write_lines

_ROWS: Final = 65_536
_ROUNDS: Final = 9

Figure = tuple[str, float, str, float]
Call = Callable[[], Any]


def measure() -> list[Figure]:
    """What was encoded, our M rows/s, the fastest library and its M rows/s."""
    sensors = _sensors()
    return [
        _figure("sensor events, into a file", sensors, _written),
        _figure("sensor events, into memory", sensors, _collected),
        _figure("sensor events, 100 a batch", sensors.head(100), _collected),
        _figure("floats of 16 and 17 digits", _floats(), _written),
        _figure("struct, list, nulls, text to escape", _nested(), _written),
    ]


def _sensors() -> pl.DataFrame:
    chance = random.Random(7)
    start = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1000
    temps = [round(chance.uniform(15, 35), 2) for _ in range(_ROWS)]
    states = chance.choices(("ok", "warn", "fail"), (97, 2.5, 0.5), k=_ROWS)
    times = [start + number // 10 - chance.randrange(2000) for number in range(_ROWS)]
    devices = [chance.randrange(1000) for _ in range(_ROWS)]
    return pl.DataFrame(
        {
            "ts": pl.Series(times).cast(pl.Datetime("ms", "UTC")).cast(pl.Datetime("us", "UTC")),
            "device": [f"device-{number:04d}" for number in devices],
            "site": [f"site-{number % 20:02d}" for number in devices],
            "temp": temps,
            "status": states,
            "f": [temp * 9 / 5 + 32 for temp in temps],
        }
    )


def _floats() -> pl.DataFrame:
    chance = random.Random(8)
    return pl.DataFrame({"x": [chance.gauss(20, 5) for _ in range(_ROWS)]})


def _nested() -> pl.DataFrame:
    chance = random.Random(9)
    notes = (
        None,
        'said "no answer" twice',
        "a text that is longer than the view that points to it",
    )
    return pl.DataFrame(
        {
            "n": [chance.choice((None, chance.randrange(10**6))) for _ in range(_ROWS)],
            "note": [chance.choice(notes) for _ in range(_ROWS)],
            "place": [{"x": chance.randrange(180), "y": chance.random()} for _ in range(_ROWS)],
            "values": [[*range(chance.randrange(4))] for _ in range(_ROWS)],
        }
    )


def _written(encode: Callable[[BinaryIO], Any], out: BinaryIO) -> None:
    encode(out)


def _collected(encode: Callable[[BinaryIO], Any], _: BinaryIO) -> None:
    encode(io.BytesIO())


def _figure(what: str, frame: pl.DataFrame, go: Callable[..., None]) -> Figure:
    """The best of some rounds, in which all take turns."""
    with open(os.devnull, "wb", buffering=0) as out:  # noqa: PTH123 - as a connector opens it
        calls: dict[str, Call] = {
            "": partial(go, lambda to: write_lines(frame, to.write), out),
            "polars": partial(go, frame.write_ndjson, out),
        }
        for name, dumps in _dumps().items():
            rows = frame.rows(named=True)
            calls[name] = partial(go, partial(_each, dumps, rows), out)
        _check(frame)
        seconds = _seconds(calls)
    rates = {name: len(frame) / seconds / 1e6 for name, seconds in seconds.items()}
    mine = rates.pop("")
    fastest = max(rates, key=rates.__getitem__)
    return what, mine, fastest, rates[fastest]


def _dumps() -> Mapping[str, Callable[[Any], bytes]]:
    found: dict[str, Callable[[Any], bytes]] = {}
    for name, place, function in (("orjson", "orjson", "dumps"), ("msgspec", "msgspec.json", "")):
        try:
            module = import_module(place)
        except ImportError:
            continue
        found[name] = getattr(module, function) if function else module.Encoder().encode
    return found


def _each(dumps: Callable[[Any], bytes], rows: list[Any], to: BinaryIO) -> None:
    to.write(b"\n".join([dumps(row) for row in rows]))


def _check(frame: pl.DataFrame) -> None:
    """The bytes are those of polars, and the values those of the peers."""
    buffer, lines = io.BytesIO(), encode_lines(frame)
    frame.write_ndjson(buffer)
    assert buffer.getvalue() == lines
    for name, dumps in _dumps().items():
        for line, row in zip(lines.splitlines(), frame.rows(named=True), strict=True):
            theirs = dumps(row).replace(b'Z"', b'+00:00"')
            assert json.loads(line) == _rounded(json.loads(theirs)), name


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Their microseconds by as few groups of three places as are exact, as polars has them."""
    if "ts" in row:
        moment = datetime.fromisoformat(row["ts"])
        exact = "seconds" if not moment.microsecond else "milliseconds"
        row["ts"] = moment.isoformat(timespec=exact)
    return row


def _seconds(calls: Mapping[str, Call]) -> dict[str, float]:
    best = dict.fromkeys(calls, math.inf)
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            begun = time.process_time()
            call()
            repeat = min(50, 1 + int(0.01 / max(1e-9, time.process_time() - begun)))
            begun = time.process_time()
            for _ in range(repeat):
                call()
            best[name] = min(best[name], (time.process_time() - begun) / repeat)
    return best


def _main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for what, ours, peer, theirs in measure():
        print(f"{what:44} {ours:8.1f}   {peer:10} {theirs:8.1f}   ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    _main()
