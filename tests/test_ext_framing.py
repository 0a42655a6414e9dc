"""Frames: both kernels against the format, its vectors, and every way that bytes go wrong."""

from __future__ import annotations

import json
import mmap
import os
import random
import struct
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.ext import framing
from headwater.ext.framing import Ending, Frame, Scan, batch_body, batch_of

from . import components

HERE = Path(__file__).parent
SUMS = json.loads((HERE / "vectors/crc32c.json").read_text("utf-8"))["cases"]
VECTORS = json.loads((HERE / "vectors/frames.json").read_text("utf-8"))
SMALL = st.binary(max_size=150)
THREE = ((b"a header", b"a body"), (b"", b"x" * 70), (b"h" * 40, b""))


@pytest.fixture(scope="module", params=components.KINDS)
def kernel(request: pytest.FixtureRequest) -> ModuleType:
    """The twin, then the compiled kernel, without which nothing is tested if it is required."""
    return components.kernel("framing", request.param)


@pytest.fixture(scope="module")
def compiled() -> ModuleType:
    """The compiled kernel."""
    return components.kernel("framing")


def divided(data: bytes, start: int = 0) -> int:
    """The CRC32C, bit by bit as the remainder of a division is defined."""
    crc = start ^ 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if (crc ^ byte >> bit) & 1 else 0)
    return crc ^ 0xFFFFFFFF


def prologue(
    header: bytes = b"",
    body: bytes = b"",
    *,
    h: int | None = None,
    b: int | None = None,
    version: int = 1,
    reserved: int = 0,
) -> bytes:
    """A prologue with a right checksum; `h` and `b` are lengths to claim instead."""
    checked = struct.pack(
        "<4sHHIIQI",
        b"\x89HWF",
        version,
        reserved,
        len(header) if h is None else h,
        divided(header),
        len(body) if b is None else b,
        divided(body),
    )
    return checked + struct.pack("<I", divided(checked))


def frame_of(header: bytes, body: bytes) -> bytes:
    """A frame, as the format says."""
    first = prologue(header, body) + header
    return first + bytes(-len(first) % 64) + body + bytes(-len(body) % 64)


def joined(parts: list[Any]) -> bytes:
    return b"".join(map(bytes, parts))


def place(offset: int, h: int, b: int) -> Frame:
    start = offset + (32 + h + 63) // 64 * 64
    return Frame(offset, offset + 32 + h, start, start + b, start + (b + 63) // 64 * 64)


def laid_out(contents: tuple[tuple[bytes, bytes], ...]) -> tuple[bytes, tuple[Frame, ...]]:
    """Frames one after the other, and where they stand."""
    frames: list[Frame] = []
    for h, b in contents:
        frames.append(place(frames[-1].end if frames else 0, len(h), len(b)))
    return b"".join(frame_of(h, b) for h, b in contents), tuple(frames)


# CRC32C


@pytest.mark.parametrize("case", SUMS, ids=lambda case: case["name"])
def test_published_checksums(kernel: ModuleType, case: dict[str, Any]) -> None:
    data = bytes.fromhex(case["data"]) * case["times"]
    assert case["crc32c"] == f"{kernel.crc32c(data):08x}"


@given(data=st.binary(max_size=300), cut=st.integers(0, 300), start=st.integers(0, 2**32 - 1))
def test_checksum_is_the_remainder(kernel: ModuleType, data: bytes, cut: int, start: int) -> None:
    assert divided(data, start) == kernel.crc32c(data, start)
    assert divided(data) == kernel.crc32c(data[cut:], kernel.crc32c(data[:cut]))


def test_every_way_gives_the_same_at_every_length(compiled: ModuleType) -> None:
    data = random.Random(1).randbytes(70_000)
    assert "soft" == compiled.ways()[0]
    lengths = [*range(1100), 3 * 256 * 4 + 5, *range(3 * 4096 - 9, 3 * 4096 + 9), 65_537, 70_000]
    for length in lengths:
        start = length % 7
        expected = compiled.crc32c_by("soft", data[start:length], start)
        for way in compiled.ways()[1:]:
            found = compiled.crc32c_by(way, data[start:length], start)
            assert expected == found, (way, length)
        assert expected == compiled.crc32c(data[start:length], start), length
    assert divided(data) == compiled.crc32c_by("soft", data)
    with pytest.raises(ValueError, match="no way magic"):
        compiled.crc32c_by("magic", b"")


def buffers(data: bytes) -> Iterator[Any]:
    """The same bytes in every kind of buffer."""
    yield from (data, bytearray(data), memoryview(data), pa.py_buffer(data), array("B", data))
    yield memoryview(data).cast("B", (2, len(data) // 2))
    yield memoryview(data).cast("h")
    yield memoryview(b"x" + data)[1:]
    mapped = mmap.mmap(-1, len(data))
    mapped[:] = data
    yield mapped


def test_any_buffer_will_do(kernel: ModuleType) -> None:
    data = frame_of(b"header", b"body" * 20)
    for buffer in buffers(data):
        assert divided(data) == kernel.crc32c(buffer), type(buffer)
        assert (place(0, 6, 80),) == kernel.scan(buffer).frames
        assert frame_of(data, data * 2) == joined(kernel.encode(buffer, [buffer, buffer]))


def test_what_is_no_buffer(kernel: ModuleType) -> None:
    for call in (kernel.crc32c, kernel.scan, lambda data: kernel.encode(data, b"")):
        for wrong in ("text", 5, None):
            with pytest.raises(TypeError, match="bytes-like object is required"):
                call(wrong)
        for strided in (memoryview(b"abcd")[::2], memoryview(b"abcd")[::-1]):
            with pytest.raises(BufferError, match="contiguous"):
                call(strided)
    with pytest.raises(TypeError, match="bytes-like object is required"):
        kernel.encode(b"", [b"", "text"])
    for start in (-1, 2**32):
        with pytest.raises(ValueError, match=rf"start is in 0 .. 2\*\*32 - 1, not {start}"):
            kernel.crc32c(b"", start)


# Encoding


@pytest.mark.parametrize("case", VECTORS["frames"])
def test_frames_are_those_of_the_vectors(kernel: ModuleType, case: dict[str, str]) -> None:
    h, b, expected = (bytes.fromhex(case[name]) for name in ("header", "body", "frame"))
    assert expected == joined(kernel.encode(h, b)) == frame_of(h, b)


@given(h=SMALL, parts=st.lists(SMALL, max_size=4))
def test_a_body_in_parts_is_left_where_it_is(
    kernel: ModuleType, h: bytes, parts: list[bytes]
) -> None:
    for body in (parts, tuple(parts)):
        first, *rest = kernel.encode(h, body)
        assert frame_of(h, b"".join(parts)) == first + b"".join(rest)
        given_parts = [id(part) for part in parts if part]
        assert given_parts == [id(part) for part in rest[: len(given_parts)]]
        assert not any(map(len, parts)) or len(rest) - len(given_parts) in (0, 1)


def test_limits_of_what_is_written(kernel: ModuleType) -> None:
    assert frame_of(b"four", b"five5") == joined(
        kernel.encode(b"four", b"five5", max_header=4, max_body=5)
    )
    with pytest.raises(ValueError, match="the header has 5 bytes, more than the limit of 4"):
        kernel.encode(b"fives", b"", max_header=4)
    with pytest.raises(ValueError, match="the body has 6 bytes, more than the limit of 5"):
        kernel.encode(b"", [b"abc", b"def"], max_body=5)
    with pytest.raises(ValueError, match="the header has 1048577 bytes"):
        kernel.encode(bytes(2**20 + 1), b"")


@pytest.mark.parametrize(
    ("name", "wrong"), [("header", -1), ("header", 2**32), ("body", -1), ("body", 2**62 + 1)]
)
def test_limits_that_the_format_cannot_hold(kernel: ModuleType, name: str, wrong: int) -> None:
    limit = {f"max_{name}": wrong}
    with pytest.raises(ValueError, match=f"max_{name} is in 0 .. .*, not {wrong}"):
        kernel.encode(b"", b"", **limit)
    with pytest.raises(ValueError, match=f"max_{name} is in 0 .. .*, not {wrong}"):
        kernel.scan(b"", **limit)


# Scanning


@pytest.mark.parametrize("case", VECTORS["scans"], ids=lambda case: case["name"])
def test_scans_are_those_of_the_vectors(kernel: ModuleType, case: dict[str, Any]) -> None:
    frames = tuple(Frame(*numbers) for numbers in case["frames"])
    expected = Scan(
        frames, Ending(case["ending"]), case["end"], case["needed"], case["reason"], case["resume"]
    )
    assert expected == kernel.scan(bytes.fromhex(case["data"]), **case.get("limits", {}))


@given(contents=st.lists(st.tuples(SMALL, SMALL), max_size=5).map(tuple), data=st.data())
def test_what_was_written_is_found(
    kernel: ModuleType, contents: tuple[tuple[bytes, bytes], ...], data: st.DataObject
) -> None:
    written = b"".join(joined(kernel.encode(h, b)) for h, b in contents)
    expected, frames = laid_out(contents)
    assert expected == written
    found = kernel.scan(written)
    assert Scan(frames, Ending.END, len(written)) == found
    assert list(contents) == [(written[f.header], written[f.body]) for f in found.frames]
    start = data.draw(st.integers(0, len(frames)))
    offset = frames[start].offset if start < len(frames) else len(written)
    assert Scan(frames[start:], Ending.END, len(written)) == kernel.scan(written, offset)


def test_as_many_frames_as_asked_for(kernel: ModuleType) -> None:
    data, frames = laid_out(((b"h", b"b"),) * 200)
    for count in (1, 2, 63, 64, 65, 128, 199):
        expected = Scan(frames[:count], Ending.MORE, frames[count].offset)
        assert expected == kernel.scan(data, max_frames=count)
    for enough in (200, 201, 2**70):
        assert Scan(frames, Ending.END, len(data)) == kernel.scan(data, max_frames=enough)
    torn = kernel.scan(data[:-1], max_frames=200)
    assert Scan(frames[:-1], Ending.TORN, frames[-1].offset, 1) == torn
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"max_frames is at least 1, not {wrong}"):
            kernel.scan(data, max_frames=wrong)


def test_an_offset_outside(kernel: ModuleType) -> None:
    data = frame_of(b"", b"")
    for offset in (-1, 65, 2**63, -(2**70)):
        with pytest.raises(ValueError, match=f"offset {offset} is outside of the data"):
            kernel.scan(data, offset)
    assert Scan((), Ending.END, 64) == kernel.scan(data, 64)


def test_cut_at_every_byte(kernel: ModuleType) -> None:
    data, frames = laid_out(THREE)
    for length in range(len(data)):
        whole = tuple(frame for frame in frames if frame.end <= length)
        end = whole[-1].end if whole else 0
        there = length - end
        needed = (frames[len(whole)].end if there >= 32 else end + 64) - length
        expected = Scan(whole, Ending.TORN, end, needed) if there else Scan(whole, Ending.END, end)
        assert expected == kernel.scan(data[:length])


def reason_at(frame: Frame, position: int) -> str:
    """What a changed byte is an error of."""
    at = position - frame.offset
    if at < 32:
        return "magic" if at < 4 else "prologue"
    if frame.header.start <= position < frame.header.stop:
        return "header"
    return "body" if frame.body.start <= position < frame.body.stop else "padding"


@pytest.mark.parametrize("change", [0xFF, 0x01, 0x80])
def test_every_byte_changed(kernel: ModuleType, change: int) -> None:
    data, frames = laid_out(THREE)
    for number, frame in enumerate(frames):
        resume = frame.end if frame.end < len(data) else None
        for position in range(frame.offset, frame.end):
            changed = bytearray(data)
            changed[position] ^= change
            expected = Scan(
                frames[:number],
                Ending.CORRUPT,
                frame.offset,
                0,
                reason_at(frame, position),  # type: ignore[arg-type]
                resume,
            )
            assert expected == kernel.scan(changed), position


def test_every_bit_changed_and_every_two_in_the_prologue(kernel: ModuleType) -> None:
    data = frame_of(b"head", b"body")
    bits = [1 << bit for bit in range(8 * len(data))]
    pairs = [first | second for first in bits[:256:5] for second in bits[:256] if first != second]
    number = int.from_bytes(data, "little")
    for flipped in bits + pairs:
        found = kernel.scan((number ^ flipped).to_bytes(len(data), "little"))
        assert (Ending.CORRUPT, ()) == (found.ending, found.frames), flipped


# Of a frame with 10 bytes of header and 100 of body: so many bytes are there, the header, the body
# and what pads them are checked up to these positions.
@pytest.mark.parametrize(
    ("length", "checked"),
    [(32, 32), (41, 32), (42, 42), (50, 50), (64, 64), (163, 64), (164, 164), (170, 170)],
)
def test_a_change_in_what_is_there_of_a_torn_frame(
    kernel: ModuleType, length: int, checked: int
) -> None:
    data = frame_of(b"h" * 10, b"b" * 100)[:length]
    for position in range(length):
        changed = bytearray(data)
        changed[position] ^= 4
        expected = Ending.CORRUPT if position < checked else Ending.TORN
        assert expected is kernel.scan(changed).ending, position


def test_lengths_are_not_believed(kernel: ModuleType) -> None:
    rest = bytes(32) + frame_of(b"", b"next")
    for h in (2**20 + 1, 2**31, 2**32 - 1):
        expected = Scan((), Ending.CORRUPT, 0, 0, "length", 64)
        assert expected == kernel.scan(prologue(h=h) + rest)
    for b in (2**30 + 1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 64, 2**64 - 1):
        assert expected == kernel.scan(prologue(b=b) + rest)
        assert expected == kernel.scan(prologue(h=2**32 - 1, b=b) + rest)


def test_the_highest_limits(kernel: ModuleType) -> None:
    limits = {"max_header": 2**32 - 1, "max_body": 2**62}
    for h, b in ((2**32 - 1, 2**62), (0, 2**62), (0, 2**62 - 1), (2**32 - 1, 0)):
        expected = Scan((), Ending.TORN, 0, place(0, h, b).end - 32)
        assert expected == kernel.scan(prologue(h=h, b=b), **limits)
    assert "length" == kernel.scan(prologue(b=2**62 + 1), **limits).reason


@pytest.mark.parametrize("claimed", [1, 64, 100, 320])
def test_a_length_that_claims_other_frames(kernel: ModuleType, claimed: int) -> None:
    following, frames = laid_out(THREE)
    data = prologue(b=claimed) + bytes(32) + following
    behind = tuple(
        Frame(*(64 + position for position in frame)) for frame in frames if frame.offset >= claimed
    )
    assert Scan((), Ending.CORRUPT, 0, 0, "body", behind[0].offset) == kernel.scan(data)
    assert Scan(behind, Ending.END, len(data)) == kernel.scan(data, behind[0].offset)


@pytest.mark.parametrize(
    "between", [b"", bytes(64), b"\x89HWF" * 64, frame_of(b"", b"")[:31] + b"\xff" + bytes(96)]
)
def test_where_to_go_on_behind_damage(kernel: ModuleType, between: bytes) -> None:
    good = frame_of(b"good", b"frame")
    damaged = good[:2] + b"?" + good[3:] + between
    data = good + damaged + good
    resume = len(data) - len(good)
    assert Scan((place(0, 4, 5),), Ending.CORRUPT, 128, 0, "magic", resume) == kernel.scan(data)
    assert Scan((place(resume, 4, 5),), Ending.END, len(data)) == kernel.scan(data, resume)
    # Behind the last prologue that is whole, and off the grid of 64 bytes, there is nothing.
    assert None is kernel.scan(damaged + good[:31]).resume
    assert None is kernel.scan(damaged + b"x" + good).resume


def test_only_prologues_are_looked_for_behind_damage(kernel: ModuleType) -> None:
    """What stands behind them is the next scan's to judge, so that no byte is read twice."""
    good = frame_of(b"good", b"frame")
    data = bytes(64) + good[:32] + b"wrong" + good[37:]
    assert Scan((), Ending.CORRUPT, 0, 0, "magic", 64) == kernel.scan(data)
    assert Scan((), Ending.CORRUPT, 64, 0, "header", None) == kernel.scan(data, 64)


PIECES = st.one_of(
    st.tuples(SMALL, SMALL).map(lambda pair: frame_of(*pair)),
    st.tuples(SMALL, SMALL).map(lambda pair: frame_of(*pair)),
    st.integers(0, 200).map(bytes),
    st.binary(max_size=100),
    st.builds(
        prologue,
        h=st.integers(0, 2**32 - 1) | st.integers(0, 99),
        b=st.integers(0, 2**64 - 1) | st.integers(0, 99),
        version=st.sampled_from([0, 1, 1, 1, 2]),
    ),
)


@settings(max_examples=300)
@given(pieces=st.lists(PIECES, max_size=4), data=st.data())
def test_twins_agree_on_anything(
    compiled: ModuleType, pieces: list[bytes], data: st.DataObject
) -> None:
    damaged = bytearray(b"".join(pieces))
    for _ in range(data.draw(st.integers(0, 2)) if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    whole = bytes(damaged)
    offset = data.draw(st.integers(0, len(whole) // 64)) * 64
    limit = data.draw(st.sampled_from([None, 1, 2]))
    expected = framing.scan(whole, offset, max_frames=limit)
    assert expected == compiled.scan(whole, offset, max_frames=limit)
    for before, after in pairwise(expected.frames):
        assert before.end == after.offset
    for frame in expected.frames:
        again = frame_of(whole[frame.header], whole[frame.body])
        assert again == whole[frame.offset : frame.end]


def test_scanning_lets_other_threads_run(compiled: ModuleType) -> None:
    data, frames = laid_out(((b"h", b"b" * 9000),) * 20)
    scans: list[Scan] = []
    threads = [threading.Thread(target=lambda: scans.append(compiled.scan(data))) for _ in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [Scan(frames, Ending.END, len(data))] * 4 == scans


# Arrow

ENUM = pa.dictionary(pa.int8(), pa.string())
BATCHES = {
    "plain": {"i": pa.array([1, None, 3]), "s": pa.array(["a", None, "ccc"])},
    "nested": {"l": pa.array([[1], None, []]), "t": pa.array([{"x": 1.5}, None, {"x": None}])},
    "views": {"v": pa.array(["long" * 9, None, "s"], pa.string_view()), "b": pa.array([True] * 3)},
    "dictionary": {"e": pa.array(["a", None, "b"]).cast(ENUM)},
    "dictionary inside": {"e": pa.array([[{"x": "a"}], None], pa.list_(pa.struct({"x": ENUM})))},
    "no rows": {"i": pa.array([], pa.int64()), "s": pa.array([], pa.string())},
    "null": {"n": pa.nulls(3), "z": pa.array([0, 1, None], pa.timestamp("us", "UTC"))},
}


@pytest.fixture(params=BATCHES, ids=str)
def batch(request: pytest.FixtureRequest) -> pa.RecordBatch:
    return pa.record_batch(BATCHES[request.param])


def test_a_batch_goes_through_a_file_in_place(
    kernel: ModuleType, batch: pa.RecordBatch, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    with path.open("wb") as file:
        for number in range(3):
            parts = kernel.encode(b"%d" % number, batch_body(batch))
            assert sum(map(len, parts)) == os.writev(file.fileno(), parts)
    with path.open("rb") as file:
        mapped = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    found = kernel.scan(mapped)
    assert (Ending.END, 3) == (found.ending, len(found.frames))
    for number, frame in enumerate(found.frames):
        assert b"%d" % number == mapped[frame.header].to_pybytes()
        body = mapped[frame.body]
        assert 0 == body.address % 64
        read = batch_of(body, batch.schema, full=True)
        assert batch.equals(read)
        if "dictionary" not in str(batch.schema):
            for column in read.columns:
                for buffer in filter(None, column.buffers()):
                    assert body.address <= buffer.address <= body.address + body.size


def test_a_slice_of_a_batch_is_no_longer_than_it_must() -> None:
    whole = pa.record_batch({"i": pa.array(range(10_000)), "s": ["x" * 9] * 10_000})
    body = batch_body(whole.slice(5000, 3))
    assert whole.slice(5000, 3).equals(batch_of(body, whole.schema))
    assert len(body) < 1000


def test_a_view_keeps_the_body(kernel: ModuleType) -> None:
    batch = pa.record_batch({"s": ["kept", "alive"]})
    read = batch_of(bytes(joined(kernel.encode(b"", batch_body(batch))))[64:], batch.schema)
    assert ["kept", "alive"] == read["s"].to_pylist()


def test_a_body_cut_at_every_byte(batch: pa.RecordBatch) -> None:
    body = batch_body(batch).to_pybytes()
    # Streams may end without their last 8 bytes, which mark the end.
    optional = 8 if "dictionary" in str(batch.schema) else 0
    for length in range(len(body) - optional):
        with pytest.raises(ValueError, match="the body is no batch of the schema"):
            batch_of(body[:length], batch.schema)


def test_a_body_with_every_byte_changed(batch: pa.RecordBatch) -> None:
    """No change makes reading go wrong: there is a batch that is valid, or ValueError."""
    body = batch_body(batch).to_pybytes()
    refused = 0
    for position in range(len(body)):
        changed = bytearray(body)
        changed[position] ^= 0xFF
        try:
            read = batch_of(changed, batch.schema, full=True)
        except ValueError:
            refused += 1
        else:
            assert len(batch_body(read)) > 0
    assert 0 < refused < len(body)


def stream_of(*batches: pa.RecordBatch, schema: pa.Schema) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff" * 64,
        pa.record_batch(BATCHES["dictionary"]).serialize(),
        stream_of(schema=pa.schema({"e": ENUM})),
        stream_of(*[pa.record_batch(BATCHES["dictionary"])] * 2, schema=pa.schema({"e": ENUM})),
        stream_of(schema=pa.schema({"other": ENUM})),
    ],
)
def test_a_body_of_something_else(body: Any) -> None:
    with pytest.raises(ValueError, match="the body is no batch of the schema"):
        batch_of(body, pa.schema({"e": ENUM}))


def test_a_schema_that_needs_more_than_there_is() -> None:
    body = batch_body(pa.record_batch({"i": pa.array([1, 2], pa.int8())}))
    for schema in ({"i": pa.int64()}, {"i": pa.int8(), "j": pa.int8()}, {"i": pa.string()}):
        with pytest.raises(ValueError, match="the body is no batch of the schema"):
            batch_of(body, pa.schema(schema), full=True)


def test_the_fuzzer_runs(compiled: ModuleType) -> None:
    command = [sys.executable, "-m", "tests.fuzz.framing", "--seconds", "0.5", "--seed", "7"]
    ran = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
    assert (0, "") == (ran.returncode, ran.stderr)
    assert "no difference" in ran.stdout
