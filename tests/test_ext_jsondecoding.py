"""JSON into columns: both kernels against each other, Python's numbers and vectors."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.ext.jsonfields import REASONS, Decoded, JsonField

from . import components

VECTORS: Final = Path(__file__).parent / "vectors"
TEXT, TIME = pa.string_view(), pa.timestamp("us", "UTC")
PART: Final = (JsonField("x", pa.float64()), JsonField("on", pa.bool_(), default=True))
FIELDS: Final = (
    JsonField("ts", TIME, unit="ms", low=-62_135_596_800_000_000, high=253_402_300_799_999_999),
    JsonField("device", TEXT),
    JsonField("temp", pa.float64(), low=-90.0, high=60.0),
    JsonField("n", pa.int64(), nullable=True, default=None),
    JsonField("small", pa.int8(), default=-7),
    JsonField("on", pa.bool_(), nullable=True, default=True),
    JsonField("status", TEXT, allowed=("ok", "warn", "a word of many letters"), default="ok"),
    JsonField("level", pa.int64(), allowed=(1, 2), nullable=True, default=None),
    JsonField("a_key_of_more_than_sixteen_bytes_and_even_more_than_64_bytes_long_is_long",
              pa.float64(), default=0.5),
    JsonField("note", TEXT, default="as long as a text that is not kept in its view"),
    JsonField("raw", pa.binary_view(), nullable=True, default=b"\x00"),
    JsonField("seen", TIME, unit="s", nullable=True, default=5),
    JsonField("day", pa.date32(), default=0),
    JsonField("at", pa.time64("ns"), default=0),
    JsonField("tags", pa.large_list(TEXT), nullable=True, default=None,
              item=JsonField("", TEXT, nullable=True)),
    JsonField("part", pa.struct([("x", pa.float64()), ("on", pa.bool_())]), nullable=True,
              default=None, fields=PART),
)  # fmt: skip
FULL: Final = {
    "ts": 1_704_067_200_000, "device": "device-0042", "temp": 25.37, "n": 3, "small": -128,
    "on": False, "status": "warn", "level": 2, FIELDS[8].name: 1e-7, "note": 'é "\n" 😀',
    "raw": "r", "seen": "2024-02-29T23:59:59.5+02:00", "day": "2000-02-29", "at": "23:59:59.000001",
    "tags": ["a", None, "a tag of many letters"], "part": {"x": 1, "on": False},
}  # fmt: skip
LEAST: Final = {"ts": 0, "device": "", "temp": 0}


@pytest.fixture(params=components.KINDS)
def decoding(request: pytest.FixtureRequest) -> ModuleType:
    """The twin, then the compiled kernel."""
    return components.kernel("jsondecoding", request.param)


def bits(values: list[Any]) -> list[Any]:
    """The values, with floats as their bits."""
    return [struct.pack("<d", v) if isinstance(v, float) else v for v in values]


def contents(found: Decoded) -> tuple[Any, ...]:
    for column in found.columns:
        column.validate(full=True)
    columns = [bits(column.to_pylist()) for column in found.columns]
    return columns, found.rows.to_pylist(), found.lines, found.doubts


def one(decoding: ModuleType, field: JsonField, *values: bytes) -> list[Any]:
    """What a column keeps of each value, which JSON spells; "doubt" for what is in doubt."""
    found = decoding.JsonDecoder([field]).decode_all([b'{"%s":%s}' % (
        field.name.encode(), value) for value in values])  # fmt: skip
    kept = dict(zip(found.rows.to_pylist(), found.columns[0].to_pylist(), strict=True))
    return [kept.get(place, "doubt") for place in range(len(values))]


def spelled(value: object, compact: bool = True) -> bytes:
    return json.dumps(value, separators=(",", ":") if compact else None).encode()


# --- what is taken ---


def test_vectors(decoding: ModuleType) -> None:
    vectors = json.loads((VECTORS / "json_lines.json").read_text())
    kinds = {"text": TEXT, "int": pa.int64(), "float": pa.float64(), "ms": TIME, "bool": pa.bool_()}
    fields = [
        JsonField(
            name,
            kinds[kind],
            nullable=nullable,
            default=None if nullable else ...,
            unit="ms" if kind == "ms" else None,
        )
        for name, kind, nullable in vectors["fields"]
    ]
    lines = [bytes.fromhex(case["hex"]) for case in vectors["cases"]]
    found = decoding.JsonDecoder(fields).decode(b"".join(line + b"\n" for line in lines))
    columns = [column.cast(pa.int64()) if column.type == TIME else column
               for column in found.columns]  # fmt: skip
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    kept = dict(zip(found.rows.to_pylist(), map(list, rows), strict=True))
    doubts = {doubt.line: [doubt.reason, doubt.offset] for doubt in found.doubts}
    assert len(lines) == found.lines
    for place, case in enumerate(vectors["cases"]):
        actual = {"row": kept[place]} if place in kept else {"doubt": doubts.get(place)}
        assert {k: v for k, v in case.items() if k != "hex"} == actual, lines[place]
    assert set(REASONS) - {"long"} == {reason for reason, _ in doubts.values()}


def test_a_full_line_and_one_with_what_is_required(decoding: ModuleType) -> None:
    lines = [spelled(FULL), spelled(LEAST), spelled(FULL, compact=False)]
    found = decoding.JsonDecoder(FIELDS).decode_all(lines)
    assert [] == found.doubts
    first, second, third = zip(*(column.to_pylist() for column in found.columns), strict=True)
    assert first == third
    stamp = found.columns[0].cast(pa.int64()).to_pylist()
    assert [1_704_067_200_000_000, 0, 1_704_067_200_000_000] == stamp
    assert tuple(FULL.values())[1:10] == first[1:10]
    assert (b"r", FULL["tags"], {"x": 1.0, "on": False}) == (first[10], first[14], first[15])
    assert ["2024-02-29 21:59:59.500000+00:00", "2000-02-29", "23:59:59.000001"] == [
        str(value) for value in first[11:14]
    ]
    assert ("", 0.0, None, -7, True, "ok", None, 0.5) == second[1:9]
    assert ("as long as a text that is not kept in its view", b"\x00") == second[9:11]
    assert (None, None) == second[14:]


def test_keys_may_come_in_any_order_and_others_stand_between(decoding: ModuleType) -> None:
    rng = random.Random(1)
    lines = []
    for _ in range(40):
        pairs = [*FULL.items(), ("other", rng.choice([1, "x", None, [1, {"a": []}], {"b": "\\"}]))]
        rng.shuffle(pairs)
        lines.append(spelled(dict(pairs), compact=rng.random() < 0.5))
    found = decoding.JsonDecoder(FIELDS).decode_all([spelled(FULL), *lines])
    assert [] == found.doubts
    for column in found.columns:
        values = column.to_pylist()
        assert [values[0]] * 41 == values


# --- numbers ---


def test_hard_numbers(decoding: ModuleType) -> None:
    cases = json.loads((VECTORS / "json_numbers.json").read_text())
    field = JsonField("x", pa.float64())
    found = one(decoding, field, *(case["text"].encode() for case in cases))
    for case, value in zip(cases, found, strict=True):
        bits = value if value == "doubt" else struct.pack(">d", value).hex()
        assert case["bits"] == bits, case["text"]


def decimals() -> Iterator[str]:
    rng = random.Random(5)
    for _ in range(4000):
        (value,) = struct.unpack("<d", rng.randbytes(8))
        if math.isfinite(value):
            yield repr(value)
            yield f"{value:.{rng.randrange(14, 25)}e}"
        digits = rng.randrange(1, 25)
        yield f"{rng.randrange(10**digits)}.{rng.randrange(10**9)}e{rng.randrange(-340, 300)}"
        yield f"{rng.uniform(-1e3, 1e3):.{rng.randrange(1, 30)}f}"
        yield f"{rng.randrange(10 ** rng.randrange(1, 19))}"
    for _ in range(1000):  # half-way between two doubles, and next to it
        mantissa, power = rng.randrange(1 << 52, 1 << 53), rng.randrange(-30, 30)
        middle = Fraction(2 * mantissa + 1) * Fraction(2) ** (power - 1)
        if middle.denominator < 1 << 40:
            scaled = middle * 10**40
            whole = str(scaled.numerator).rjust(41, "0")
            text = f"{whole[:-40]}.{whole[-40:]}"
            if len(text) <= 62:
                yield from (text, text + "1", text[:-1] + "1")
    for power in range(-343, 309):
        yield from (f"1e{power}", f"9007199254740993e{power}", f"{(1 << 64) - 1}e{power}")


def test_floats_are_python_s_to_the_last_bit(decoding: ModuleType) -> None:
    texts = [text for text in decimals() if math.isfinite(float(text)) and len(text) <= 64]
    found = one(decoding, JsonField("x", pa.float64()), *map(str.encode, texts))
    for text, value in zip(texts, found, strict=True):
        assert struct.pack("<d", float(text)) == struct.pack("<d", value), text


@settings(max_examples=200)
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 40))
def test_floats_of_any_length(value: float, digits: int) -> None:
    text = f"{value:.{digits}e}"
    (found,) = one(components.kernel("jsondecoding"), JsonField("x", pa.float64()), text.encode())
    if math.isfinite(float(text)):
        assert struct.pack("<d", float(text)) == struct.pack("<d", found)


def test_limits_of_numbers(decoding: ModuleType) -> None:
    field = JsonField("x", pa.int8(), low=-5)
    ints = [b"-5", b"-6", b"127", b"128", b"-0", b"1.0", b"1e1", b"01", b"+1", b"true", b'"1"']
    assert [-5, "doubt", 127, "doubt", 0, *["doubt"] * 6] == one(decoding, field, *ints)
    wide = [b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808",
            b"-9223372036854775809", b"99999999999999999999", b"18446744073709551616"]  # fmt: skip
    assert [2**63 - 1, "doubt", -(2**63), "doubt", "doubt", "doubt"] == one(
        decoding, JsonField("x", pa.int64()), *wide
    )
    field = JsonField("x", pa.float64(), low=math.nextafter(0, 1), high=1.5)
    reals = [b"0", b"5e-324", b"2e-324", b"1.5", b"1.5000000000000002", b"1", b"1e999", b"NaN"]
    assert ["doubt", 5e-324, "doubt", 1.5, "doubt", 1.0, "doubt", "doubt"] == one(
        decoding, field, *reals
    )
    long = [b"1" * 18, b"1" * 19, b"0." + b"1" * 62, b"0." + b"1" * 63, b"0e99999999999999"]
    assert [float("1" * 18), "doubt", float("0." + "1" * 62), "doubt", 0.0] == one(
        decoding, JsonField("x", pa.float64()), *long
    )


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_epochs(decoding: ModuleType, unit: str) -> None:
    per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    rng = random.Random(3)
    wholes = [0, -1, 1, -1001, 1_704_067_200 * per + 7, 2**63 - 1, -(2**63)]
    wholes += [rng.randrange(-(2**63), 2**63) >> rng.randrange(62) for _ in range(200)]
    reals = [0.5, 1e-7, -2.5e-6, 1_704_067_200.123456, 5e-324, 1e300, 4.5e-6, 3.5e-3, -1.5, 0.0]
    reals += [rng.uniform(-4e9, 4e9) * per / rng.choice([1, 1e3, 1e12]) for _ in range(200)]
    low, high = -6 * 10**16, 10**17
    texts = [*map(str, wholes), *map(repr, reals)]
    field = JsonField("x", TIME, unit=unit, low=low, high=high)
    found = one(decoding, field, *map(str.encode, texts))
    for value, kept in zip([*wholes, *reals], found, strict=True):
        exact = Fraction(value) * 1_000_000 / per
        micros = round(exact) if isinstance(value, float) else math.floor(exact)
        fits = low <= micros <= high and not (unit == "ns" and isinstance(value, float))
        actual = kept if kept == "doubt" else pa.scalar(kept, TIME).value
        assert (micros if fits else "doubt") == actual, value


# --- text ---


@settings(max_examples=200)
@given(st.lists(st.text(max_size=40), max_size=4), st.booleans())
def test_text_is_what_python_reads(texts: list[str], ascii_only: bool) -> None:
    lines = [json.dumps({"x": text}, ensure_ascii=ascii_only).encode("utf-8") for text in texts]
    found = components.kernel("jsondecoding").JsonDecoder([JsonField("x", TEXT)]).decode_all(lines)
    assert texts == found.columns[0].to_pylist()


def test_bytes_that_are_no_text_are_in_doubt(decoding: ModuleType) -> None:
    bad = [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"a\x80",
           b"\\ud800", b"\\udc00", b"\\ud800\\u0041", b"\\x", b"\\u12g4", b"\\", b"\x00", b"\n",
           b"\t", b"\xf0\x8f\xbf\xbf", b"\xe0\x9f\xbf", b"\xf5\x80\x80\x80"]  # fmt: skip
    for text in bad:
        for length in (0, 5, 14, 15, 16, 30):
            value = b'"' + b"x" * length + text + b"x" * length + b'"'
            assert ["doubt"] == one(decoding, JsonField("x", TEXT), value), value
            unknown = decoding.JsonDecoder([JsonField("x", TEXT)])
            assert 1 == len(unknown.decode_all([b'{"x":"","y":[%s]}' % value]).doubts), value


def test_moments_in_text(decoding: ModuleType) -> None:
    stamps = ["2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "2024-02-29 23:59:59.999999-13:59",
              "1900-02-29T00:00:00Z", "2000-02-29T24:00:00Z", "2024-13-01T00:00:00Z",
              "2024-01-01T00:00:00", "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00.1234567Z",
              "2024-01-01T00:00:00+14:00", "2024-01-01T00:00:00+0100", "0999-01-01T00:00:00Z",
              "2024-01-01t00:00:00Z", "2024-01-01T00:00:60Z", "2024-01-00T00:00:00Z"]  # fmt: skip
    field = JsonField("x", TIME)
    found = one(decoding, field, *map(spelled, stamps))
    assert [0, 2] == [place for place, value in enumerate(found) if value != "doubt"]
    assert ["2024-02-29 00:00:00+00:00", "2024-03-01 13:58:59.999999+00:00"] == [
        str(found[0]), str(found[2])]  # fmt: skip
    days = [b'"%d-%02d-01"' % (year, month) for year in range(1000, 3000, 7) for month in (1, 2, 3)]
    parsed = one(decoding, JsonField("x", pa.date32()), *days)
    assert [day.decode().strip('"') for day in days] == [str(value) for value in parsed]
    clocks = one(decoding, JsonField("x", pa.time64("ns")),
                 b'"23:59:59.9"', b'"24:00:00"', b'"1:00:00"', b'""', b'"12:00:00Z"')  # fmt: skip
    assert ["23:59:59.900000", *["doubt"] * 4] == [str(value) for value in clocks]


# --- lines ---


def cut_everywhere(decoding: ModuleType, text: bytes, longest: int | None = None) -> None:
    decoder = decoding.JsonDecoder(FIELDS)
    expected = contents(decoder.decode(text, b"", 5, longest))
    for place in range(len(text) + 1):
        assert expected == contents(decoder.decode(text[place:], text[:place], 5, longest))


def test_a_block_may_begin_anywhere(decoding: ModuleType) -> None:
    lines = [spelled(LEAST), b"", b"  \t\x0b\x0c\r", b"\r", b"{}", spelled(LEAST) + b"\r", b"{",
             spelled({**LEAST, "note": "x" * 60}), b"not the end"]  # fmt: skip
    cut_everywhere(decoding, b"\n".join(lines))
    cut_everywhere(decoding, b"\n".join(lines), longest=40)


def test_places_of_lines_in_doubt(decoding: ModuleType) -> None:
    long = spelled({**LEAST, "note": "x" * 99})
    lines = [spelled(LEAST), b"x", b"", b"{}\r", long, spelled(LEAST) + b"\r", b" " * 70]
    text = b"".join(line + b"\n" for line in lines)
    found = decoding.JsonDecoder(FIELDS).decode(memoryview(text), b"", 1, 60)
    assert ([1, 6], 7) == (found.rows.to_pylist(), found.lines)
    assert [(2, b"x", "json", 0), (4, b"{}", "missing", 2), (5, long, "long", 60),
            (7, b" " * 70, "long", 60)] == [
        (doubt.line, text[doubt.start : doubt.end], doubt.reason, doubt.offset)
        for doubt in found.doubts
    ]  # fmt: skip


def test_line_feeds_are_white_space_in_messages_alone(decoding: ModuleType) -> None:
    message = json.dumps(FULL, indent=2).encode()
    decoder = decoding.JsonDecoder(FIELDS)
    assert 0 == len(decoder.decode_all([message, b"\n" + message + b"\r\n"]).doubts)
    assert len(message.splitlines()) == len(decoder.decode(message + b"\n").doubts)
    assert [1, 1, 1] == [len(decoder.decode_all([m]).doubts) for m in (b"", b"\n", message * 2)]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_block_is_any_buffer(decoding: ModuleType, kind: Callable[[bytes], Any]) -> None:
    found = decoding.JsonDecoder(FIELDS).decode(kind(spelled(FULL) + b"\n"), head=b"\n")
    assert ([1], 2, []) == (found.rows.to_pylist(), found.lines, found.doubts)
    with pytest.raises(TypeError):
        decoding.JsonDecoder(FIELDS).decode(b"", None)


def test_nothing_is_decoded_as_nothing(decoding: ModuleType) -> None:
    decoder = decoding.JsonDecoder(FIELDS)
    for found in (decoder.decode(b""), decoder.decode(b"{", b"x"), decoder.decode_all([])):
        assert [0] * len(FIELDS) == [len(column) for column in found.columns]
        assert [field.type for field in FIELDS] == [column.type for column in found.columns]
        assert ([], 0, []) == (found.rows.to_pylist(), found.lines, found.doubts)


def test_every_prefix_of_a_message_is_in_doubt(decoding: ModuleType) -> None:
    line = spelled({**FULL, "y": [{"a": "\\u00e9", "b": [1.5e3, True, None]}], "z": "é"}, False)
    decoder = decoding.JsonDecoder(FIELDS)
    found = decoder.decode_all([line[:end] for end in range(len(line) + 1)])
    assert [len(line)] == found.rows.to_pylist()
    assert len(line) == len(found.doubts)
    assert all(doubt.offset <= doubt.end for doubt in found.doubts)


def test_a_line_in_doubt_leaves_nothing_behind(decoding: ModuleType) -> None:
    good = spelled(FULL)
    bad = spelled({**FULL, "tags": ["x", 3]}), good[:-1], spelled({**FULL, "part": {"x": "y"}})
    lines = [good, *bad, good, *bad[::-1], good] * 30
    found = decoding.JsonDecoder(FIELDS).decode_all(lines)
    alone = decoding.JsonDecoder(FIELDS).decode_all([line for line in lines if line == good])
    assert contents(alone)[0] == contents(found)[0]
    assert [n for n, line in enumerate(lines) if line == good] == found.rows.to_pylist()


@pytest.mark.parametrize("depth", [1, 63, 64, 65, 200, 100_000])
def test_unknown_values_nest_at_most_64_deep(decoding: ModuleType, depth: int) -> None:
    decoder = decoding.JsonDecoder([JsonField("x", TEXT)])
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        value = opening * depth + b"1" + closing * depth
        found = decoder.decode_all([b'{"y":%s,"x":"a"}' % value])
        assert (depth <= 64) == (not found.doubts)
        if depth > 64:
            assert 5 + 64 * len(opening) == found.doubts[0].offset


# --- both kernels ---

TOKENS: Final = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"d83d", b"null", b"true",
                 b"-", b"0", b"1", b".", b"e", b"E+", b"99", b" ", b"\n", b"\r", b"\x00", b"\xff",
                 b"\xc3\xa9", b'"x":1,', b'"ts":', b'"n":null,', b"18446744073709551616", b"T",
                 b'"\\n"', b"[[[", b"NaN", b"1e400"]  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A line of JSON, some of its values others, some of its bytes too."""
    names = draw(st.permutations(list(FULL)))
    change = draw(st.dictionaries(st.sampled_from([*FULL, "y", "é"]), values, max_size=2))
    found = {name: FULL[name] for name in names[draw(st.integers(0, 3)) :]} | change
    escaped = draw(st.booleans())
    text = json.dumps(found, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(text)))
        gone = draw(st.integers(0, 3))
        text = text[:place] + draw(st.sampled_from([b"", *TOKENS])) + text[place + gone :]
    return text


@settings(max_examples=300)
@given(st.lists(lines(), max_size=6), st.sampled_from([b"\n", b"\r\n"]))
def test_twins_agree(texts: list[bytes], end: bytes) -> None:
    plain = components.kernel("jsondecoding", "python").JsonDecoder(FIELDS)
    fast = components.kernel("jsondecoding").JsonDecoder(FIELDS)
    assert contents(plain.decode_all(texts)) == contents(fast.decode_all(texts))
    block = b"".join(text + end for text in texts) + b"{"
    expected = contents(plain.decode(block, b"", 3, 400))
    assert expected == contents(fast.decode(block, b"", 3, 400))
    half = len(block) // 2
    assert expected == contents(fast.decode(memoryview(block)[half:], block[:half], 3, 400))


def test_text_goes_to_polars_as_it_is(decoding: ModuleType) -> None:
    found = decoding.JsonDecoder([JsonField("x", TEXT)]).decode_all(
        [spelled({"x": text}) for text in ("short", "as long as a text that is not in its view")]
    )
    (column,) = found.columns
    series = pl.Series("x", column)
    assert pl.String == series.dtype
    back = series.to_arrow(compat_level=pl.CompatLevel.newest())
    before, after = ([b.address for b in array.buffers() if b] for array in (column, back))
    assert before == after
    del found, column
    assert ["short", "as long as a text that is not in its view"] == series.to_list()


def test_threads_may_share_a_decoder(decoding: ModuleType) -> None:
    decoder = decoding.JsonDecoder(FIELDS)
    inputs = [[spelled({**FULL, "device": f"device-{n}"})] * (50 * n) for n in range(4)]
    expected = [contents(decoder.decode_all(lines)) for lines in inputs]
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(decoder.decode_all, lines) for lines in inputs * 8]
        assert expected * 8 == [contents(one.result()) for one in work]


WRONG: Final[list[Callable[[], object]]] = [
    lambda: JsonField("x", pa.string()),
    lambda: JsonField("x", pa.timestamp("us")),
    lambda: JsonField('a"b', TEXT),
    lambda: JsonField("\ud800", TEXT),
    lambda: JsonField("x", TIME, unit="h"),
    lambda: JsonField("x", TEXT, default=None),
    lambda: JsonField("x", pa.int8(), default=128),
    lambda: JsonField("x", TEXT, default=1),
    lambda: JsonField("x", pa.float64(), allowed=(1.0,)),
    lambda: JsonField("x", pa.int64(), low=1.5),
    lambda: JsonField("x", pa.float64(), low=math.nan),
    lambda: JsonField("x", pa.large_list(TEXT)),
    lambda: JsonField("x", pa.struct([("a", TEXT)])),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_fields_that_no_decoder_has(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each is another
        wrong()


def test_what_a_decoder_refuses(decoding: ModuleType) -> None:
    deep = JsonField("x", TEXT)
    for _ in range(16):
        deep = JsonField("x", pa.large_list(deep.type), item=deep)
    for fields in ([], [JsonField("x", TEXT)] * 2, [deep]):
        with pytest.raises(ValueError):  # noqa: PT011
            decoding.JsonDecoder(fields)
    with pytest.raises(TypeError):
        decoding.JsonDecoder([JsonField("x", TEXT)]).decode_all(["{}"])
