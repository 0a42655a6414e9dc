"""Row hashes and key groups: both kernels against the specification and its vectors."""

from __future__ import annotations

import datetime as dt
import json
import struct
from decimal import Decimal
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

VECTORS = json.loads((Path(__file__).parent / "vectors/key_groups.json").read_text("utf-8"))
TYPES: dict[str, pa.DataType] = {
    "int64": pa.int64(),
    "int32": pa.int32(),
    "uint64": pa.uint64(),
    "bool": pa.bool_(),
    "float64": pa.float64(),
    "float32": pa.float32(),
    "string": pa.string(),
    "binary": pa.binary(),
    "decimal128(10,2)": pa.decimal128(10, 2),
    "decimal128(38,6)": pa.decimal128(38, 6),
    "date32": pa.date32(),
    "time32[s]": pa.time32("s"),
    "timestamp[us]": pa.timestamp("us"),
    "duration[ns]": pa.duration("ns"),
}
LONG_TEXT = st.text(max_size=20) | st.text("ab\0", min_size=11, max_size=150)
LONG_BYTES = st.binary(max_size=20) | st.binary(min_size=30, max_size=70)
INTS = st.integers(-(2**63), 2**63 - 1)
DECIMALS = st.integers(-(10**20), 10**20).map(lambda n: Decimal(n).scaleb(-4))
COLUMNS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): INTS,
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.uint8(): st.integers(0, 255),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.bool_(): st.booleans(),
    pa.float64(): st.floats(),
    pa.float32(): st.floats(width=32),
    pa.float16(): st.floats(width=16),
    pa.string(): LONG_TEXT,
    pa.large_string(): LONG_TEXT,
    pa.string_view(): LONG_TEXT,
    pa.binary(): LONG_BYTES,
    pa.binary_view(): LONG_BYTES,
    pa.binary(17): st.binary(min_size=17, max_size=17),
    pa.timestamp("us", "UTC"): st.integers(-(2**50), 2**50),
    pa.date32(): st.integers(-(2**20), 2**20),
    pa.decimal128(25, 4): DECIMALS,
    pa.dictionary(pa.uint8(), pa.string()): st.sampled_from(["a", "b", "", "of more than 12"]),
    pa.dictionary(pa.int32(), pa.int64()): st.sampled_from([0, -1, 2**62]),
    pa.null(): st.none(),
}
WORD = 2**64


def mum(a: int, b: int) -> int:
    upper, lower = divmod(a * b, WORD)
    return upper ^ lower


def word(w: int) -> int:
    return mum(w % WORD ^ 0xA0761D6478BD642F, 0xE7037ED1A0B428DB)


def joined(row: int, value: int) -> int:
    return mum(row ^ value ^ 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3)


def text_hash(data: bytes) -> int:
    size = len(data)
    h = size * 0x9E3779B97F4A7C15 % WORD
    if size <= 32:
        begins = [0, size - 16][: 1 + (size > 16)]
    elif size <= 64:
        begins = [0, 16, size - 32, size - 16]
    else:
        begins = [n for n in range(0, size, 16) if n // 64 < (size - 1) // 64]
        begins += range(size - 64, size, 16)
    for begin in begins:
        block = int.from_bytes(data[begin : begin + 16], "little")
        h = mum(block % WORD ^ h ^ 0xA0761D6478BD642F, block // WORD ^ 0xE7037ED1A0B428DB)
    return h


def value_hash(value: Any) -> int:
    """The specification, over Python values rather than buffers."""
    match value:
        case None:
            return 0x8EBC6AF09C88C6E3
        case float() if value != value:
            return word(0x7FF8000000000000)
        case float():
            return word(struct.unpack("<Q", struct.pack("<d", value + 0.0))[0])
        case int():
            return word(value)
        case Decimal():
            sign, digits, exponent = value.normalize().as_tuple()
            assert isinstance(exponent, int)
            number = int("".join(map(str, digits))) * (-1 if sign else 1)
            scale = -exponent if number else 0
            return joined(text_hash(number.to_bytes(16, "little", signed=True)), word(scale))
    return text_hash(value.encode() if isinstance(value, str) else value)


def expected_hashes(*columns: list[Any]) -> list[int]:
    hashes = []
    for row in zip(*columns, strict=True):
        h = 0
        for value in row:
            h = joined(h, value_hash(value))
        hashes.append(h)
    return hashes


def hashes_of(hashing: ModuleType, *columns: Any) -> list[int]:
    found: list[int] = hashing.row_hashes(columns).to_pylist()
    return found


# What the hash is


def vector_values(type_name: str, values: list[str | None]) -> list[Any]:
    kind = TYPES[type_name]
    read: Any = int
    if pa.types.is_string(kind):
        read = str
    elif pa.types.is_floating(kind):
        read = float
    elif pa.types.is_decimal(kind):
        read = Decimal
    elif pa.types.is_binary(kind):
        read = bytes.fromhex
    elif pa.types.is_boolean(kind):
        read = "1".__eq__
    return [None if value is None else read(value) for value in values]


@pytest.mark.parametrize("case", VECTORS["cases"])
def test_vectors(hashing: ModuleType, case: dict[str, Any]) -> None:
    values = [vector_values(column["type"], column["values"]) for column in case["columns"]]
    columns = [
        pa.array(mine, TYPES[column["type"]])
        for mine, column in zip(values, case["columns"], strict=True)
    ]
    assert case["hashes"] == [f"{h:016x}" for h in hashing.row_hashes(columns).to_pylist()]
    assert case["hashes"] == [f"{h:016x}" for h in expected_hashes(*values)]
    for groups, expected in case["groups"].items():
        found = hashing.key_groups(columns, int(groups))
        assert pa.int32() == found.type
        assert expected == found.to_pylist()


@settings(max_examples=300)
@given(data=st.data())
def test_random_columns(hashing: ModuleType, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, 12))
    chosen = data.draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=3))
    values, arrays = [], []
    for kind in chosen:
        value = st.none() | COLUMNS[kind]
        values.append(data.draw(st.lists(value, min_size=length, max_size=length)))
        arrays.append(pa.array(values[-1], kind))
    expected = expected_hashes(*values)
    assert expected == hashes_of(hashing, *arrays)
    start = data.draw(st.integers(0, length))
    stop = data.draw(st.integers(start, length))
    sliced = [column.slice(start, stop - start) for column in arrays]
    assert expected[start:stop] == hashes_of(hashing, *sliced)
    groups = data.draw(st.integers(1, 2**31 - 1))
    owners = data.draw(st.integers(1, groups))
    expected = [(h >> 32) * groups >> 32 for h in expected]
    assert expected == hashing.key_groups(arrays, groups).to_pylist()
    expected = [group * owners // groups for group in expected]
    assert expected == hashing.key_owners(arrays, groups, owners).to_pylist()


@pytest.mark.parametrize("size", [*range(70), *range(125, 133), 192, 193, 300])
def test_bytes_of_every_size(hashing: ModuleType, size: int) -> None:
    values = [bytes((begin + n) % 256 for n in range(size)) for begin in range(3)]
    for kind in (pa.binary(), pa.binary_view(), pa.binary(size)):
        assert expected_hashes(values) == hashes_of(hashing, pa.array(values, kind))


def test_more_rows_than_are_hashed_at_once(hashing: ModuleType) -> None:
    numbers = [None if row % 7 == 0 else row for row in range(3001)]
    texts = [None if row % 5 == 0 else f"device-{row:0{row % 30}}" for row in range(3001)]
    small = [None if row % 3 == 0 else row % 100 - 50 for row in range(3001)]
    columns = [pl.Series(numbers), pl.Series(texts), pl.Series(small, dtype=pl.Int8)]
    assert expected_hashes(numbers, texts, small) == hashes_of(hashing, *columns)
    assert expected_hashes(texts[1029:]) == hashes_of(hashing, columns[1][1029:])


# Values, whatever their layout


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(),
        pa.uint8(),
        pa.int16(),
        pa.uint16(),
        pa.int32(),
        pa.uint32(),
        pa.uint64(),
        pa.int64(),
        pa.bool8(),
        pa.time32("ms"),
        pa.duration("s"),
    ],
    ids=str,
)
def test_integers_agree_whatever_their_width(hashing: ModuleType, kind: pa.DataType) -> None:
    values = [0, 5, None, 127]
    assert expected_hashes(values) == hashes_of(hashing, pa.array(values, kind))


def test_integers_keep_their_sign(hashing: ModuleType) -> None:
    for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.date32(), pa.timestamp("ns")):
        assert expected_hashes([-1, -128]) == hashes_of(hashing, pa.array([-1, -128], kind))
    for width in (8, 16, 32):
        column = pa.array([2**width - 1], getattr(pa, f"uint{width}")())
        assert expected_hashes([2**width - 1]) == hashes_of(hashing, column)


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
        pa.dictionary(pa.uint16(), pa.binary_view()),
    ],
    ids=str,
)
def test_text_agrees_whatever_its_layout(hashing: ModuleType, kind: pa.DataType) -> None:
    values = ["store-1", None, "", "a text of more than twelve bytes", "store-1"]
    if pa.types.is_dictionary(kind):
        distinct = pa.array([values[0], *values[2:4]]).cast(kind.value_type)
        indices = pa.array([0, None, 1, 2, 0], kind.index_type)
        column = pa.DictionaryArray.from_arrays(indices, distinct)
    else:
        column = pa.array(values, pa.string()).cast(kind)
    assert kind == column.type
    assert expected_hashes(values) == hashes_of(hashing, column)
    assert expected_hashes(values[1:4]) == hashes_of(hashing, column[1:4])


@pytest.mark.parametrize(
    "kind", [pa.decimal32(9, 2), pa.decimal64(18, 4), pa.decimal128(20, 2), pa.decimal128(38, 9)]
)
def test_decimals_agree_whatever_their_scale(hashing: ModuleType, kind: pa.DataType) -> None:
    values = [Decimal("1.5"), None, Decimal("-0.05"), Decimal("300"), Decimal(0), Decimal("12e4")]
    assert expected_hashes(values) == hashes_of(hashing, pa.array(values, kind))


def test_decimals_of_many_digits(hashing: ModuleType) -> None:
    whole = ["12345678901234567890123456", "-10000000000000000000000000", "9223372036854775808"]
    values = [Decimal(text) for text in (*whole, "-9223372036854775808", "18446744073709551616")]
    assert expected_hashes(values) == hashes_of(hashing, pa.array(values, pa.decimal128(38, 9)))


def test_a_frame_of_polars(hashing: ModuleType) -> None:
    day, time = dt.date(2024, 2, 29), dt.time(1, 2, 3)
    frame = pl.DataFrame({"store": ["a", None, "b"], "n": [1, 2, None], "day": [day, None, day]})
    frame = frame.with_columns(
        kind=pl.col("store").cast(pl.Categorical),
        one_of=pl.col("store").cast(pl.Enum(["b", "a"])),
        bytes=pl.col("store").cast(pl.Binary),
        nothing=pl.lit(None),
        at=pl.lit(time),
        f32=pl.lit(0.1, pl.Float32),
    )
    texts, days = ["a", None, "b"], [19782, None, 19782]
    nanoseconds = ((1 * 60 + 2) * 60 + 3) * 10**9
    near = struct.unpack("<f", struct.pack("<f", 0.1))[0]
    expected = expected_hashes(
        *(texts, [1, 2, None], days, texts, texts, texts), [None] * 3, [nanoseconds] * 3, [near] * 3
    )
    assert expected == hashes_of(hashing, *frame)
    assert expected[1:] == hashes_of(hashing, *frame[1:])
    for compatible in (pl.CompatLevel.oldest(), pl.CompatLevel.newest()):
        columns = [column.to_arrow(compat_level=compatible) for column in frame]
        assert expected == hashes_of(hashing, *columns)


def test_views_into_several_buffers(hashing: ModuleType) -> None:
    parts = [[f"a text of more than twelve bytes, {n}-{m}" for m in range(n)] for n in range(5)]
    column = pl.concat([pl.Series(part, dtype=pl.String) for part in parts], rechunk=True)
    assert 1 == column.n_chunks()
    assert expected_hashes([text for part in parts for text in part]) == hashes_of(hashing, column)


def test_null_under_a_stale_value(hashing: ModuleType) -> None:
    """The bytes behind a null are not looked at."""
    bits = pa.py_buffer(b"\x01")
    words = pa.py_buffer(struct.pack("=qq", 5, 99))
    column = pa.Array.from_buffers(pa.int64(), 2, [bits, words])
    assert expected_hashes([5, None]) == hashes_of(hashing, column)
    views = pa.py_buffer(struct.pack("=i12siiii", 1, b"a", -1, -1, -1, -1))
    column = pa.Array.from_buffers(pa.string_view(), 2, [bits, views])
    assert expected_hashes(["a", None]) == hashes_of(hashing, column)


def test_a_dictionary_with_a_null_in_it(hashing: ModuleType) -> None:
    column = pa.DictionaryArray.from_arrays([0, 1, None, 1], pa.array(["a", None]))
    assert expected_hashes(["a", None, None, None]) == hashes_of(hashing, column)


def test_what_a_view_does_not_count_is_not_looked_at(hashing: ModuleType) -> None:
    views = pa.py_buffer(struct.pack("=i12si12s", 3, b"abc" + b"x" * 9, 9, b"abcdefghi" + b"y" * 3))
    column = pa.Array.from_buffers(pa.string_view(), 2, [None, views])
    assert expected_hashes(["abc", "abcdefghi"]) == hashes_of(hashing, column)


def test_no_rows(hashing: ModuleType) -> None:
    for kind in COLUMNS:
        for column in (pa.array([], kind), pa.chunked_array([], kind), pa.array([None], kind)[:0]):
            assert pa.array([], pa.int32()) == hashing.key_groups([column], 8)
            assert pa.array([], pa.uint64()) == hashing.row_hashes([column])
    bare = pa.Array.from_buffers(pa.large_string(), 0, [None, pa.py_buffer(b""), pa.py_buffer(b"")])
    assert [] == hashes_of(hashing, bare)
    assert [] == hashes_of(hashing, pl.Series([], dtype=pl.String))


# How good it is


def key_sets() -> dict[str, list[pl.Series]]:
    few = range(20_000)
    letters = [bytes(c) for c in product(b"abcdefghijklmnopqrstuvwxyz", repeat=3)]
    grid = pl.DataFrame(list(product(range(150), range(130))), schema=["a", "b"], orient="row")
    return {
        "numbers": [pl.Series(few)],
        "negative": [pl.Series([-n for n in few])],
        "times": [pl.Series([1_700_000_000_000_000 + 10_000_000 * n for n in few])],
        "upper bits": [pl.Series([n << 48 for n in few], dtype=pl.UInt64)],
        "floats": [pl.Series([float(n) for n in few])],
        "hundredths": [pl.Series([n / 100 for n in few])],
        "names": [pl.Series([f"device-{n}" for n in few])],
        "digits": [pl.Series([str(n) for n in few])],
        "letters": [pl.Series(letters)],
        "long": [pl.Series([f"https://example.org/{n}/readings" for n in few])],
        "two numbers": grid.get_columns(),
        "text and number": [grid["a"].cast(pl.String), grid["b"]],
    }


@pytest.mark.parametrize("name", key_sets())
def test_groups_are_even(hashing: ModuleType, name: str) -> None:
    """Orderly keys, the worst for a weak hash, fill the groups as random ones would."""
    columns = key_sets()[name]
    hashes = hashes_of(hashing, *columns)
    assert len(hashes) == len(set(hashes))
    for groups in (7, 128):
        counts = [0] * groups
        for group in hashing.key_groups(columns, groups).to_pylist():
            counts[group] += 1
        even = len(hashes) / groups
        chi_square = sum((count - even) ** 2 / even for count in counts)
        assert chi_square < groups - 1 + 5 * (2 * (groups - 1)) ** 0.5
    lower = len({h % 2**32 for h in hashes})
    assert len(hashes) - 5 < lower


def test_short_bytes_do_not_collide(hashing: ModuleType) -> None:
    values = [bytes(c) for size in range(3) for c in product(range(256), repeat=size)]
    values += [bytes(size) for size in range(3, 100)]
    hashes = hashes_of(hashing, pl.Series(values))
    assert len(values) == len(set(hashes))


@pytest.mark.parametrize("kind", [pl.Int64, pl.Binary])
def test_a_changed_bit_changes_half_of_the_hash(hashing: ModuleType, kind: Any) -> None:
    words = pl.Series([word(n) for n in range(600)], dtype=pl.UInt64)
    before = pl.concat([words] * 64)
    bit = pl.Series([n for n in range(64) for _ in range(600)])
    mask = pl.Series([1 << n for n in range(64) for _ in range(600)], dtype=pl.UInt64)
    hashes = []
    for number in (before, before ^ mask):
        column = number.rechunk().reinterpret(signed=True)
        if kind == pl.Binary:
            column = pl.Series([n.to_bytes(8, "little") for n in number])
        hashes.append(pl.Series(hashing.row_hashes([column])))
    changed = pl.DataFrame({"bit": bit, "d": hashes[0] ^ hashes[1]})
    shares = changed.group_by("bit").agg(
        ((pl.col("d") // 2**n) % 2).mean().alias(f"{n}") for n in range(64)
    )
    cells = shares.drop("bit").unpivot()["value"]
    lowest, highest = cells.min(), cells.max()
    assert isinstance(lowest, float)
    assert isinstance(highest, float)
    assert 0.4 < lowest < highest < 0.6


# What cannot be hashed


@pytest.mark.parametrize("groups", [0, -1, 2**31])
def test_wrong_groups(hashing: ModuleType, groups: int) -> None:
    with pytest.raises(ValueError, match="groups must be in"):
        hashing.key_groups([pa.array([1])], groups)


@pytest.mark.parametrize("owners", [0, -1, 129])
def test_wrong_owners(hashing: ModuleType, owners: int) -> None:
    with pytest.raises(ValueError, match=r"owners must be in 1 \.\. 128"):
        hashing.key_owners([pa.array([1])], 128, owners)


def test_wrong_columns(hashing: ModuleType) -> None:
    with pytest.raises(ValueError, match="at least one column"):
        hashing.row_hashes([])
    with pytest.raises(ValueError, match=r"differ in length: \[1, 2\]"):
        hashing.row_hashes([pa.array([1]), pa.array([1, 2])])
    for one in (pa.array([1]), pa.chunked_array([[1]]), pl.Series([1]), 7):
        with pytest.raises(TypeError, match="sequence of columns"):
            hashing.row_hashes(one)
    for no_column in ([1], 7, None):
        with pytest.raises(TypeError, match="polars or Arrow column"):
            hashing.row_hashes([no_column])


def test_types_that_are_no_keys(hashing: ModuleType) -> None:
    two_deep = pa.DictionaryArray.from_arrays([0], pa.array(["a"]).dictionary_encode())
    for column in (
        pa.array([[1]]),
        pa.array([{"a": 1}]),
        pa.nulls(1, pa.decimal256(50, 2)),
        pa.nulls(1, pa.month_day_nano_interval()),
        pa.nulls(1, pa.run_end_encoded(pa.int32(), pa.int64())),
        pl.DataFrame({"a": [1]}),
        pl.Series([1], dtype=pl.Int128),
        two_deep,
    ):
        with pytest.raises(TypeError, match="cannot be a key"):
            hashing.row_hashes([column])


def test_several_chunks(hashing: ModuleType) -> None:
    for column in (pl.Series([1]).append(pl.Series([2])), pa.chunked_array([[1], [2]])):
        with pytest.raises(ValueError, match=r"make them one with rechunk\(\)"):
            hashing.row_hashes([column])
    assert expected_hashes([1]) == hashes_of(hashing, pa.chunked_array([[1]]))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, 3]),
        pa.array([1, 2, 3], pa.int16()),
        pa.array([0.5, 1.5]),
        pa.array(["store-1", None, "x"]),
        pa.array(["store-1", "y"], pa.large_string()),
        pa.array(["a text of more than twelve bytes", None], pa.string_view()),
        pa.array(["a", "b"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_truncated_at_every_byte(hashing: ModuleType, column: pa.Array) -> None:
    """A buffer that is too short by any number of bytes raises; nothing past it is read."""
    buffers = column.buffers()
    dictionary = column.dictionary if pa.types.is_dictionary(column.type) else None
    for place, buffer in enumerate(buffers):
        if buffer is None:
            continue
        used = _used(column, place)
        for size in range(used):
            cut = pa.py_buffer(buffer.to_pybytes()[:size])
            broken = [*buffers[:place], cut, *buffers[place + 1 :]]
            with pytest.raises(ValueError):  # noqa: PT011  # Arrow words most of these itself
                hashing.row_hashes([_rebuilt(column.type, len(column), broken, dictionary)])


def _used(column: pa.Array, place: int) -> int:
    """How many bytes of a buffer the rows of `column` need."""
    kind, rows = column.type, len(column)
    if place == 0:
        return (rows + 7) // 8
    if place == 2:
        return sum(len(value) for value in column.to_pylist() if value is not None)
    if pa.types.is_string(kind):
        return 4 * (rows + 1)
    if pa.types.is_large_string(kind):
        return 8 * (rows + 1)
    if pa.types.is_dictionary(kind):
        return 4 * rows
    return 16 * rows if kind == pa.string_view() else rows * int(kind.bit_width) // 8


def _rebuilt(
    kind: pa.DataType, rows: int, buffers: list[pa.Buffer], dictionary: pa.Array | None
) -> pa.Array:
    if dictionary is None:
        return pa.Array.from_buffers(kind, rows, buffers)
    indices = pa.Array.from_buffers(kind.index_type, rows, buffers)
    return pa.DictionaryArray.from_arrays(indices, dictionary, safe=False)


@pytest.mark.parametrize("offsets", [(0, 99, 2), (0, -1, 2), (2, 1, 2), (-8, 0, 2), (0, 1, 99)])
def test_offsets_outside_the_data(hashing: ModuleType, offsets: tuple[int, int, int]) -> None:
    for kind, code in ((pa.large_string(), "=qqq"), (pa.string(), "=iii")):
        places = pa.py_buffer(struct.pack(code, *offsets))
        buffers = [None, places, pa.py_buffer(b"ab")]
        with pytest.raises(ValueError, match=r"[Oo]ffset|row \d: its value lies outside"):
            hashing.row_hashes([pa.Array.from_buffers(kind, 2, buffers)])


@pytest.mark.parametrize(
    ("size", "block", "begin"),
    [
        (-1, 0, 0),
        (-(2**31), 0, 0),
        (13, 1, 0),
        (13, -1, 0),
        (13, 0, 8),
        (13, 0, -1),
        (21, 0, 0),
        (2**31 - 1, 0, 0),
        (2**31 - 1, 0, 2**31 - 1),
    ],
)
def test_views_outside_the_data(hashing: ModuleType, size: int, block: int, begin: int) -> None:
    good = struct.pack("=i4sii", 13, b"good", 0, 7)
    views = pa.py_buffer(good + good + struct.pack("=i4sii", size, b"evil", block, begin))
    column = pa.Array.from_buffers(pa.string_view(), 3, [None, views, pa.py_buffer(b"x" * 20)])
    with pytest.raises(ValueError, match="row 2: its value lies outside the data"):
        hashing.row_hashes([column])
    assert expected_hashes(["x" * 13] * 2) == hashes_of(hashing, column[:2])
    many = pa.Array.from_buffers(
        pa.string_view(),
        2001,
        [None, pa.py_buffer(good * 2000 + bytes(views)[32:]), pa.py_buffer(b"x" * 20)],
    )
    with pytest.raises(ValueError, match="row 2000: its value lies outside the data"):
        hashing.key_groups([many], 128)


@pytest.mark.parametrize("index", [1, 7, -1, 2**31 - 1])
def test_dictionary_index_outside(hashing: ModuleType, index: int) -> None:
    indices = pa.array([0, index], pa.int32())
    column = pa.DictionaryArray.from_arrays(indices, pa.array(["a"]), safe=False)
    with pytest.raises(ValueError, match="row 1: its value lies outside the data"):
        hashing.row_hashes([column])
