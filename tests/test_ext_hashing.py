"""Row hashes and key groups: both kernels against the specification and its vectors."""

from __future__ import annotations

import json
import struct
from decimal import Decimal
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
    "date32": pa.date32(),
    "time32[s]": pa.time32("s"),
    "timestamp[us]": pa.timestamp("us"),
    "duration[ns]": pa.duration("ns"),
}
COLUMNS = st.one_of(
    st.tuples(st.just(pa.int64()), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(pa.int16()), st.integers(-(2**15), 2**15 - 1)),
    st.tuples(st.just(pa.uint64()), st.integers(0, 2**64 - 1)),
    st.tuples(st.just(pa.bool_()), st.booleans()),
    st.tuples(st.just(pa.float64()), st.floats()),
    st.tuples(st.just(pa.string()), st.text(max_size=20)),
    st.tuples(st.just(pa.large_string()), st.text(max_size=5)),
    st.tuples(st.just(pa.string_view()), st.text(max_size=30)),
    st.tuples(st.just(pa.binary()), st.binary(max_size=9)),
    st.tuples(st.just(pa.binary_view()), st.binary(max_size=30)),
    st.tuples(st.just(pa.timestamp("us", "UTC")), st.integers(-(2**50), 2**50)),
    st.tuples(st.just(pa.dictionary(pa.int32(), pa.string())), st.sampled_from(["a", "b", ""])),
)
WORD = 2**64


def finalizer(z: int) -> int:
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


def value_hash(value: Any) -> int:
    """The specification, over Python values rather than buffers."""
    match value:
        case None:
            return 0x9E3779B97F4A7C15
        case float() if value != value:
            return finalizer(0x7FF8000000000000)
        case float():
            return finalizer(struct.unpack("<Q", struct.pack("<d", value + 0.0))[0])
        case int():
            return finalizer(value % WORD)
    h = 0xCBF29CE484222325
    for byte in value.encode() if isinstance(value, str) else value:
        h = (h ^ byte) * 0x100000001B3 % WORD
    return finalizer(h)


def expected_hashes(columns: list[list[Any]]) -> list[int]:
    hashes = []
    for row in zip(*columns, strict=True):
        h = 0
        for value in row:
            h = finalizer((h * 31 + value_hash(value)) % WORD)
        hashes.append(h)
    return hashes


def vector_column(type_name: str, values: list[str | None]) -> pa.Array:
    kind = TYPES[type_name]
    if pa.types.is_string(kind):
        return pa.array(values, kind)
    read: Any = int
    if pa.types.is_floating(kind):
        read = float
    elif pa.types.is_decimal(kind):
        read = Decimal
    elif pa.types.is_binary(kind):
        read = bytes.fromhex
    elif pa.types.is_boolean(kind):
        read = "1".__eq__
    return pa.array([None if value is None else read(value) for value in values], kind)


@pytest.mark.parametrize("case", VECTORS["cases"])
def test_vectors(hashing: ModuleType, case: dict[str, Any]) -> None:
    columns = [vector_column(column["type"], column["values"]) for column in case["columns"]]
    assert case["hashes"] == [f"{h:016x}" for h in hashing.row_hashes(columns).to_pylist()]
    for groups, expected in case["groups"].items():
        found = hashing.key_groups(columns, int(groups))
        assert pa.int32() == found.type
        assert expected == found.to_pylist()


def test_published_values() -> None:
    """The parts are the published functions: splitmix64 from seed 0, and FNV-1a 64."""
    assert 0xE220A8397B1DCDAF == finalizer(0x9E3779B97F4A7C15)
    assert finalizer(0xAF63DC4C8601EC8C) == value_hash("a")
    assert finalizer(0x85944171F73967E8) == value_hash(b"foobar")


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_random_columns(hashing: ModuleType, data: st.DataObject) -> None:
    length = data.draw(st.integers(0, 12))
    chosen = data.draw(st.lists(COLUMNS, min_size=1, max_size=3))
    values, arrays = [], []
    for kind, sample in chosen:
        column = data.draw(st.lists(st.none() | _like(sample), min_size=length, max_size=length))
        values.append(column)
        arrays.append(pa.array(column, kind))
    expected = expected_hashes(values)
    assert expected == hashing.row_hashes(arrays).to_pylist()
    start = data.draw(st.integers(0, length))
    stop = data.draw(st.integers(start, length))
    sliced = [column.slice(start, stop - start) for column in arrays]
    assert expected[start:stop] == hashing.row_hashes(sliced).to_pylist()
    groups = data.draw(st.integers(1, 2**31 - 1))
    assert [(h >> 32) * groups >> 32 for h in expected] == (
        hashing.key_groups(arrays, groups).to_pylist()
    )


def _like(sample: Any) -> st.SearchStrategy[Any]:
    match sample:
        case bool():
            return st.booleans()
        case int() if sample < -(2**15) or sample >= 2**15:
            return st.sampled_from([sample, 0, 1])
        case int():
            return st.integers(0, 2**15 - 1)
        case float():
            return st.sampled_from([sample, 0.0, -0.0]) | st.floats()
        case str():
            return st.sampled_from([sample, "a", "b", ""])
        case _:
            return st.sampled_from([sample, b"", b"\x00", b"\x00" * 13])


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint8(), pa.int32(), pa.uint32(), pa.uint64(), pa.int64()], ids=str
)
def test_integers_agree_whatever_their_width(hashing: ModuleType, kind: pa.DataType) -> None:
    values = [0, 5, None, 127]
    assert expected_hashes([values]) == hashing.row_hashes([pa.array(values, kind)]).to_pylist()


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
    ],
    ids=str,
)
def test_text_agrees_whatever_its_layout(hashing: ModuleType, kind: pa.DataType) -> None:
    values = ["store-1", None, "", "a text of more than twelve bytes", "store-1"]
    column = pa.array([v if v is None else v.encode() for v in values], pa.binary())
    if not (pa.types.is_binary(kind) or pa.types.is_binary_view(kind)):
        column = pa.array(values, pa.string())
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type).dictionary_encode()
    column = column.cast(kind)
    assert kind == column.type
    assert expected_hashes([values]) == hashing.row_hashes([column]).to_pylist()
    assert expected_hashes([values[1:4]]) == hashing.row_hashes([column[1:4]]).to_pylist()


@pytest.mark.parametrize(
    "kind", [pa.decimal32(5, 2), pa.decimal64(9, 2), pa.decimal128(20, 2), pa.decimal256(50, 2)]
)
def test_decimals_hash_as_their_text(hashing: ModuleType, kind: pa.DataType) -> None:
    column = pa.array([Decimal("1.50"), None, Decimal("-0.05")], kind)
    assert expected_hashes([["1.50", None, "-0.05"]]) == hashing.row_hashes([column]).to_pylist()


def test_half_floats_dates_and_nulls(hashing: ModuleType) -> None:
    for column, values in (
        (pa.array([1.5, None], pa.float32()).cast(pa.float16()), [1.5, None]),
        (pa.array([86_400_000, None], pa.date64()), [86_400_000, None]),
        (pa.array([7, None], pa.time64("ns")), [7, None]),
        (pa.nulls(2), [None, None]),
        (pa.array([b"ab", None], pa.binary(2)), [b"ab", None]),
    ):
        assert expected_hashes([values]) == hashing.row_hashes([column]).to_pylist()


def test_a_frame_of_polars(hashing: ModuleType) -> None:
    frame = pl.DataFrame({"store": ["a", None, "b"], "n": [1, 2, None]})
    frame = frame.with_columns(kind=pl.col("store").cast(pl.Categorical))
    expected = expected_hashes([["a", None, "b"], [1, 2, None], ["a", None, "b"]])
    for compatible in (pl.CompatLevel.oldest(), pl.CompatLevel.newest()):
        columns = [column.to_arrow(compat_level=compatible) for column in frame.get_columns()]
        assert expected == hashing.row_hashes(columns).to_pylist()


def test_null_under_a_stale_value(hashing: ModuleType) -> None:
    """The bytes behind a null are not looked at."""
    bits = pa.py_buffer(b"\x01")
    words = pa.py_buffer(struct.pack("=qq", 5, 99))
    column = pa.Array.from_buffers(pa.int64(), 2, [bits, words])
    assert expected_hashes([[5, None]]) == hashing.row_hashes([column]).to_pylist()


def test_no_rows(hashing: ModuleType) -> None:
    for kind in (pa.int64(), pa.float64(), pa.string(), pa.string_view(), pa.null()):
        assert pa.array([], pa.int32()) == hashing.key_groups([pa.array([], kind)], 8)
        assert pa.array([], pa.uint64()) == hashing.row_hashes([pa.array([], kind)])
    bare = pa.Array.from_buffers(pa.large_string(), 0, [None, pa.py_buffer(b""), pa.py_buffer(b"")])
    assert [] == hashing.row_hashes([bare]).to_pylist()


def test_groups_are_even(hashing: ModuleType) -> None:
    """Consecutive numbers, the worst keys of a weak hash, fill every group about equally."""
    found = pl.from_arrow(hashing.key_groups([pa.array(range(16_000))], 16))
    assert isinstance(found, pl.Series)
    sizes = found.value_counts().get_column("count")
    assert 16 == len(sizes)
    assert 850 < sizes.min() <= sizes.max() < 1150  # type: ignore[operator]


@pytest.mark.parametrize("groups", [0, -1, 2**31])
def test_wrong_groups(hashing: ModuleType, groups: int) -> None:
    with pytest.raises(ValueError, match="groups must be in"):
        hashing.key_groups([pa.array([1])], groups)


def test_wrong_columns(hashing: ModuleType) -> None:
    with pytest.raises(ValueError, match="at least one column"):
        hashing.row_hashes([])
    with pytest.raises(ValueError, match=r"differ in length: \[1, 2\]"):
        hashing.row_hashes([pa.array([1]), pa.array([1, 2])])
    for nested in (pa.array([[1]]), pa.array([{"a": 1}])):
        with pytest.raises(TypeError, match="cannot be hashed"):
            hashing.row_hashes([nested])
    for no_column in (pa.array([1]), pa.chunked_array([[1]]), 7):
        with pytest.raises(TypeError, match="sequence of pyarrow.Array"):
            hashing.row_hashes(no_column)
    with pytest.raises(TypeError, match="not ChunkedArray"):
        hashing.row_hashes([pa.chunked_array([[1]])])


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
        with pytest.raises(ValueError, match=r"[Oo]ffset"):
            hashing.row_hashes([pa.Array.from_buffers(kind, 2, buffers)])


def test_dictionary_index_outside(hashing: ModuleType) -> None:
    indices = pa.array([0, 7], pa.int32())
    column = pa.DictionaryArray.from_arrays(indices, pa.array(["a"]), safe=False)
    with pytest.raises(ValueError, match="indices invalid"):
        hashing.row_hashes([column])
