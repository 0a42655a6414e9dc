"""Events out of columns, made, and into columns, against polars, pyarrow and msgspec.

``python -m benchmarks.kernels.rows``, in an environment that has msgspec beside polars.
"""

from __future__ import annotations

import dataclasses
import math
import os
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import polars as pl
import pyarrow as pa

import headwater as hw
from headwater.flows.rows import call_with_events, events_of, frame_of, settled, writer_of

_ROUNDS: Final = 9
_ROWS: Final = 16_384

Figure = tuple[str, float, str, float]
Call = Callable[[], Any]


class Reading(hw.Event):
    ts: hw.EventTime
    device: str
    site: hw.Site
    temp: float
    hum: float
    status: str


class Offset(Reading):
    f: float


class Part(hw.Event):
    name: str
    worn: float | None


class Machine(hw.Event):
    ts: hw.EventTime
    seen: datetime | None
    parts: list[Part]
    main: Part | None
    codes: list[int]


_OFFSETS: Final = {f"device-{number:04d}": number / 1000 for number in range(1000)}
_SOUND: Final = re.compile(r"ok|warn\d*$").match


def _offset(row: Reading) -> Offset:
    f = row.temp + _OFFSETS[row.device] if _SOUND(row.status) else -1.0
    return Offset(
        ts=row.ts, device=row.device, site=row.site, temp=row.temp, hum=row.hum,
        status=row.status, f=f,
    )  # fmt: skip


def _offset_dict(row: dict[str, Any]) -> dict[str, Any]:
    f = row["temp"] + _OFFSETS[row["device"]] if _SOUND(row["status"]) else -1.0
    return {
        "ts": row["ts"], "device": row["device"], "site": row["site"], "temp": row["temp"],
        "hum": row["hum"], "status": row["status"], "f": f,
    }  # fmt: skip


def measure() -> list[Figure]:
    """What was done, our M rows/s, the best library and its."""
    readings, machines = _readings(), _machines()
    return [
        *_reading("six fields", readings, Reading),
        *_reading("nested fields and lists", machines, Machine),
        *_writing("six fields", readings, Reading),
        *_writing("nested fields and lists", machines, Machine),
        _making(readings),
        _replacing(readings),
        *_calling(readings),
    ]


def _msgspec(cls: type[hw.Event]) -> tuple[ModuleType, Any] | None:
    """The module, and a Struct with the fields of the event; None if it is not installed."""
    try:
        module = import_module("msgspec")
    except ImportError:
        return None
    return module, module.defstruct(cls.__name__, list(cls.__event_names__))


def _reading(what: str, frame: pl.DataFrame, cls: type[hw.Event]) -> list[Figure]:
    peers: dict[str, Call] = {
        "polars to_dicts": frame.to_dicts,
        "polars iter_rows": lambda: list(frame.iter_rows()),
        "pyarrow to_pylist": lambda: frame.to_arrow().to_pylist(),
    }
    found = _msgspec(cls)
    if found is not None and cls is Reading:
        peers["polars iter_rows and msgspec"] = lambda: [
            found[1](*row) for row in frame.iter_rows()
        ]
    return [_figure(f"out of columns, {what}", partial(events_of, frame, cls), peers)]


def _writing(what: str, frame: pl.DataFrame, cls: type[hw.Event]) -> list[Figure]:
    events, dicts = events_of(frame, cls), frame.to_dicts()
    rows, schema = frame.rows(), frame.to_arrow().schema
    peers: dict[str, Call] = {
        "polars from_dicts": partial(pl.from_dicts, dicts, schema=frame.schema),
        "polars of tuples": partial(pl.DataFrame, rows, schema=frame.schema, orient="row"),
        "pyarrow from_pylist": partial(pa.Table.from_pylist, dicts, schema=schema),
    }
    assert frame.equals(frame_of(events, cls))
    return [_figure(f"into columns, {what}", partial(frame_of, events, cls), peers)]


def _making(frame: pl.DataFrame) -> Figure:
    """A new instance from six values that are at hand."""
    dataclass = dataclasses.make_dataclass(
        "Reading", list(Reading.__event_names__), slots=True, kw_only=True
    )
    peers: dict[str, Any] = {"dataclass with slots": dataclass, "dict": dict}
    found = _msgspec(Reading)
    if found is not None:
        peers["msgspec"] = found[1]
    row = frame.row(0)
    calls = {name: _repeated(partial(_made, peer, row)) for name, peer in peers.items()}
    return _figure("made", _repeated(partial(_made, Reading, row)), calls)


def _made(make: Any, row: Sequence[Any]) -> Any:
    ts, device, site, temp, hum, status = row
    return make(ts=ts, device=device, site=site, temp=temp, hum=hum, status=status)


def _replacing(frame: pl.DataFrame) -> Figure:
    """A copy with one field changed."""
    event, one = events_of(frame.head(1), Reading)[0], frame.to_dicts()[0]
    peers = {"dict": _repeated(lambda: {**one, "temp": 1.5})}
    found = _msgspec(Reading)
    if found is not None:
        replace, struct = found[0].structs.replace, found[1](**one)
        peers["msgspec"] = _repeated(lambda: replace(struct, temp=1.5))
    return _figure("copied with a change", _repeated(lambda: event.replace(temp=1.5)), peers)


def _repeated(call: Call) -> Call:
    """Once a row; what is made is let go of."""

    def repeated() -> None:
        for _ in range(_ROWS):
            call()

    return repeated


def _calling(frame: pl.DataFrame) -> list[Figure]:
    """A function that looks a value up and matches an expression, once a row."""
    dicts, schema = frame.to_dicts(), {**frame.schema, "f": pl.Float64()}

    def ours() -> pl.DataFrame:
        writer = writer_of(Offset, frame.height)
        call_with_events(_offset, frame, Reading, writer, False, _unused, _unused)
        return settled(writer, Offset).rows

    def by_dicts() -> pl.DataFrame:
        return pl.from_dicts([_offset_dict(row) for row in frame.to_dicts()], schema=schema)

    assert ours().equals(by_dicts())
    ready = {"a loop over ready dicts": lambda: [_offset_dict(row) for row in dicts]}
    return [
        _figure("a function per row, from columns to columns", ours, {"polars to_dicts": by_dicts}),
        _figure("the same, where dicts are at hand", ours, ready),
    ]


def _unused(number: int, found: object) -> None:
    raise AssertionError(f"row {number}: {found}")


def _figure(what: str, ours: Call, peers: Mapping[str, Call]) -> Figure:
    """Rows by the CPU seconds of the fastest of several rounds, in which all take turns."""
    seconds = dict.fromkeys(("", *peers), math.inf)
    for _ in range(_ROUNDS):
        for name, call in (("", ours), *peers.items()):
            begun = time.process_time()
            call()
            seconds[name] = min(seconds[name], time.process_time() - begun)
    own = _ROWS * 1e-6 / seconds.pop("")
    best = min(seconds, key=seconds.__getitem__)
    return what, own, best, _ROWS * 1e-6 / seconds[best]


def _readings() -> pl.DataFrame:
    chance = random.Random(1)
    start = datetime(2024, 7, 1, tzinfo=UTC)
    devices = [chance.randrange(1000) for _ in range(_ROWS)]
    return frame_of(
        [
            Reading(
                ts=start + timedelta(milliseconds=number),
                device=f"device-{device:04d}",
                site=f"site-{device % 20:02d}",
                temp=round(chance.uniform(15, 35), 2),
                hum=round(chance.uniform(30, 80), 1),
                status=chance.choice(["ok"] * 30 + ["warn", "fail"]),
            )
            for number, device in enumerate(devices)
        ],
        Reading,
    )


def _machines() -> pl.DataFrame:
    chance = random.Random(2)
    start = datetime(2024, 7, 1, tzinfo=UTC)

    def part() -> Part:
        worn = None if chance.random() < 0.2 else chance.random()
        return Part(name=f"part-{chance.randrange(30)}", worn=worn)

    return frame_of(
        [
            Machine(
                ts=start + timedelta(seconds=number),
                seen=None if number % 3 else start,
                parts=[part() for _ in range(chance.randrange(4))],
                main=part() if number % 4 else None,
                codes=[chance.randrange(100) for _ in range(chance.randrange(5))],
            )
            for number in range(_ROWS)
        ],
        Machine,
    )


def _main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for what, ours, peer, theirs in measure():
        print(f"{what:44} {ours:8.2f}   {peer:28} {theirs:8.2f}   ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    _main()
