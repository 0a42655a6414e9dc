"""The log of a run on a disk that is full, or fails: what waits, what goes on, and what is said."""

from __future__ import annotations

import errno

import polars as pl
import pytest

from headwater.connectors.images import images_in, load_image, save_image
from headwater.connectors.runlog import FolderLog
from headwater.flows.clock import ManualClock
from headwater.flows.engine.image import Image
from headwater.flows.engine.record import Record
from headwater.flows.errors import RecoveryError
from headwater.flows.journal.faulty import FaultyStorage
from headwater.flows.journal.settings import JournalSettings

PLENTY = 1 << 30
WAITS = "no room for an image of the run: it waits for it"
GOES_ON = "no room for an image of the run: it goes on without"


class Run:
    """A log; while it waits for the third time, room is made."""

    def __init__(self, storage: FaultyStorage) -> None:
        self.storage = storage
        self.notices: list[str] = []
        self.waited = 0
        self.log = FolderLog(
            storage,
            ManualClock(),
            bytes(16),
            settings=JournalSettings(sync="always", segment_bytes=1000),
            every=1,
            wait=self.wait,
            notice=self.notices.append,
        )

    def wait(self) -> None:
        self.waited += 1
        if self.waited == 3:
            self.storage.capacity = PLENTY


def fill(storage: FaultyStorage, room: int = 0) -> None:
    """Leave so many bytes of room."""
    storage.capacity = sum(storage.size(name) for name in storage.names()) + room


def image(step: int) -> Image:
    return Image(step, 0, bytes(16), operators={"op": {"t": pl.DataFrame({"n": range(500)})}})


def test_half_an_image_takes_no_room() -> None:
    storage = FaultyStorage(0, capacity=1000)
    with pytest.raises(OSError, match="no space left"):
        save_image(storage, image(1))
    assert [] == storage.names()


def test_an_image_that_does_not_fit_is_left_out_which_is_said_once() -> None:
    run = Run(FaultyStorage(0))
    fill(run.storage, 2000)
    for _ in range(3):
        run.log.append(Record(1))
        run.log.save(image(run.log.following), needed=False)
    assert ([GOES_ON], 0, []) == (run.notices, run.waited, images_in(run.storage))
    run.storage.capacity = PLENTY
    assert run.log.due(10)
    run.log.save(image(3), needed=False)
    assert [3] == images_in(run.storage)
    fill(run.storage)
    run.log.save(image(4), needed=False)
    assert [GOES_ON] * 2 == run.notices


def test_an_image_that_is_needed_waits_for_room_which_is_said_once() -> None:
    run = Run(FaultyStorage(0))
    fill(run.storage)
    run.log.save(image(0), needed=False)
    run.log.save(image(0), needed=True)
    assert ([GOES_ON, WAITS], 3) == (run.notices, run.waited)
    assert load_image(run.storage, 0).operators["op"]["t"].equals(image(0).operators["op"]["t"])


def test_a_journal_that_finds_no_room_to_begin_with_waits_for_it() -> None:
    storage = FaultyStorage(0)
    run = Run(storage)
    for _ in range(5):
        run.log.append(Record(1))
    run.log.close()
    fill(storage)
    again = Run(storage)
    assert 3 == again.waited
    assert 2 == len(again.notices)
    assert 5 == len(list(again.log.records({})))


def test_what_cannot_be_trimmed_now_is_trimmed_with_a_later_image() -> None:
    run = Run(FaultyStorage(0))
    for _ in range(30):
        run.log.append(Record(1))
    run.log.save(image(30), needed=True)
    segments = [name for name in run.storage.names() if name.endswith(".seg")]
    run.log.append(Record(1))
    run.log.sync()
    size = run.storage.size(f"{30:020d}.image")
    # For an image, an entry and its mark, and not for the note of a reader beside the old image.
    fill(run.storage, size + 100)
    run.log.save(image(31), needed=False)
    assert [31, 30] == images_in(run.storage)
    assert [] == run.notices
    run.storage.capacity = PLENTY
    run.log.append(Record(1))
    run.log.save(image(32), needed=False)
    assert [32, 31] == images_in(run.storage)
    left = [name for name in run.storage.names() if name.endswith(".seg")]
    assert len(left) <= len(segments) == 1


def test_a_disk_that_fails_costs_an_image_or_ends_the_run_where_it_is_needed() -> None:
    run = Run(FaultyStorage(0))
    run.storage.sync_errors = 1.0
    run.log.save(image(0), needed=False)
    assert ["no image of the run: input/output error; it goes on without"] == run.notices
    assert [] == [name for name in run.storage.names() if "image" in name]
    with pytest.raises(RecoveryError, match="cannot be read or written"):
        run.log.save(image(0), needed=True)


def test_a_disk_that_fails_at_the_beginning_is_told_as_such() -> None:
    class Broken(FaultyStorage):
        def sync_directory(self) -> None:
            raise OSError(errno.EIO, "input/output error")

    with pytest.raises(RecoveryError, match="cannot be read or written: input/output error"):
        Run(Broken(0))
