"""JSON Lines into columns, against polars, pyarrow, and the PyPI packages msgspec and orjson.

``python -m benchmarks.kernels.json_decoding``; peers that are not installed are left out. polars
and pyarrow read as many columns as we do, on one thread; msgspec gives objects, orjson dicts.
"""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.json

from headwater.ext._jsondecoding import JsonDecoder
from headwater.ext.jsonfields import JsonField

_ROWS: Final = 40_000
_ROUNDS: Final = 9
_TEXT: Final = pa.string_view()
_TIME: Final = pa.timestamp("us", "UTC")

Figure = tuple[str, float, str, float]
Peers = Mapping[str, Callable[[], Any]]

_SENSOR: Final = (
    JsonField("ts", _TIME, unit="ms"),
    JsonField("device", _TEXT),
    JsonField("site", _TEXT),
    JsonField("temp", pa.float64()),
    JsonField("hum", pa.float64()),
    JsonField("status", _TEXT),
)
_PART: Final = (JsonField("x", pa.float64()), JsonField("y", pa.float64()))
_WIDE: Final = (
    JsonField("at", _TIME),
    JsonField("device", _TEXT),
    JsonField("error", _TEXT, nullable=True, default=None),
    JsonField("count", pa.int64(), nullable=True, default=None),
    JsonField("place", pa.struct([("x", pa.float64()), ("y", pa.float64())]), fields=_PART),
    JsonField("values", pa.large_list(pa.float64()), item=JsonField("", pa.float64())),
)


def measure() -> list[Figure]:
    """What was decoded, our M rows/s, the fastest library and its M rows/s."""
    sensors, wide = _sensors(), _readings()
    block, text = b"".join(sensors), b"".join(wide)
    ours, deep = JsonDecoder(_SENSOR), JsonDecoder(_WIDE)
    every = [line[:-1] for line in sensors]
    return [
        _figure("a block of sensor events", lambda: ours.decode(block), _SENSOR, {
            **_columnar(block, _SENSOR), **_lines(block, every)}),
        _figure("sensor events as single messages", lambda: ours.decode_all(every), _SENSOR, {
            "polars": lambda: pl.read_ndjson(b"\n".join(every), schema=_schema(_SENSOR)),
            **_messages(every)}),
        _figure("a block with time as text, a struct, a list, nulls, 17 digits",
                lambda: deep.decode(text), _WIDE, _columnar(text, _WIDE)),
    ]  # fmt: skip


def _sensors() -> list[bytes]:
    chance = random.Random(7)
    return [
        json.dumps(
            {
                "ts": 1_704_067_200_000 + number // 10,
                "device": f"device-{chance.randrange(1000):04d}",
                "site": f"site-{chance.randrange(20):02d}",
                "temp": round(chance.uniform(15, 35), 2),
                "hum": round(chance.uniform(30, 80), 1),
                "status": chance.choices(("ok", "warn", "fail"), (97, 2.5, 0.5))[0],
            },
            separators=(",", ":"),
        ).encode()
        + b"\n"
        for number in range(_ROWS)
    ]


def _readings() -> list[bytes]:
    chance, start = random.Random(8), datetime(2024, 1, 1, tzinfo=UTC)
    return [
        json.dumps(
            {
                "at": (start + timedelta(milliseconds=number)).isoformat(),
                "device": f"device-of-a-long-name-{chance.randrange(1000):04d}",
                "error": None if chance.random() < 0.9 else "no answer",
                "count": chance.choice((None, 1, 20_000)),
                "place": {"x": chance.uniform(-180, 180), "y": chance.uniform(-90, 90)},
                "values": [chance.random() for _ in range(chance.randint(0, 4))],
            }
        ).encode()
        + b"\n"
        for number in range(_ROWS)
    ]


def _schema(fields: tuple[JsonField, ...]) -> pl.Schema:
    """The columns as polars reads them: numbers of time and ISO 8601 as they stand."""
    kinds = {field.name: pl.Series([], dtype=_polars(field)).dtype for field in fields}
    return pl.Schema(kinds)


def _polars(field: JsonField) -> Any:
    if field.type == _TIME:
        return pl.Int64 if field.unit else pl.String
    return pl.Series(pa.array([], field.type)).dtype


def _arrow(field: JsonField) -> pa.Field:
    if field.type == _TIME:
        return pa.field(field.name, pa.int64() if field.unit else pa.timestamp("us", "UTC"))
    text = pa.string() if field.type == _TEXT else field.type
    plain = pa.list_(pa.float64()) if field.kind == "list" else text
    return pa.field(field.name, plain)


def _columnar(block: bytes, fields: tuple[JsonField, ...]) -> Peers:
    schema = pa.schema([_arrow(field) for field in fields])
    parsing = pa.json.ParseOptions(explicit_schema=schema)
    reading = pa.json.ReadOptions(use_threads=False, block_size=1 << 22)
    return {
        "polars": lambda: pl.read_ndjson(io.BytesIO(block), schema=_schema(fields)),
        "pyarrow": lambda: pa.json.read_json(io.BytesIO(block), reading, parsing),
    }


def _struct(msgspec: Any) -> Any:
    kinds = {"ts": int, "temp": float, "hum": float}
    fields = [(field.name, kinds.get(field.name, str)) for field in _SENSOR]
    return msgspec.json.Decoder(msgspec.defstruct("Sensor", fields))


def _lines(block: bytes, every: list[bytes]) -> Peers:
    found: dict[str, Callable[[], Any]] = dict(_messages(every))
    if "msgspec" in found:
        decoder = _struct(import_module("msgspec"))
        found["msgspec"] = lambda: decoder.decode_lines(block)
    return found


def _messages(every: list[bytes]) -> Peers:
    found: dict[str, Callable[[], Any]] = {}
    for name in ("msgspec", "orjson"):
        try:
            module = import_module(name)
        except ImportError:
            continue
        loads = _struct(module).decode if name == "msgspec" else module.loads
        found[name] = partial(_each, loads, every)
    return found


def _each(loads: Callable[[bytes], Any], every: list[bytes]) -> list[Any]:
    return [loads(one) for one in every]


def _figure(
    what: str, ours: Callable[[], Any], fields: tuple[JsonField, ...], peers: Peers
) -> Figure:
    """The best of some rounds, in which all take turns; ours is given to polars as well."""

    def framed() -> pl.DataFrame:
        columns = ours().columns
        return pl.DataFrame([pl.Series(f.name, c) for f, c in zip(fields, columns, strict=True)])

    expected = peers["polars"]()
    for field in fields:
        if field.type != _TIME:
            assert expected[field.name].equals(framed()[field.name]), field.name
    calls = {"": framed, **peers}
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(_ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    rates = {name: _ROWS / seconds / 1e6 for name, seconds in best.items()}
    mine = rates.pop("")
    fastest = max(rates, key=lambda name: rates[name])
    return what, mine, fastest, rates[fastest]


def _main() -> None:
    for what, ours, library, theirs in measure():
        print(f"{what}: {ours:.1f} M rows/s, {library} {theirs:.1f}, ratio {ours / theirs:.1f}")


if __name__ == "__main__":
    _main()
