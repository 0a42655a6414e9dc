"""Syncs that nobody waits for: appends go on, durable is exact, a failure is never undone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

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
from headwater.ext import batch_body
from headwater.flows.journal.commit import GroupCommit
from headwater.flows.journal.entry import Step
from headwater.flows.journal.errors import FullError, JournalError
from headwater.flows.journal.faulty import FaultyStorage
from headwater.flows.journal.naming import segments_in
from headwater.flows.journal.records import SyncMark
from headwater.flows.journal.storage import Storage
from headwater.flows.journal.survey import survey

MS = 1000


class WaitingDisk(FaultyStorage):
    """A sync of a segment, while `wait` is set, tells `entered` and waits for `go`."""

    def __init__(self) -> None:
        super().__init__(0)
        self.wait = False
        self.entered, self.go = threading.Event(), threading.Event()

    def sync(self, name: str) -> None:
        if self.wait:
            self.entered.set()
            assert self.go.wait(60)
        super().sync(name)


class LoggingDisk(FaultyStorage):
    """Logs what would hurt a sync that is under way; syncs of a file in `bad` fail."""

    def __init__(self) -> None:
        super().__init__(0)
        self.log: list[str] = []
        self.bad: set[str] = set()

    def sync(self, name: str) -> None:
        self.log.append(f"sync {name}")
        if name in self.bad:
            self.sync_errors = 1.0
        try:
            super().sync(name)
        finally:
            self.sync_errors = 0.0

    def rename(self, old: str, new: str) -> None:
        self.log.append(f"rename {new}")
        super().rename(old, new)

    def unlock(self) -> None:
        self.log.append("unlock")
        super().unlock()


class AtLast(Executor):
    """Runs what it is given when somebody waits for the result, and not before."""

    def submit(self, sync: Callable[..., Any], /, *_: Any, **__: Any) -> Future[Any]:
        return _AtLast(sync)


class _AtLast(Future[None]):
    def __init__(self, sync: Callable[[], None]) -> None:
        super().__init__()
        self._sync = sync

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if not self.done():
            try:
                self.set_result(self._sync())
            except OSError as error:
                self.set_exception(error)
        return super().exception()


def opened(storage: Storage, executor: Executor | None = None, **settings: Any) -> JournalWriter:
    made = JournalSettings(**{"sync": "interval", "interval_ms": 10, **settings})
    return open_journal(storage, epoch=1, flow=bytes(16), now=0, settings=made, executor=executor)


def append(writer: JournalWriter, number: int, ms: int) -> int:
    batch = pa.record_batch({"n": pa.array([number], pa.int64())})
    return writer.append(Step(clock=ms * MS), batch)


def values(storage: Storage) -> list[int]:
    found: list[int] = []
    reader = JournalReader(storage)
    while records := reader.read():
        for record in records:
            assert isinstance(record, Written)
            batch = record.batch()
            assert batch is not None
            found += batch.column(0).to_pylist()
    return found


def marks(storage: Storage, file: str) -> list[SyncMark]:
    items = survey(storage.read(file, 0), file, None).items
    return [item.record for item in items if isinstance(item.record, SyncMark)]


def segment(storage: Storage, place: int = -1) -> str:
    return segments_in(storage.names())[place].file


def test_appends_go_on_while_a_sync_is_under_way() -> None:
    disk = WaitingDisk()
    writer = opened(disk)
    append(writer, 0, 0)
    disk.wait = True
    append(writer, 1, 10)
    covered = disk.size(segment(disk))
    assert disk.entered.wait(60)
    for number in range(2, 50):
        assert number == append(writer, number, 10 * number)
    assert (0, 50, 50) == (writer.durable, writer.committed, writer.following)
    disk.go.set()
    writer.sync(500 * MS)
    assert 50 == writer.durable
    assert 2 == writer.statistics.syncs
    assert SyncMark(2, covered) == marks(disk, segment(disk))[1]
    writer.close(500 * MS)
    assert list(range(50)) == values(disk)


def test_what_is_durable_is_what_was_there_when_the_sync_began() -> None:
    storage = FaultyStorage(0)
    inline = _Inline()
    writer = opened(storage, inline, chain=True)
    append(writer, 0, 0)
    append(writer, 1, 10)
    append(writer, 2, 11)  # finds that the sync has ended
    assert 2 == writer.durable
    writer.tick(12 * MS)
    assert 2 == writer.durable
    writer.tick(21 * MS)
    writer.tick(22 * MS)
    assert 3 == writer.durable
    storage.crash()
    report = verify(storage)
    assert ([], 3) == (list(report.damages), sum(found.entries for found in report.segments))


class _Inline(Executor):
    """Runs what it is given at once."""

    def submit(self, sync: Callable[..., Any], /, *_: Any, **__: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(sync())
        return future


@pytest.mark.parametrize("end", ["sync", "close", "seal"])
def test_who_ends_a_segment_waits_for_its_sync(end: str) -> None:
    disk = LoggingDisk()
    writer = opened(disk, AtLast())
    file = segment(disk)
    append(writer, 0, 0)
    append(writer, 1, 10)
    disk.log.clear()
    if end == "sync":
        writer.sync(10 * MS)
    elif end == "close":
        writer.close(10 * MS)
    else:
        writer.seal(["next"], 10 * MS)
    assert f"sync {file}" == disk.log[0]
    assert ["unlock"] * (end == "close") == [line for line in disk.log if line == "unlock"]
    assert 2 == writer.durable


def test_a_new_segment_waits_for_the_sync_of_the_one_before() -> None:
    disk = LoggingDisk()
    writer = opened(disk, AtLast(), segment_bytes=1500)
    first = segment(disk)
    append(writer, 0, 0)
    append(writer, 1, 10)
    disk.log.clear()
    for number in range(2, 6):
        append(writer, number, 11)
    assert segment(disk) != first
    assert f"sync {first}" == disk.log[0]
    # The sync under way, one of the rest, and one of the seal.
    assert 3 == disk.log.count(f"sync {first}")
    assert f"rename {segment(disk, 1)}" in disk.log


def test_after_a_sync_that_failed_the_segment_is_never_synced_again() -> None:
    disk = LoggingDisk()
    writer = opened(disk, AtLast())
    first = segment(disk)
    append(writer, 0, 0)
    append(writer, 1, 10)  # begins a sync
    append(writer, 2, 11)
    disk.bad.add(first)
    disk.log.clear()
    assert 3 == writer.sync(12 * MS)
    assert 1 == disk.log.count(f"sync {first}")
    assert (3, 1, 1) == (writer.durable, writer.statistics.failed_syncs, writer.statistics.syncs)
    disk.crash()
    assert [0, 1, 2] == values(disk)


def test_the_next_append_finds_the_failure_and_writes_all_anew() -> None:
    disk = WaitingDisk()
    with ThreadPoolExecutor(1) as pool:
        writer = opened(disk, pool)
        append(writer, 0, 0)
        disk.wait, disk.sync_errors = True, 1.0
        append(writer, 1, 10)
        assert disk.entered.wait(60)
        append(writer, 2, 11)
        disk.go.set()
    assert (0, 3) == (writer.durable, writer.committed)
    disk.wait, disk.sync_errors = False, 0.0
    append(writer, 3, 12)
    assert 1 == writer.statistics.failed_syncs
    assert 3 == writer.durable
    disk.crash()
    assert [0, 1, 2] == values(disk)[:3]


def test_an_append_that_fails_does_not_sync_what_a_sync_failed_on() -> None:
    disk = LoggingDisk()
    writer = opened(disk, AtLast())
    first = segment(disk)
    append(writer, 0, 0)
    append(writer, 1, 10)  # begins a sync
    disk.bad.add(first)
    disk.log.clear()
    disk.append_errors = 1.0
    with pytest.raises(JournalError):
        append(writer, 2, 11)
    disk.append_errors = 0.0
    assert 1 == disk.log.count(f"sync {first}")
    assert 2 == append(writer, 2, 12)
    assert [0, 1, 2] == values(disk)


def test_what_is_held_is_bounded_while_a_sync_is_under_way() -> None:
    disk = LoggingDisk()
    writer = opened(disk, AtLast(), hold_bytes=2000)
    file = segment(disk)
    disk.log.clear()
    number = 0
    while not disk.log:  # nobody but a full memory waits for the first sync
        assert number == append(writer, number, number)
        number += 1
        assert number < 100
    assert [f"sync {file}"] == disk.log
    body = memoryview(batch_body(pa.record_batch({"n": pa.array([0], pa.int64())}))).nbytes
    assert -(-2000 // body) == number - writer.durable


def test_an_entry_is_taken_though_there_is_no_room_to_write_it_anew() -> None:
    disk = LoggingDisk()
    writer = opened(disk, AtLast(), hold_bytes=1)
    first = segment(disk)
    append(writer, 0, 0)
    disk.bad.add(first)
    disk.capacity = disk.size(first) + 700
    assert 1 == append(writer, 1, 0)  # waits for the sync, which fails; the disk is full
    with pytest.raises(FullError):
        append(writer, 2, 0)
    disk.capacity = 1 << 30
    assert 2 == append(writer, 2, 0)
    writer.close(0)
    assert [0, 1, 2] == values(disk)


def test_without_a_thread_a_sync_is_waited_for() -> None:
    gone = ThreadPoolExecutor(1)
    gone.shutdown()
    writer = opened(FaultyStorage(0), gone)
    append(writer, 0, 0)
    append(writer, 1, 10)
    assert 2 == writer.durable


def test_files_in_a_folder(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    writer = opened(storage, segment_bytes=20_000, interval_ms=1)
    for number in range(500):
        append(writer, number, number)
    writer.close(500 * MS)
    assert 500 == writer.durable
    assert 0 == writer.statistics.failed_syncs
    assert list(range(500)) == values(FileStorage(tmp_path))
    assert [] == list(verify(FileStorage(tmp_path)).damages)
    assert [] == [t for t in threading.enumerate() if t.name.startswith("journal-sync")]


def test_a_failed_sync_is_due_again_at_once() -> None:
    group: GroupCommit[str] = GroupCommit("interval", 10, 100, 0)
    group.append("a", 60, 0)
    assert not group.due(9 * MS)
    group.sync_begun()
    group.append("b", 60, 9 * MS)
    assert (False, False) == (group.crowded, group.due(18 * MS))
    group.sync_failed()
    assert (True, True, ["a", "b"]) == (group.crowded, group.due(9 * MS), group.unsynced())
    group.sync_begun()
    group.append("c", 1, 10 * MS)
    group.sync_done()
    assert (2, 3, ["c"]) == (group.synced, group.appended, group.unsynced())
