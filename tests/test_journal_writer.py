"""Writing and reading: commits, segments, epochs, readers, policies, full disks, dead writers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from headwater.connectors.journal import (
    FileStorage,
    JournalReader,
    JournalSettings,
    JournalWriter,
    Written,
    open_journal,
)
from headwater.connectors.journalverify import verify
from headwater.flows.errors import SettingsError
from headwater.flows.journal.entry import Continues, Range, Step, StepKind
from headwater.flows.journal.errors import (
    EpochError,
    FullError,
    JournalError,
    LockedError,
    LossError,
    SealedError,
)
from headwater.flows.journal.faulty import FaultyStorage
from headwater.flows.journal.naming import segments_in
from headwater.flows.journal.records import Policy, Reader, SyncPolicy, Tombstone
from headwater.flows.journal.retention import Candidate, chosen
from headwater.flows.journal.storage import Storage

FLOW = bytes(16)


def opened(storage: Storage, epoch: int = 1, **settings: object) -> JournalWriter:
    made = JournalSettings(**settings)  # type: ignore[arg-type]  # each test names its own
    return open_journal(storage, epoch=epoch, flow=FLOW, now=0, settings=made)


def rows(value: int, count: int = 1) -> pa.RecordBatch:
    return pa.record_batch({"n": pa.array([value] * count, pa.int64())})


def values(storage: Storage, start: int = 0) -> list[int | None]:
    """The number in each entry; None for a tombstone, -1 for the opening of an epoch."""
    found: list[int | None] = []
    reader = JournalReader(storage, start)
    while records := reader.read():
        for record in records:
            if isinstance(record, Written):
                batch = record.batch()
                found.append(batch.column(0)[0].as_py() if batch is not None else -1)
            else:
                found.append(None)
    return found


# Commits


@pytest.mark.parametrize(("sync", "committed"), [("always", 0), ("interval", 5), ("never", 5)])
def test_when_an_entry_is_committed(sync: SyncPolicy, committed: int) -> None:
    writer = opened(FaultyStorage(0), sync=sync)
    for number in range(5):
        writer.append(Step(), rows(number))
    assert committed == writer.committed
    assert 5 == writer.sync(0)


def test_one_sync_commits_many() -> None:
    writer = opened(FaultyStorage(0), sync="always")
    for number in range(50):
        writer.append(Step(), rows(number))
    before = writer.statistics.syncs
    writer.sync(0)
    assert 1 == writer.statistics.syncs - before
    assert 50 == writer.committed


def test_an_interval_is_kept() -> None:
    writer = opened(FaultyStorage(0), sync="interval", interval_ms=10)
    writer.append(Step(clock=1_000), rows(0))
    writer.tick(10_999)
    assert 0 == writer.statistics.syncs
    writer.tick(11_000)
    writer.sync(11_000)
    assert 1 == writer.statistics.syncs
    writer.tick(90_000)
    writer.sync(90_000)
    assert 1 == writer.statistics.syncs


def test_never_syncs_of_its_own_accord_only_at_the_end_of_a_segment() -> None:
    writer = opened(FaultyStorage(0), sync="never", segment_bytes=3000)
    for number in range(4):
        writer.append(Step(clock=number * 10**9), rows(number))
    assert 0 == writer.statistics.syncs
    for number in range(9):
        writer.append(Step(clock=number * 10**9), rows(number))
    assert writer.statistics.syncs == writer.statistics.segments - 1


def test_a_reader_elsewhere_sees_what_a_mark_covers() -> None:
    storage = FaultyStorage(0)
    writer = opened(storage, sync="always")
    reader = JournalReader(storage)
    writer.append(Step(), rows(0))
    assert [] == reader.read()
    writer.sync(0)
    writer.append(Step(), rows(1))
    assert [0] == [r.entry.sequence for r in reader.read() if isinstance(r, Written)]
    writer.sync(0)
    assert [1] == [r.entry.sequence for r in reader.read() if isinstance(r, Written)]


def test_schemas_are_kept_apart_and_metadata_comes_back() -> None:
    storage = FaultyStorage(0)
    writer = opened(storage, sync="interval", segment_bytes=2000)
    made = [
        pa.record_batch({"a": [1, 2]}),
        pa.record_batch({"a": ["x"]}),
        pa.record_batch({"a": [1.5]}).replace_schema_metadata({"k": "v"}),
        pa.record_batch({"a": pa.array(["x", "y", "x"]).dictionary_encode()}),
    ] * 3
    for batch in made:
        writer.append(Step(), batch)
    found = [r.batch() for r in JournalReader(storage).read() if isinstance(r, Written)]
    assert made == found
    assert [b.schema.metadata for b in made] == [b.schema.metadata for b in found if b is not None]


def test_bodies_are_read_in_place(tmp_path: Path) -> None:
    writer = opened(FileStorage(tmp_path), segment_bytes=5000)
    for number in range(9):
        writer.append(Step(), rows(number, 100))
    before = pa.total_allocated_bytes()
    found = [
        r.batch() for r in JournalReader(FileStorage(tmp_path)).read(3) if isinstance(r, Written)
    ]
    assert 3 == len(found)
    assert before == pa.total_allocated_bytes()
    writer.close(0)


# Epochs, readers


def test_an_epoch_says_what_it_continues() -> None:
    storage = FaultyStorage(0)
    writer = opened(storage, 3)
    writer.append(Step(), rows(0))
    writer.close(0)
    writer = opened(storage, 5)
    writer.append(Step(), rows(1))
    found = [r.entry for r in JournalReader(storage).read() if isinstance(r, Written)]
    assert [(0, 3), (1, 5), (2, 5)] == [(entry.sequence, entry.epoch) for entry in found]
    assert StepKind.OPEN is found[1].step.kind
    assert Continues(3, 1) == found[1].step.continues
    writer.close(0)
    with pytest.raises(EpochError, match="epoch 5, and 4"):
        opened(storage, 4)


def test_a_reader_that_went_further_stops() -> None:
    storage = FaultyStorage(0)
    writer = opened(storage, 1)
    writer.append(Step(), rows(0))
    writer.close(0)
    opened(storage, 2).append(Step(), rows(1))
    since = Reader("r", epoch=1, applied=1)
    with pytest.raises(EpochError, match="applied 1 of epoch 1"):
        JournalReader(storage, since=since).read()
    assert JournalReader(storage, since=Reader("r", epoch=1, applied=0)).read()


def test_one_writer(tmp_path: Path) -> None:
    writer = opened(FileStorage(tmp_path))
    with pytest.raises(LockedError, match="another process writes this journal"):
        opened(FileStorage(tmp_path))
    writer.close(0)
    opened(FileStorage(tmp_path)).close(0)


def test_segments_go_when_every_reader_holds_them() -> None:
    storage = FaultyStorage(0)
    writer = opened(storage, segment_bytes=1500)
    for number in range(12):
        writer.append(Step(), rows(number))
    writer.acknowledge("a", 9, 9)
    assert 0 < writer.trim()
    first = writer.beginning
    assert 0 < first <= 10
    writer.acknowledge("b", -1, -1)
    assert 0 == writer.trim()
    with pytest.raises(JournalError, match="entry 0 was trimmed"):
        JournalReader(storage).read()
    assert list(range(first, 12)) == values(storage, first)
    writer.close(0)
    writer = opened(storage)
    assert {"a": Reader("a", 1, 9, 9), "b": Reader("b", 1)} == writer.readers
    with pytest.raises(ValueError, match="11 is committed"):
        writer.acknowledge("a", 12, 9)


def test_what_a_reader_knows_of_is_not_given_up() -> None:
    storage = FaultyStorage(0)
    writer = opened(storage, sync="interval")
    for number in range(3):
        writer.append(Step(), rows(number))
    writer.acknowledge("r", 2, 0)
    name = segments_in(storage.names())[-1].file
    storage.truncate(name, storage.size(name) - 320)
    storage.kill()
    with pytest.raises(LossError, match="'r' has applied up to 2"):
        opened(storage, 1)
    with pytest.raises(EpochError, match="above 1"):
        open_journal(storage, epoch=1, flow=FLOW, now=0, accept_loss=True)
    made = open_journal(storage, epoch=2, flow=FLOW, now=0, accept_loss=True)
    assert 3 == made.following  # the last was the opening of the epoch
    storage.kill()
    with pytest.raises(LossError, match="a snapshot was taken at 7"):
        open_journal(storage, epoch=2, flow=FLOW, now=0, at_least=8)


def test_a_sealed_journal_names_its_successors() -> None:
    storage = FaultyStorage(0)
    writer = opened(storage)
    writer.append(Step(), rows(0))
    writer.seal(["east", "west"], 0)
    with pytest.raises(SealedError):
        writer.append(Step(), rows(1))
    writer.close(0)
    reader = JournalReader(storage)
    assert 1 == len(reader.read())
    with pytest.raises(SealedError, match="east, west") as told:
        reader.read()
    assert ("east", "west") == told.value.successors
    with pytest.raises(SealedError):
        opened(storage)


# No room


def filled(
    policy: Policy, count: int, *, chain: bool = False
) -> tuple[FaultyStorage, JournalWriter]:
    storage = FaultyStorage(0)
    writer = opened(
        storage, policy=policy, max_bytes=60_000, segment_bytes=10_000, reserve_bytes=0, chain=chain
    )
    for number in range(count):
        writer.append(Step(priority=number % 3), rows(number, 100))
    return storage, writer


def test_block_tells_once_and_goes_on_when_there_is_room() -> None:
    storage = FaultyStorage(0)
    told: list[str] = []
    settings = JournalSettings(max_bytes=20_000, segment_bytes=5000)
    writer = open_journal(storage, epoch=1, flow=FLOW, now=0, settings=settings, notice=told.append)
    refused = 0
    for number in range(40):
        try:
            writer.append(Step(), rows(number, 100))
        except FullError:
            refused += 1
    following = writer.following
    assert 40 == following + refused
    assert 1 == len(told)
    assert writer.statistics.full
    writer.acknowledge("r", following - 1, following - 1)
    assert following == writer.append(Step(), rows(7, 100))
    assert 2 == len(told)
    assert 0 < writer.statistics.trimmed


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_by_priority", "thin"])
def test_a_policy_makes_room_and_leaves_tombstones(policy: Policy) -> None:
    storage, writer = filled(policy, 150)
    found = values(storage)
    assert 150 == len(found)
    dropped = [number for number, value in enumerate(found) if value is None]
    assert len(dropped) == writer.statistics.dropped > 0
    assert 100 * len(dropped) == writer.statistics.dropped_rows
    kept = [value for value in found if value is not None]
    assert kept == [number for number in range(150) if number not in dropped]
    assert writer.statistics.total_bytes <= 60_000
    assert [] == verify(storage).damages
    if policy == "drop_oldest":
        assert list(range(len(dropped))) == dropped
    if policy == "drop_by_priority":
        assert [] == [n for n in dropped if n % 3 == 2 and any(m % 3 == 0 for m in kept if m < n)]


def test_what_a_reader_has_applied_is_never_dropped() -> None:
    storage = FaultyStorage(0)
    writer = opened(storage, policy="drop_oldest", max_bytes=50_000, segment_bytes=5000)
    for number in range(10):
        writer.append(Step(), rows(number, 100))
    writer.acknowledge("r", 9, -1)
    writer.acknowledge("stage", 9, 9, owner=True)
    for number in range(10, 60):
        writer.append(Step(), rows(number, 100))
    found = values(storage)
    assert list(range(10)) == found[:10]
    assert None in found[10:]
    tomb = next(r for r in JournalReader(storage).read(60) if isinstance(r, Tombstone))
    assert (100, "drop_oldest") == (tomb.entry.rows, tomb.policy)


def test_a_chain_reaches_over_tombstones() -> None:
    storage, _ = filled("drop_oldest", 150, chain=True)
    report = verify(storage)
    assert report.chained
    assert 0 < report.dropped
    assert [] == report.damages


def test_what_is_too_old_is_dropped() -> None:
    storage = FaultyStorage(0)
    writer = opened(storage, policy="drop_oldest", max_age=10.0, segment_age=1.0)
    for second in range(20):
        writer.append(Step(clock=second * 1_000_000), rows(second))
    writer.tick(20_000_000)
    found = values(storage)
    assert [None] * 10 == found[:10]
    assert [*range(10, 20)] == found[10:]


@pytest.mark.parametrize("policy", ["drop_oldest", "thin"])
def test_a_full_disk_makes_room_from_the_reserve(policy: Policy) -> None:
    storage = FaultyStorage(0, capacity=60_000)
    writer = opened(storage, policy=policy, segment_bytes=8_000, reserve_bytes=9_000)
    for number in range(120):
        writer.append(Step(), rows(number, 100))
    writer.sync(0)
    found = values(storage)
    assert 120 == len(found)
    assert 0 < writer.statistics.dropped == found.count(None)


def test_a_full_disk_blocks_and_loses_nothing() -> None:
    storage = FaultyStorage(0, capacity=20_000)
    writer = opened(storage, sync="always", segment_bytes=6000)
    for number in range(40):
        try:
            writer.append(Step(), rows(number, 100))
            writer.sync(0)
        except FullError:
            break
    following = writer.following
    for _ in range(3):
        with pytest.raises(FullError, match="try again"):
            writer.append(Step(), rows(0, 100))
    storage.capacity = 1 << 30
    assert following == writer.append(Step(), rows(following, 100))
    writer.sync(0)
    assert list(range(following + 1)) == values(storage)
    assert [] == verify(storage).damages


@pytest.mark.parametrize("seed", range(50))
def test_policies_choose_what_they_say(seed: int) -> None:
    rng = random.Random(seed)
    candidates = [Candidate(n, rng.randint(0, 3), rng.randint(1, 50), 0) for n in range(30)]
    need = rng.randint(1, 400)
    for policy in ("drop_oldest", "drop_by_priority", "thin"):
        taken = chosen(candidates, policy, need, 3)
        sizes = [c.size for c in candidates if c.sequence in taken]
        assert need <= sum(sizes) or policy == "thin"
        assert sum(sizes) - max(sizes) < need
    assert frozenset() == chosen(candidates, "block", need, 3)
    left = [
        c for c in candidates if c.sequence not in chosen(candidates, "drop_by_priority", need, 3)
    ]
    gone = [c for c in candidates if c not in left]
    assert max(c.priority for c in gone) <= min(c.priority for c in left)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"sync": "often"}, "always, interval, never"),
        ({"policy": "guess"}, "block, drop_oldest"),
        ({"compression": "gzip"}, "zstd, lz4 or None"),
        ({"keep_one_in": 1}, "at least 2"),
        ({"max_age": 5.0}, "a policy other than block"),
        ({"interval_ms": 0}, "interval_ms is at least 1"),
        ({"max_bytes": 0}, "max_bytes is more than 0"),
        ({"reserve_bytes": -1}, "reserve_bytes"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], text: str) -> None:
    with pytest.raises(SettingsError, match=text):
        JournalSettings(**settings)  # type: ignore[arg-type]  # wrong on purpose


def test_a_disk_that_fails_under_never_says_what_may_be_lost() -> None:
    storage = FaultyStorage(0)
    writer = opened(storage, sync="never")
    writer.append(Step(), rows(0))
    storage.sync_errors = 1.0
    with pytest.raises(LossError, match="entries 0 to 0") as told:
        writer.sync(0)
    assert (0, 0) == (told.value.first, told.value.last)
    with pytest.raises(LossError):
        writer.append(Step(), rows(1))


# Processes that die

WRITER = """
import sys
from pathlib import Path
import pyarrow as pa
from headwater.connectors.journal import FileStorage, JournalSettings, open_journal
from headwater.flows.journal.entry import Range, Step
storage = FileStorage(Path(sys.argv[1]), create=True)
settings = JournalSettings(sync=sys.argv[2], segment_bytes=200_000, interval_ms=1)
writer = open_journal(storage, epoch=1, flow=bytes(16), now=0, settings=settings)
for number in range(writer.following, 1_000_000):
    step = Step((Range(0, number, number),), clock=number * 100)
    writer.append(step, pa.record_batch({"n": [number] * 200}))
    if sys.argv[2] == "always" and number % 7 == 6:
        writer.sync(number)
    if number % 50 == 49:
        writer.acknowledge("r", writer.committed - 1, writer.committed - 20)
    if writer.committed:
        sys.stdout.write(f"{writer.committed}\\n")
        sys.stdout.flush()
"""


@pytest.mark.parametrize("sync", ["always", "interval", "never"])
def test_a_killed_writer_loses_nothing_committed(sync: SyncPolicy, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    for life in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), sync], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(60 + 41 * life):
            line = process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read()
        process.wait()
        process.stdout.close()
        told = [line, *rest.splitlines()]
        committed = int(next(text for text in reversed(told) if text.strip()))
        report = verify(FileStorage(folder))
        assert [] == report.damages
        first = report.segments[0].first
        found = values(FileStorage(folder), first)
        assert first + len(found) >= committed
        assert list(range(first, first + len(found))) == found


def test_ranges_come_back() -> None:
    storage = FaultyStorage(0)
    step = Step((Range(0, 1, 5, 2, 3), Range(2, 9, 9)), watermark=7, clock=8, offsets=(0, 1, 2))
    opened(storage).append(step, rows(1, 2))
    (found,) = JournalReader(storage).read()
    assert isinstance(found, Written)
    assert step == found.entry.step
