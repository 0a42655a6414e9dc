"""Columns to JSON lines: both kernels against polars' `write_ndjson` and Python's json."""

from __future__ import annotations

import io
import json
import math
import random
import struct
from array import array
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.connectors.encoders import JsonLinesEncoding
from headwater.flows.schema import Schema

from . import components

INTS: Final = {
    pl.Int8: (0, -1, 127, -128),
    pl.Int16: (0, 99, 32_767, -32_768),
    pl.Int32: (0, 10**8 - 1, 10**8, -(2**31), 2**31 - 1),
    pl.Int64: (0, -7, 10**16 - 1, 10**16, -(2**63), 2**63 - 1),
    pl.UInt8: (0, 255),
    pl.UInt16: (0, 65_535),
    pl.UInt32: (0, 2**32 - 1),
    pl.UInt64: (0, 10**18, 2**64 - 1),
}
FLOATS: Final = (
    *(0.0, -0.0, 1.0, -1.5, 0.1, 0.1 + 0.2, 21.53, 70.754, 100.0, 0.0001, 99_999_999.9999),
    *(1e-5, 9.999e-6, 1e-6, 1e-7, 1e15, 1e16, 9_999_999_999_999_998.0, 123_456_789_012_345_680.0),
    *(5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308),
    *(2.0**53 - 1, 2.0**53, 2.0**53 + 2, 9_007_199_254_740_993.0, 2.0**63, 2.0**-44, 1e23),
    *(math.nan, math.inf, -math.inf),
)
TEXTS: Final = (
    *("", "a", "device-0042", "twelve bytes", "thirteen byte", "x" * 300, "é", "\u2028", "😀"),
    *('"', "\\", 'say "hi"', "\x00", "\x7f", "a\nb", "x" * 11 + '"', "x" * 12 + "\\", "\x1f" * 99),
    *("seven b", "eight by", "eight b\t", "x" * 15 + "\r", "😀" * 20 + "\u0085"),
)
MOMENTS: Final = (
    *(datetime(1970, 1, 1), datetime(1969, 12, 31, 23, 59, 59, 999_999), datetime(1, 1, 1)),
    *(datetime(2024, 2, 29, 12, 34, 56, 789_000), datetime(2024, 2, 29, 12, 34, 56, 789_123)),
    *(datetime(2024, 2, 29, 12, 34, 55), datetime(2024, 2, 29, 12, 35), datetime(2100, 3, 1)),
    *(datetime(9999, 12, 31, 23, 59, 59, 999_999), datetime(1900, 2, 28, 23, 59)),
)
LATER: Final = tuple(moment for moment in MOMENTS if 1700 < moment.year < 2200)
LENGTHS: Final = (
    *(timedelta(0), timedelta(days=400, hours=1), timedelta(seconds=90, microseconds=500)),
    *(-timedelta(milliseconds=1), -timedelta(days=3, microseconds=1_000), timedelta(seconds=1)),
)
COLUMNS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    **{str(kind): (kind, values) for kind, values in INTS.items()},
    "boolean": (pl.Boolean, (True, False)),
    "float": (pl.Float64, FLOATS),
    "single": (pl.Float32, tuple(n for n in FLOATS if not 3.5e38 < abs(n) < math.inf)),
    "text": (pl.String, TEXTS),
    "category": (pl.Categorical, TEXTS),
    "enum": (pl.Enum(TEXTS), TEXTS),
    "large enum": (pl.Enum([*map(str, range(300)), *TEXTS]), (*TEXTS, "299", "0")),
    "null": (pl.Null, (None,)),
    "date": (pl.Date, (date(1, 1, 1), date(2000, 2, 29), date(1970, 1, 1), date(9999, 12, 31))),
    "time": (pl.Time, (time(0), time(1, 2, 3, 4), time(23, 59, 59, 999_999), time(5, 6, 7, 8000))),
    **{f"local {u}": (pl.Datetime(u), MOMENTS) for u in ("ms", "us")},
    **{f"zone {z}": (pl.Datetime("us", z), MOMENTS) for z in ("UTC", "Etc/UTC")},
    "local ns": (pl.Datetime("ns"), LATER),
    "zone ns": (pl.Datetime("ns", "UTC"), LATER),
    **{f"duration {u}": (pl.Duration(u), LENGTHS) for u in ("ms", "us", "ns")},
    "list": (pl.List(pl.Int64), ([], [1], [None, 2, 3], [2**63 - 1] * 9)),
    "list of texts": (pl.List(pl.String), ([], list(TEXTS), [None], ["x" * 50, None, '"'])),
    "list of lists": (pl.List(pl.List(pl.Boolean)), ([[True], [], None], [[]], [])),
    "array": (pl.Array(pl.Float64, 2), ([1.5, None], [math.nan, 2.0])),
    "struct": (
        pl.Struct({"x": pl.Int8, 'a "name"': pl.String, "at": pl.Datetime("ms", "UTC")}),
        ({"x": 1, 'a "name"': "p", "at": MOMENTS[3]}, {"x": None, 'a "name"': None, "at": None}),
    ),
    "empty struct": (pl.Struct({}), ({}, {})),
    "list of structs": (
        pl.List(pl.Struct({"deep": pl.List(pl.Date), "name": pl.Enum(["a"])})),
        ([{"deep": [date(2024, 1, 1), None], "name": "a"}, None], [{"deep": None, "name": None}]),
    ),
}


@pytest.fixture(scope="module", params=components.KINDS)
def encoding(request: pytest.FixtureRequest) -> ModuleType:
    return components.kernel("jsonencoding", request.param)


def by_polars(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_ndjson(buffer)
    return buffer.getvalue()


def column(name: str, *, nulls: bool = True) -> pl.Series:
    """Values of one type, in an order that lies behind and before itself, and nulls among them."""
    kind, values = COLUMNS[name]
    some = [*values, None] if nulls else values
    return pl.Series(name, [*some, *reversed(some), *some[::2]], dtype=kind)


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("nulls", [False, True])
def test_every_type_is_as_polars_writes_it(encoding: ModuleType, name: str, nulls: bool) -> None:
    frame = column(name, nulls=nulls).to_frame()
    assert encoding.encodable(frame)
    assert by_polars(frame) == encoding.encode_lines(frame)
    for begin, length in ((1, 2), (3, 100), (len(frame) - 1, 1), (2, 0)):
        part = frame.slice(begin, length)
        assert by_polars(part) == encoding.encode_lines(part)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_nulls_and_none_at_all(encoding: ModuleType, name: str) -> None:
    kind = COLUMNS[name][0]
    frame = pl.DataFrame({"a": [None] * 9, "b": range(9)}, schema={"a": kind, "b": pl.Int8})
    assert by_polars(frame) == encoding.encode_lines(frame)
    assert b"" == encoding.encode_lines(frame.clear())
    assert encoding.encodable(frame.clear())


def test_columns_beside_each_other(encoding: ModuleType) -> None:
    columns = [column(name) for name in COLUMNS if name != "null"]
    rows = min(map(len, columns))
    frame = pl.DataFrame([c[:rows] for c in columns])
    assert by_polars(frame) == encoding.encode_lines(frame)
    assert by_polars(frame[3:7]) == encoding.encode_lines(frame[3:7])
    lines = encoding.encode_lines(frame).decode().split("\n")
    assert "" == lines.pop()
    assert [set(frame.columns)] * rows == [set(json.loads(line)) for line in lines]


def test_rows_without_columns(encoding: ModuleType) -> None:
    assert b"" == encoding.encode_lines(pl.DataFrame())
    assert b"{}\n{}\n" == encoding.encode_lines(pl.DataFrame(height=2))


def test_names(encoding: ModuleType) -> None:
    texts = dict.fromkeys([*TEXTS, *("n" * size for size in range(70))])
    frame = pl.DataFrame({text.replace("\0", "?"): [1] for text in texts})
    assert by_polars(frame) == encoding.encode_lines(frame)
    for name in frame.columns:
        one = frame.select(name).cast(pl.String)
        assert by_polars(one) == encoding.encode_lines(one)


def test_a_special_character_at_every_place(encoding: ModuleType) -> None:
    texts = [
        "é" * (size % 2) + "x" * place + special + "x" * (size - place)
        for special in (*map(chr, range(33)), '"', "\\", "\x7f", "\u2028", "\ud7ff", "😀")
        for size in (0, 5, 9, 14, 22)
        for place in range(0, size + 1, 1 + size // 10)
    ]
    frame = pl.DataFrame({"text": texts})
    lines = encoding.encode_lines(frame)
    assert by_polars(frame) == lines
    assert texts == [json.loads(line)["text"] for line in lines.decode().split("\n")[:-1]]


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.none() | st.text(), max_size=8))
def test_texts(encoding: ModuleType, texts: list[str | None]) -> None:
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    lines = encoding.encode_lines(frame)
    assert by_polars(frame) == lines
    assert texts == [json.loads(line)["text"] for line in lines.decode().split("\n")[:-1]]


def digits(text: str) -> str:
    """The significant digits of a number."""
    return text.lstrip("-").partition("e")[0].replace(".", "").strip("0")


def check_floats(encoding: ModuleType, floats: array[float]) -> None:
    lines = encoding.encode_lines(pl.DataFrame({"f": pl.Series(floats, dtype=pl.Float64)}))
    for line, number in zip(lines.decode().split("\n"), floats, strict=False):
        text = line[5:-1]
        if math.isfinite(number):
            assert struct.pack("<d", number) == struct.pack("<d", float(text))
            assert digits(repr(number)) == digits(text)
        else:
            assert "null" == text


@settings(max_examples=200, deadline=None)
@given(floats=st.lists(st.floats() | st.decimals(-1000, 1000, places=3).map(float), max_size=20))
def test_floats_have_the_digits_that_python_gives_them(
    encoding: ModuleType, floats: list[float]
) -> None:
    check_floats(encoding, array("d", floats))


def patterns() -> Iterator[int]:
    """The bits of floats: every exponent with mantissas at its edges, and random ones."""
    chance = random.Random(5)
    for exponent in range(2048):
        for mantissa in (0, 1, 2, 2**51, 2**52 - 2, 2**52 - 1, chance.getrandbits(52)):
            yield chance.getrandbits(1) << 63 | exponent << 52 | mantissa
    for _ in range(150_000):
        yield chance.getrandbits(64)


def decimals() -> Iterator[float]:
    """Floats that are short decimals or beside one, powers of ten, integers beyond 2**53."""
    chance = random.Random(6)
    for exponent in range(-324, 309):
        near = float(f"1e{exponent}")
        yield from (near, math.nextafter(near, 0), math.nextafter(near, math.inf))
    for _ in range(40_000):
        yield float(
            f"{chance.randrange(10 ** chance.randrange(1, 18))}e{chance.randrange(-25, 25)}"
        )
        yield round(chance.gauss(20, 5), chance.randrange(9)) * 9 / 5 + 32
        yield float(chance.randrange(2**53, 2**64))
        yield chance.randrange(2**54) / 4
        yield float(2**53 + chance.randrange(-99, 99))


def test_floats_of_every_kind_in_the_compiled_kernel() -> None:
    floats = array("d", array("Q", patterns()).tobytes())
    floats.extend(decimals())
    check_floats(components.kernel("jsonencoding"), floats)
    frame = pl.DataFrame({"f": pl.Series(floats, dtype=pl.Float64)})
    assert by_polars(frame) == components.kernel("jsonencoding").encode_lines(frame)


def singles(count: int) -> pl.DataFrame:
    chance = random.Random(7)
    bits = [e << 23 | m for e in range(256) for m in (0, 1, 2**22, 2**23 - 1)]
    bits += [chance.getrandbits(32) for _ in range(count)]
    found = array("f", array("I", bits).tobytes())
    return pl.DataFrame({"f": pl.Series(found, dtype=pl.Float32)})


def test_single_floats(encoding: ModuleType) -> None:
    frame = singles(1_000 if encoding.__name__.endswith(".jsonencoding") else 200_000)
    assert by_polars(frame) == encoding.encode_lines(frame)


INSTANTS: Final = st.integers(-(2**63), 2**63 - 1) | st.integers(-(10**17), 10**17)
FIRST, LAST = -8_334_601_228_800_000_000, 8_210_266_876_799_999_999  # µs that polars' calendar has


@settings(max_examples=100, deadline=None)
@given(data=st.lists(st.none() | INSTANTS, max_size=30), unit=st.sampled_from(["ms", "us", "ns"]))
def test_times_as_polars_writes_them(
    encoding: ModuleType, data: list[int | None], unit: Any
) -> None:
    numbers = pl.Series(data, dtype=pl.Int64)
    factor = 10**3 if unit == "ms" else 1
    within = pl.Series(
        [n if n is None or FIRST <= n * factor <= LAST else 0 for n in data], dtype=pl.Int64
    )
    frame = pl.DataFrame(
        {
            "local": within.cast(pl.Datetime(unit)),
            "utc": within.cast(pl.Datetime(unit, "UTC")),
            "long": numbers.set(numbers == -(2**63), 1).cast(pl.Duration(unit)),
            "time": (numbers % (24 * 3600 * 10**9)).cast(pl.Time),
            "day": (numbers % 191_491_529 - 96_465_292).cast(pl.Int32).cast(pl.Date),
        }
    )
    assert by_polars(frame) == encoding.encode_lines(frame)


def test_times_that_polars_does_not_write(encoding: ModuleType) -> None:
    ends = pl.Series([-(2**63), 2**63 - 1, -(2**63) + 1], dtype=pl.Int64)
    days = pl.Series([-(2**31), 2**31 - 1, 0], dtype=pl.Int32)
    frame = pl.DataFrame(
        {
            "local": ends.cast(pl.Datetime("ms")),
            "utc": ends.cast(pl.Datetime("us", "UTC")),
            "day": days.cast(pl.Date),
            "long": ends.cast(pl.Duration("ms")),
        }
    )
    assert [
        {
            "local": "-292275055-05-16 16:47:04.192",
            "utc": "-290308-12-21T19:59:05.224192+00:00",
            "day": "-5877641-06-23",
            "long": "-PT9223372036854775.808S",
        },
        {
            "local": "+292278994-08-17 07:12:55.807",
            "utc": "+294247-01-10T04:00:54.775807+00:00",
            "day": "+5881580-07-11",
            "long": "PT9223372036854775.807S",
        },
        {
            "local": "-292275055-05-16 16:47:04.193",
            "utc": "-290308-12-21T19:59:05.224193+00:00",
            "day": "1970-01-01",
            "long": "-PT9223372036854775.807S",
        },
    ] == [json.loads(line) for line in encoding.encode_lines(frame).splitlines()]


def test_a_time_outside_of_a_day_is_null(encoding: ModuleType) -> None:
    outside = pa.array([-1, 0, 86_400 * 10**9 - 1, 86_400 * 10**9]).view(pa.time64("ns"))
    expected = b'{"t":null}\n{"t":"00:00:00"}\n{"t":"23:59:59.999999999"}\n{"t":null}\n'
    assert expected == encoding.encode_lines(pa.record_batch({"t": outside}))


def test_pieces_are_whole_lines(encoding: ModuleType) -> None:
    texts = ["short", "x" * 700_000, None, "\x01" * 200_000, "", *["some text"] * 30_000]
    frame = pl.DataFrame({"text": texts, "n": range(len(texts))})
    many = [["y" * 90, None] * 2000] * 40 + [[]] * (len(texts) - 40)
    frame = frame.with_columns(pl.Series("list", many, dtype=pl.List(pl.String)))
    pieces: list[bytes] = []
    encoding.write_lines(frame, lambda piece: pieces.append(bytes(piece)))
    assert all(piece.endswith(b"\n") for piece in pieces)
    assert by_polars(frame) == b"".join(pieces) == encoding.encode_lines(frame)
    encoding.write_lines(frame.clear(), pieces.clear)
    assert pieces


def test_what_write_raises_comes_out(encoding: ModuleType) -> None:
    def full(_: memoryview) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        encoding.write_lines(pl.DataFrame({"a": [1, 2]}), full)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_frame(encoding: ModuleType, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from([*COLUMNS]), max_size=6, unique=True))
    rows = data.draw(st.integers(0, 20)) if names else 0
    frame = pl.DataFrame(
        {
            name: pl.Series(
                data.draw(st.lists(st.sampled_from([*values, None]), min_size=rows, max_size=rows)),
                dtype=kind,
            )
            for name, (kind, values) in ((name, COLUMNS[name]) for name in names)
        }
    )
    begin = data.draw(st.integers(0, rows))
    part = frame.filter(pl.Series([row % 3 != 1 for row in range(rows)], dtype=pl.Boolean))
    for some in (frame, frame[begin:], part.rechunk()):
        assert by_polars(some) == encoding.encode_lines(some)
        packed = pl.DataFrame({"s": some.to_struct()}) if names else some
        assert by_polars(packed) == encoding.encode_lines(packed)


UNKNOWN: Final[dict[str, Any]] = {
    "decimal": pl.Decimal(10, 2),
    "zone": pl.Datetime("us", "Europe/Berlin"),
    "bytes": pl.Binary,
    "huge": pl.Int128,
    "half": pl.Float16,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_types_without_a_form(encoding: ModuleType, name: str) -> None:
    kind = UNKNOWN[name]
    for nested in (kind, pl.List(kind), pl.Struct({"x": kind}), pl.Array(kind, 1)):
        frame = pl.DataFrame({"a": [1], "b": [None]}, schema={"a": pl.Int8, "b": nested})
        assert not encoding.encodable(frame)
        with pytest.raises((TypeError, pa.ArrowInvalid)):
            encoding.encode_lines(frame)
    assert not encoding.encodable(pa.table({"a": pa.array(["text of 32-bit offsets"])}))
    assert not encoding.encodable(pa.table({"a": pa.array([0], pa.timestamp("s"))}))


def test_what_is_no_frame_or_several(encoding: ModuleType) -> None:
    with pytest.raises(TypeError):
        encoding.encode_lines([{"a": 1}])
    two = pa.table({"a": pa.chunked_array([[1], [1]])})
    with pytest.raises(ValueError, match="several chunks"):
        encoding.encode_lines(two)
    assert b'{"a":1}\n{"a":1}\n' == encoding.encode_lines(two.combine_chunks())


def view(size: int, buffer: int, offset: int) -> pa.Array:
    """One long text, whose view says where it is in one buffer of 20 bytes."""
    views = struct.pack("<i4sii", size, b"aaaa", buffer, offset)
    buffers = [None, pa.py_buffer(views), pa.py_buffer(b"a" * 20)]
    return pa.Array.from_buffers(pa.string_view(), 1, buffers)


def lists(begin: int, end: int) -> pa.Array:
    """Three lists, of which the second is from `begin` to `end` of three values."""
    offsets = pa.py_buffer(struct.pack("<4q", 0, begin, end, 3))
    kind = pa.large_list(pa.int8())
    return pa.Array.from_buffers(
        kind, 3, [None, offsets], children=[pa.array([1, 2, 3], pa.int8())]
    )


def chosen(index: int) -> pa.Array:
    texts = pa.array(["a", "b"], pa.string_view())
    return pa.DictionaryArray.from_arrays(pa.array([index], pa.int32()), texts, safe=False)


def test_what_points_inside_is_written(encoding: ModuleType) -> None:
    for array_, expected in (
        (view(20, 0, 0), "a" * 20),
        (view(13, 0, 7), "a" * 13),
        (lists(0, 3), [1, 2, 3]),
        (lists(3, 3), []),
        (chosen(1), "b"),
    ):
        lines = encoding.encode_lines(pa.record_batch({"a": array_})).splitlines()
        assert {"a": expected} in [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    "broken",
    [
        *(view(21, 0, 0), view(13, 0, 8), view(13, 1, 0), view(13, -1, 0), view(13, 0, -1)),
        *(view(-1, 0, 0), view(2**31 - 1, 0, 2**31 - 1)),
        *(lists(0, 4), lists(-1, 2), lists(2, 1), lists(2**62, 2**63 - 1)),
        *(chosen(2), chosen(-1), chosen(2**31 - 1)),
    ],
    ids=lambda broken: str(broken.type),
)
def test_what_points_outside_is_not_read(encoding: ModuleType, broken: pa.Array) -> None:
    with pytest.raises(ValueError, match=r"."):
        encoding.encode_lines(pa.record_batch({"a": broken}))


def test_the_encoder_leaves_to_polars_what_has_no_form() -> None:
    berlin = pl.Datetime("us", "Europe/Berlin")
    frame = pl.DataFrame(
        {"at": [datetime(2024, 7, 1, tzinfo=UTC)], "cost": [Decimal("1.50")], "n": [1]},
        schema={"at": berlin, "cost": pl.Decimal(10, 2), "n": pl.Int64},
    )
    out = io.BytesIO()
    encoder = JsonLinesEncoding().start(
        Schema((("cost", frame["cost"].dtype), ("at", berlin))), out
    )
    encoder.write(frame)
    assert b'{"cost":"1.50","at":"2024-07-01T02:00:00+02:00"}\n' == out.getvalue()


def test_the_encoder_takes_its_columns_in_any_chunks() -> None:
    out = io.BytesIO()
    encoder = JsonLinesEncoding().start(Schema((("b", pl.String()), ("a", pl.Int64()))), out)
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", None], "c": [0, 0]})
    encoder.write(pl.concat([frame, frame], rechunk=False))
    encoder.write(frame.clear())
    encoder.write(frame.select("b", "a").head(1))
    line, other = b'{"b":"x","a":1}\n', b'{"b":null,"a":2}\n'
    assert (line + other) * 2 + line == out.getvalue()
