"""Kafka's partitioner and splitting by part: both kernels against Kafka's own class and loops."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from . import components

VECTORS = json.loads((Path(__file__).parent / "vectors/murmur2.json").read_text("utf-8"))
KEYS = [bytes.fromhex(key) for key, *_ in VECTORS["cases"]]
HASHES = {key: case[1] for key, case in zip(KEYS, VECTORS["cases"], strict=True)}
TEXTS = ["21", "foobar", "a-little-bit-long-string", "abc", "Zürich", "東京", "kafka"]
WORD = 2**32


@pytest.fixture(scope="module", params=components.KINDS)
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """The twin, then the compiled kernel."""
    return components.kernel("partitioning", request.param)


def murmur2(key: bytes) -> int:
    """MurmurHash2 in another form than the kernels have, the bytes padded to whole words."""
    words = [word for (word,) in struct.iter_unpack("<I", key + bytes(-len(key) % 4))]
    tail = words.pop() if len(key) % 4 else None
    h = 0x9747B28C ^ len(key)
    for word in words:
        mixed = word * 0x5BD1E995 % WORD
        mixed = (mixed ^ mixed >> 24) * 0x5BD1E995 % WORD
        h = h * 0x5BD1E995 % WORD ^ mixed
    if tail is not None:
        h = (h ^ tail) * 0x5BD1E995 % WORD
    h = (h ^ h >> 13) * 0x5BD1E995 % WORD
    h ^= h >> 15
    return h - WORD if h >= WORD // 2 else h


# Kafka's partitioner


def test_vectors_of_kafka(twin: ModuleType) -> None:
    column = pl.Series(KEYS, dtype=pl.Binary)
    found = twin.murmur2(column)
    assert pa.int32() == found.type
    assert [case[1] for case in VECTORS["cases"]] == found.to_pylist()
    for place, partitions in enumerate(VECTORS["partitions"], 2):
        found = twin.kafka_partitions(column, partitions)
        assert pa.int32() == found.type
        assert [case[place] for case in VECTORS["cases"]] == found.to_pylist()


def test_the_vectors_hold_what_kafka_tests() -> None:
    """The pairs that stand in the tests of Kafka itself."""
    for key, expected in {
        b"21": -973932308,
        b"foobar": -790332482,
        b"a-little-bit-long-string": -985981536,
        b"a-little-bit-longer-string": -1486304829,
        b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        b"abc": 479470107,
    }.items():
        assert expected == HASHES[key]


@settings(max_examples=200)
@given(
    keys=st.lists(st.none() | st.binary(max_size=14) | st.binary(max_size=70), max_size=20),
    start=st.integers(0, 8),
    partitions=st.integers(1, 2**31 - 1),
)
def test_random_keys(
    twin: ModuleType, keys: list[bytes | None], start: int, partitions: int
) -> None:
    expected = [None if key is None else murmur2(key) for key in keys[start:]]
    for column in (
        pl.Series(keys, dtype=pl.Binary)[start:],
        pa.array(keys, pa.binary())[start:],
        pa.array(keys, pa.large_binary())[start:],
        pa.array(keys, pa.binary_view())[start:],
        pa.array(keys, pa.binary()).dictionary_encode()[start:],
    ):
        assert expected == twin.murmur2(column).to_pylist()
        found = twin.kafka_partitions(column, partitions)
        assert expected.count(None) == found.null_count
        found.validate(full=True)
        assert [None if h is None else h % 2**31 % partitions for h in expected] == (
            found.to_pylist()
        )


def test_texts_are_hashed_as_utf8(twin: ModuleType) -> None:
    expected = [murmur2(text.encode()) for text in TEXTS]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        assert expected == twin.murmur2(pa.array(TEXTS, kind)).to_pylist()
    for dtype in (pl.String, pl.Categorical, pl.Enum(TEXTS)):
        assert expected == twin.murmur2(pl.Series(TEXTS, dtype=dtype)).to_pylist()
    fixed = pa.array([b"abcde", None, b"fghij"], pa.binary(5))
    assert [murmur2(b"abcde"), None, murmur2(b"fghij")] == twin.murmur2(fixed).to_pylist()
    identity = pa.array([bytes(range(16))], pa.uuid())
    assert [murmur2(bytes(range(16)))] == twin.murmur2(identity).to_pylist()


def test_null_keys(twin: ModuleType) -> None:
    assert [None, None] == twin.murmur2(pa.nulls(2)).to_pylist()
    assert [None] == twin.kafka_partitions(pl.Series([None], dtype=pl.String), 3).to_pylist()
    column = pa.DictionaryArray.from_arrays([0, 1, None], pa.array(["abc", None]))
    assert [479470107, None, None] == twin.murmur2(column).to_pylist()
    for kind in (pa.string(), pa.string_view(), pa.null(), pa.binary(3)):
        for column in (pa.array([], kind), pa.chunked_array([], kind)):
            assert pa.array([], pa.int32()) == twin.murmur2(column)


def test_keys_that_cannot_be_hashed(twin: ModuleType) -> None:
    with pytest.raises(TypeError, match=r"cannot be a key|a key of Kafka is"):
        twin.murmur2(pl.Series([["abc"]]))
    for column in (pl.Series([1]), pa.array([1]).dictionary_encode()):
        with pytest.raises(TypeError, match="a key of Kafka is a string or bytes, not"):
            twin.murmur2(column)
    for no_column in (b"abc", ["abc"], None):
        with pytest.raises(TypeError, match="polars or Arrow column"):
            twin.murmur2(no_column)
    with pytest.raises(ValueError, match=r"make them one with rechunk\(\)"):
        twin.murmur2(pl.Series(["a"]).append(pl.Series(["b"])))
    for partitions in (0, -1, 2**31):
        with pytest.raises(ValueError, match=r"partitions must be in 1 \.\. 2\*\*31 - 1"):
            twin.kafka_partitions(pl.Series(["a"]), partitions)


@pytest.mark.parametrize("bad", [(-1, 0, 0), (13, 1, 0), (13, -1, 0), (13, 0, 8), (13, 0, -1)])
def test_views_outside_the_data(twin: ModuleType, bad: tuple[int, int, int]) -> None:
    size, block, begin = bad
    good = struct.pack("=i4sii", 13, b"good", 0, 7)
    views = pa.py_buffer(good + struct.pack("=i4sii", size, b"evil", block, begin))
    column = pa.Array.from_buffers(pa.string_view(), 2, [None, views, pa.py_buffer(b"x" * 20)])
    with pytest.raises(ValueError, match="row 1: its value lies outside the data"):
        twin.murmur2(column)
    index = pa.DictionaryArray.from_arrays(pa.array([0, 7]), pa.array(["a"]), safe=False)
    with pytest.raises(ValueError, match="row 1: its value lies outside the data"):
        twin.kafka_partitions(index, 3)


# Splitting


def in_parts(parts: list[int], count: int) -> list[list[int]]:
    return [[row for row, mine in enumerate(parts) if mine == part] for part in range(count)]


def split(twin: ModuleType, parts: Any, count: int) -> list[list[int]]:
    numbers, offsets = twin.split(parts, count)
    assert pa.uint32() == numbers.type
    assert count + 1 == len(offsets)
    assert (0, len(numbers)) == (offsets[0], offsets[-1])
    rows = numbers.to_pylist()
    return [rows[offsets[part] : offsets[part + 1]] for part in range(count)]


@given(
    parts=st.integers(1, 9).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n - 1), max_size=80))
    ),
    start=st.integers(0, 9),
)
def test_rows_of_a_part_in_their_order(
    twin: ModuleType, parts: tuple[int, list[int]], start: int
) -> None:
    count, rows = parts
    expected = in_parts(rows[start:], count)
    assert expected == split(twin, pa.array(rows, pa.int32())[start:], count)
    assert expected == split(twin, pl.Series(rows, dtype=pl.Int32)[start:], count)


def test_many_parts_and_rows(twin: ModuleType) -> None:
    for count in (2, 17, 256, 257, 1200):
        rows = [murmur2(b"%d" % row) % count for row in range(5003)]
        assert in_parts(rows, count) == split(twin, pa.array(rows, pa.int32()), count)


def test_parts_that_do_not_exist(twin: ModuleType) -> None:
    for bad in (3, -1, 2**31 - 1, -(2**31)):
        with pytest.raises(IndexError, match=f"row 1: there is no part {bad} of 3"):
            twin.split(pa.array([0, bad, 1, 9], pa.int32()), 3)
    with pytest.raises(ValueError, match="row 2: its part is null"):
        twin.split(pa.array([0, 1, None], pa.int32()), 3)
    for count in (0, -1, 2**31):
        with pytest.raises(ValueError, match=r"count must be in 1 \.\. 2\*\*31 - 1"):
            twin.split(pa.array([0], pa.int32()), count)


def test_parts_of_another_type(twin: ModuleType) -> None:
    for kind in (pa.int64(), pa.uint32(), pa.date32(), pa.time32("s"), pa.float32(), pa.string()):
        with pytest.raises(TypeError, match="parts are int32, not"):
            twin.split(pa.array([], kind), 3)
    with pytest.raises(TypeError, match="parts are int32, not"):
        twin.split(pa.array([1], pa.int32()).dictionary_encode(), 3)
    with pytest.raises(ValueError, match=r"make them one with rechunk\(\)"):
        twin.split(pa.chunked_array([[0], [1]], pa.int32()), 3)


def test_keys_that_belong_together_are_in_one_partition(twin: ModuleType) -> None:
    frame = pl.DataFrame({"device": [f"device-{n % 17}" for n in range(400)], "n": range(400)})
    numbers, offsets = twin.split(twin.kafka_partitions(frame["device"], 5), 5)
    sorted_rows = frame[pl.Series(numbers)]
    for part in range(5):
        mine = sorted_rows[offsets[part] : offsets[part + 1]]
        assert all(murmur2(d.encode()) % 2**31 % 5 == part for d in mine["device"])
        assert mine["n"].is_sorted()
