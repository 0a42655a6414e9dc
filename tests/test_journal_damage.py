"""Every byte of a journal is flipped, every length is cut: it is found, and nothing passed over."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest

from headwater.connectors.journal import JournalReader, JournalSettings, Written, open_journal
from headwater.connectors.journalload import promises_of, survey_of
from headwater.connectors.journalrewrite import repair
from headwater.connectors.journalverify import judged, verify
from headwater.flows.journal.entry import Entry, Step, encode_entry
from headwater.flows.journal.envelope import Coder, Compression, Keyring
from headwater.flows.journal.errors import (
    DamageError,
    JournalError,
    KeyMissingError,
    LossError,
)
from headwater.flows.journal.faulty import FaultyStorage
from headwater.flows.journal.naming import segments_in
from headwater.flows.journal.records import Gap
from headwater.flows.journal.survey import Survey, survey

from . import components

FLOW = bytes(16)
ENTRIES = 6
SYNCED = 4


def keys() -> Keyring:
    components.need("cryptography")
    from headwater.connectors.journalkeys import Keys

    return Keys([bytes(range(32))])


OPTIONS = list(itertools.product([None, "zstd", "lz4"], [False, True], [False, True]))


def journal(
    compression: Compression | None, chain: bool, keyring: Keyring | None
) -> tuple[FaultyStorage, int]:
    """Six entries in two segments; the last two are not synced. Also: how many bytes of the last
    segment are known to be synced."""
    storage = FaultyStorage(1)
    settings = JournalSettings(
        sync="always", segment_bytes=1700, compression=compression, chain=chain
    )
    numbers = itertools.count()
    writer = open_journal(
        storage, epoch=1, flow=FLOW, now=0, settings=settings, keyring=keyring,
        entropy=lambda size: next(numbers).to_bytes(size, "big"),
    )  # fmt: skip
    for number in range(ENTRIES):
        writer.append(Step(clock=number), pa.record_batch({"n": [number] * 3}))
        if number == ENTRIES - 3:
            writer.sync(number)
            writer.acknowledge("r", number, number - 3)
    storage.kill()
    last = segments_in(storage.names())[-1].file
    return storage, survey_of(storage, last, keyring).synced()


def copied(storage: FaultyStorage, name: str, data: bytes) -> FaultyStorage:
    """The same files, one of them with other bytes."""
    made = FaultyStorage(2)
    for other in storage.names():
        made.create(other)
        made.append(other, [data if other == name else storage.read(other, 0)])
    return made


def values(
    storage: FaultyStorage, keyring: Keyring | None
) -> tuple[list[int], JournalError | None]:
    """What a reader gets, in order, and how it ends."""
    reader = JournalReader(storage, 0, keyring=keyring, committed=lambda: ENTRIES)
    found: list[int] = []
    while True:
        try:
            records = reader.read(1)
        except JournalError as error:
            return found, error
        if not records:
            return found, None
        assert isinstance(records[0], Written)
        batch = records[0].batch()
        assert batch is not None
        found.append(batch.column(0)[0].as_py())


def check(storage: FaultyStorage, keyring: Keyring | None, *, torn: bool, opens: bool) -> None:
    """A change that may pass for torn is cut off; any other is told, and nothing passed over."""
    found, error = values(storage, keyring)
    assert list(range(len(found))) == found
    report = verify(storage, keyring)
    if torn:
        assert [] == report.damages
        writer = open_journal(storage, epoch=1, flow=FLOW, now=0, keyring=keyring)
        assert len(found) == writer.following
        assert SYNCED <= writer.following
        return
    assert report.damages
    if opens:  # what was ended is not looked at to go on
        return
    assert len(found) < ENTRIES or error is None
    with pytest.raises((DamageError, LossError)):
        open_journal(storage, epoch=1, flow=FLOW, now=0, keyring=keyring)


def segments(storage: FaultyStorage) -> Iterator[tuple[str, bytes, bool]]:
    names = [name.file for name in segments_in(storage.names())]
    for name in names:
        yield name, bytes(storage.read(name, 0)), name == names[-1]


def changes(data: bytes, *, cut: bool) -> Iterator[tuple[int, bytes]]:
    """Every flipped byte, or every cut: where it is, and what is there then."""
    for place in range(len(data)):
        if cut:
            yield place, data[:place]
        else:
            yield place, data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]


@pytest.mark.parametrize("cut", [False, True], ids=["flipped", "cut"])
@pytest.mark.parametrize(("compression", "chain", "encrypted"), OPTIONS)
def test_every_change_is_told(
    compression: Compression | None, chain: bool, encrypted: bool, cut: bool
) -> None:
    keyring = keys() if encrypted else None
    storage, synced = journal(compression, chain, keyring)
    found = {name: survey(data, name, keyring) for name, data, _ in segments(storage)}
    promises = promises_of(storage, 0)
    tried = 0
    for name, data, last in segments(storage):
        known = known_until(found[name]) if cut else synced
        for place, changed in changes(data, cut=cut):
            surveys = {**found, name: survey(changed, name, keyring)}
            report = judged(list(surveys.values()), promises)
            if last and place >= known:
                assert [] == report.damages
                assert cut or report.cut is not None
            else:
                assert report.damages or report.unsealed, (name, place)
            tried += 1
    assert tried > 1000


@pytest.mark.parametrize("cut", [False, True], ids=["flipped", "cut"])
@pytest.mark.parametrize(("compression", "chain", "encrypted"), OPTIONS)
def test_a_reader_stops_and_a_writer_does_not_go_on(
    compression: Compression | None, chain: bool, encrypted: bool, cut: bool
) -> None:
    keyring = keys() if encrypted else None
    storage, synced = journal(compression, chain, keyring)
    for name, data, last in segments(storage):
        found = survey(data, name, keyring)
        known = known_until(found) if cut else synced
        end = max(item.frame.end for item in found.items if item.span)
        for place, changed in itertools.islice(changes(data, cut=cut), None, None, 29):
            made = copied(storage, name, changed)
            if last or place < end:
                check(made, keyring, torn=last and place >= known, opens=not last)
            else:
                assert (list(range(ENTRIES)), None) == values(made, keyring)


def known_until(found: Survey) -> int:
    """Where a segment's entries end that a reader has acknowledged."""
    ends = [item.frame.end for item in found.items if item.span and item.span[1] < SYNCED]
    heads = [item.frame.end for item in found.items if item.record == found.head]
    return max(ends + heads)


@pytest.mark.parametrize("name", ["r.reader", "floor", "head"])
def test_a_small_file_is_the_old_one_or_told(name: str) -> None:
    storage, public = signed()
    data = bytes(storage.read(name, 0))
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        assert verify(copied(storage, name, bytes(changed)), None, public).damages
        assert verify(copied(storage, name, data[:place]), None, public).damages


@pytest.mark.parametrize("place", range(200, 1500, 64))
def test_repair_goes_on_without_what_is_lost_and_says_so(place: int) -> None:
    storage, _ = journal(None, False, None)
    name, data, _ = next(segments(storage))
    changed = bytearray(data)
    changed[place] ^= 1
    made = copied(storage, name, bytes(changed))
    until = survey_of(made, segments_in(made.names())[1].file, None).head
    assert until is not None
    gaps = repair(made, survey_of(made, name, None), until.first, None)
    assert [] == verify(made).damages
    reader = JournalReader(made, 0, committed=lambda: ENTRIES)
    found = reader.read()
    assert [gap for gap in found if isinstance(gap, Gap)] == gaps
    covered = [r.entry.sequence for r in found if isinstance(r, Written)]
    covered += [n for gap in gaps for n in range(gap.first, gap.last + 1)]
    assert list(range(ENTRIES)) == sorted(covered)


# The chain and the signed head


def signed() -> tuple[FaultyStorage, bytes]:
    """A journal with a chain and a signed head after its last entry, of which some was trimmed."""
    components.need("cryptography")
    from headwater.connectors.journalkeys import Signer

    signer = Signer(bytes(32))
    storage = FaultyStorage(1)
    settings = JournalSettings(sync="always", segment_bytes=900, chain=True)
    writer = open_journal(storage, epoch=1, flow=FLOW, now=0, settings=settings, signer=signer)
    for number in range(ENTRIES):
        writer.append(Step(clock=number), pa.record_batch({"n": [number] * 3}))
    writer.sync(9)
    writer.acknowledge("r", 3, 1)
    assert 0 < writer.trim()
    writer.close(9)
    return storage, signer.public


def forged(storage: FaultyStorage, change: str) -> FaultyStorage:
    """What one who can compute checksums would do: alter the last entry, or cut it off."""
    name, data, _ = list(segments(storage))[-1]
    found = survey_of(storage, name, None)
    assert found.head is not None
    coder = Coder(chain=found.head.chain)
    parts: list[bytes] = []
    entries = [item for item in found.items if isinstance(item.record, Entry)]
    for item in found.items:
        body = memoryview(data)[item.frame.body]
        payload, kind = item.header.payload, item.header.kind
        assert kind is not None
        if item is entries[-1] and change == "remove":
            break
        if item is entries[-1] and change == "alter":
            assert isinstance(item.record, Entry)
            payload = encode_entry(replace(item.record, step=Step(clock=77)))
        parts += map(bytes, coder.frame(kind, payload, body))
    return copied(storage, name, b"".join(parts))


def test_a_signed_journal_is_sound() -> None:
    storage, public = signed()
    report = verify(storage, None, public)
    assert [] == report.damages
    assert report.signed == ENTRIES


@pytest.mark.parametrize("change", ["alter", "remove"])
def test_who_can_write_checksums_is_found_by_the_signed_head(change: str) -> None:
    storage, public = signed()
    made = forged(storage, change)
    assert verify(made, None, public).damages


def test_another_key_did_not_sign() -> None:
    storage, _ = signed()
    assert verify(storage, None, bytes(32)).damages
    assert verify(journal(None, True, None)[0], None, bytes(32)).damages


def test_the_wrong_key_and_none_are_told() -> None:
    keyring = keys()
    from headwater.connectors.journalkeys import Keys

    storage, _ = journal(None, False, keyring)
    with pytest.raises(KeyMissingError, match="give its key"):
        verify(storage)
    with pytest.raises(KeyMissingError, match="not among those given"):
        verify(storage, Keys([bytes(32)]))
    assert not any(b"\x05\0\0\0\0\0\0\0" * 3 in data for _, data, _ in segments(storage))
