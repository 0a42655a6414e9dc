"""Entries as bytes: what goes in comes out, and rubbish is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.flows.journal import records
from headwater.flows.journal.entry import (
    Continues,
    Entry,
    IdleMark,
    Range,
    Step,
    StepKind,
    TimerFired,
    decode_entry,
    encode_entry,
)
from headwater.flows.journal.errors import FormatError
from headwater.flows.journal.records import (
    Floor,
    Gap,
    Head,
    Reader,
    Seal,
    SignedHead,
    SyncMark,
    Tombstone,
)

U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (16, 32, 64))
I64 = st.integers(-(1 << 63), (1 << 63) - 1)
NUMBERS = st.integers(0, 1 << 40)
SIXTEEN = st.binary(min_size=16, max_size=16)
THIRTY_TWO = st.binary(min_size=32, max_size=32)
RANGES = st.builds(
    lambda channel, first, more, skip, cut: Range(channel, first, first + more, skip, cut),
    U32, NUMBERS, NUMBERS, U32, U32,
)  # fmt: skip
OFFSETS = st.lists(st.integers(0, 1000), max_size=200).map(
    lambda counts: tuple(sum(counts[:place]) for place in range(len(counts) + 1)) if counts else ()
)
STEPS = st.builds(
    Step,
    ranges=st.lists(RANGES, max_size=5).map(tuple),
    timers=st.lists(st.builds(TimerFired, U32, I64, st.binary(max_size=9)), max_size=4).map(tuple),
    idles=st.lists(st.builds(IdleMark, U32, U64, st.booleans()), max_size=4).map(tuple),
    watermark=I64,
    clock=I64,
    digest=SIXTEEN,
    offsets=OFFSETS,
    kind=st.sampled_from(StepKind),
    priority=st.integers(0, 255),
    continues=st.none() | st.builds(Continues, U64, U64),
)
ENTRIES = st.builds(
    lambda epoch, sequence, flow, schema, step, rows: Entry(
        epoch, sequence, flow, schema, step.offsets[-1] if step.offsets else rows, step
    ),
    U64, U64, SIXTEEN, U32, STEPS, U32,
)  # fmt: skip
RECORDS = st.one_of(
    st.builds(
        Head, U64, U64, st.integers(-1, 1 << 40), I64, SIXTEEN, SIXTEEN,
        st.sampled_from(records.SYNCS), st.booleans(), st.booleans(), SIXTEEN, THIRTY_TWO,
    ),
    st.builds(Seal, U64, st.lists(st.text(max_size=9), max_size=3).map(tuple), st.booleans()),
    st.builds(SyncMark, U64, U64),
    st.builds(Tombstone, ENTRIES, st.sampled_from(records.POLICIES), THIRTY_TWO, U64),
    st.builds(lambda first, more, why: Gap(first, first + more, why), NUMBERS, NUMBERS, st.text()),
    st.builds(Floor, U64, THIRTY_TWO),
    st.builds(
        lambda name, epoch, low, more, owner: Reader(name, epoch, low + more, low, owner),
        st.text(max_size=20), U64, st.integers(-1, 1 << 40), NUMBERS, st.booleans(),
    ),
    st.builds(
        SignedHead, U64, U64, I64, THIRTY_TWO, THIRTY_TWO, st.binary(min_size=64, max_size=64)
    ),
)  # fmt: skip
FULL = Entry(
    7, 9, bytes(range(16)), 3, 5,
    Step(
        (Range(1, 2, 3, 4, 5), Range(1, 3, 3)), (TimerFired(6, -7, b"key"),),
        (IdleMark(8, 9, True),),
        10, 11, bytes(range(16, 32)), (0, 2, 5), StepKind.STEP, 200, Continues(6, 9),
    ),
)  # fmt: skip


@given(ENTRIES)
def test_an_entry_comes_back(entry: Entry) -> None:
    assert entry == decode_entry(encode_entry(entry))


@given(RECORDS)
def test_a_record_comes_back(
    record: Head | Seal | SyncMark | Tombstone | Gap | Floor | Reader | SignedHead,
) -> None:
    assert record == type(record).decode(record.encode())


@given(RECORDS, st.data())
def test_a_record_cut_anywhere_is_read_or_refused(
    record: Head | Seal | SyncMark | Tombstone | Gap | Floor | Reader | SignedHead,
    data: st.DataObject,
) -> None:
    payload = record.encode()
    cut = payload[: data.draw(st.integers(0, len(payload)))]
    try:
        type(record).decode(cut)
    except FormatError:
        return
    assert isinstance(record, Seal | Gap | Reader) or cut == payload


@given(st.binary(max_size=300))
def test_rubbish_is_refused_or_read(payload: bytes) -> None:
    for decode in (decode_entry, Head.decode, Seal.decode, Tombstone.decode, Gap.decode):
        try:
            decode(payload)
        except FormatError:
            continue


def test_every_cut_of_an_entry_is_refused() -> None:
    payload = encode_entry(FULL)
    for size in range(len(payload)):
        with pytest.raises(FormatError):
            decode_entry(payload[:size])


def test_every_flip_of_an_entry_is_read_or_refused() -> None:
    payload = encode_entry(FULL)
    for bit in range(8 * len(payload)):
        changed = bytearray(payload)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert decode_entry(bytes(changed)) != FULL
        except FormatError:
            continue


def with_field(tag: int, value: bytes) -> bytes:
    """An entry with one optional field more, as a later version may write it."""
    payload = bytearray(encode_entry(Entry(1, 2, bytes(16), 0, 0, Step())))
    field = struct.pack("<HI", tag, len(value)) + value
    payload[-4:] = struct.pack("<I", len(field))
    return bytes(payload) + field


def test_a_field_that_is_not_known_is_passed_over() -> None:
    assert Entry(1, 2, bytes(16), 0, 0, Step()) == decode_entry(with_field(77, b"later"))


def test_a_field_that_is_required_is_not() -> None:
    with pytest.raises(FormatError, match="newer version"):
        decode_entry(with_field(0x8000 | 77, b"later"))


def test_counts_that_claim_much_allocate_nothing() -> None:
    payload = bytearray(encode_entry(FULL))
    payload[18:24] = b"\xff" * 6
    with pytest.raises(FormatError, match="do not add up"):
        decode_entry(bytes(payload))


@pytest.mark.parametrize(
    "entry",
    [
        Entry(-1, 0, bytes(16), 0, 0, Step()),
        Entry(0, 1 << 64, bytes(16), 0, 0, Step()),
        Entry(0, 0, bytes(16), 0, 0, Step(offsets=(0, 1 << 32))),
        Entry(0, 0, bytes(16), 0, 0, Step(priority=256)),
    ],
)
def test_what_does_not_fit_is_refused(entry: Entry) -> None:
    with pytest.raises(FormatError, match="does not fit"):
        encode_entry(entry)


def test_the_layout_is_fixed() -> None:
    assert encode_entry(FULL).hex() == (
        "0700000000000000" "0900000000000000" "00" "c8" "0200" "03000000"
        "0a00000000000000" "0b00000000000000"
        "101112131415161718191a1b1c1d1e1f" "000102030405060708090a0b0c0d0e0f"
        "03000000" "05000000" "42000000"
        "01000000" "0200000000000000" "0300000000000000" "04000000" "05000000"
        "01000000" "0300000000000000" "0300000000000000" "00000000" "00000000"
        "00000000" "02000000" "05000000"
        "0100" "13000000" "06000000" "f9ffffffffffffff" "03000000" "6b6579"
        "0200" "0d000000" "08000000" "0900000000000000" "01"
        "0380" "10000000" "0600000000000000" "0900000000000000"
    )  # fmt: skip
