"""The log of a run in a folder: a journal of its steps, and images of it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from typing import Final

import polars as pl

from ..flows.clock import Clock
from ..flows.engine.image import Image
from ..flows.engine.record import Record, body_of, entry_of, record_of
from ..flows.errors import RecoveryError
from ..flows.journal.entry import StepKind
from ..flows.journal.errors import FormatError, FullError
from ..flows.journal.settings import JournalSettings
from ..flows.journal.storage import Storage
from .images import images_in, load_image, remove_image, save_image
from .journal import JournalReader, JournalWriter, Written, open_journal

__all__ = ["FolderLog"]

_READER: Final = "run"
"""The name under which the run's own images acknowledge its journal."""


class FolderLog:
    """Implements `RunLog`; an image is due every `every` µs in which there were steps.

    `flow` (16 bytes) is the hash of the flow's code. When the disk is full, `notice` says so, and
    `wait` is called until there is room; `executor` is as for `open_journal`. Raises what `open_journal` raises, and `RecoveryError` if
    the images that are there are all damaged.
    """

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        flow: bytes,
        *,
        settings: JournalSettings,
        every: int,
        wait: Callable[[], None],
        notice: Callable[[str], None],
        executor: Executor | None = None,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._flow = flow
        self._every = every
        self._wait = wait
        self._notice = notice
        self._images = images_in(storage)
        self._image = self._newest()
        self._saved = clock.now()
        self._unsaved = False
        at_least = 0 if self._image is None else self._image.step
        self._journal: JournalWriter = open_journal(
            storage,
            epoch=1,
            flow=flow,
            now=clock.now(),
            settings=settings,
            notice=notice,
            executor=executor,
            at_least=at_least,
        )

    def _newest(self) -> Image | None:
        for step in list(self._images):
            try:
                return load_image(self._storage, step)
            except FormatError as error:
                self._notice(f"{error}; the image before it is taken")
                self._images.remove(step)
        if any(name.endswith(".image") for name in self._storage.names()):
            raise RecoveryError(
                "every image of the run is damaged: restore the folder from a copy, or begin "
                "anew with another --state folder"
            )
        return None

    @property
    def image(self) -> Image | None:
        return self._image

    def records(self, schemas: Mapping[int, pl.Schema]) -> Iterator[Record]:
        start = 0 if self._image is None else self._image.step
        journal = self._journal
        reader = JournalReader(self._storage, start, committed=lambda: journal.following)
        while found := reader.read():
            for record in found:
                if not isinstance(record, Written):
                    raise RecoveryError(
                        "steps of the run are missing in its journal: restore the folder from a "
                        "copy, or begin anew with another --state folder"
                    )
                if record.entry.step.kind is StepKind.OPEN:
                    continue
                if record.entry.flow != self._flow:
                    raise RecoveryError(
                        "the flow has changed since the run was cut off, and steps have to be "
                        "done again by the code that did them: run the flow as it was until it "
                        "ends or is stopped, then as it is now"
                    )
                yield record_of(record.entry.step, record.batch(), schemas)

    @property
    def following(self) -> int:
        return self._journal.following

    @property
    def committed(self) -> int:
        return self._journal.committed

    def append(self, record: Record) -> None:
        entry, body = entry_of(record), body_of(record)
        self._unsaved = True
        while True:
            try:
                self._journal.append(entry, body)
            except FullError:
                self._wait()
            else:
                return

    def sync(self) -> None:
        while True:
            try:
                self._journal.sync(self._clock.now())
            except FullError:
                self._wait()
            else:
                return

    def due(self, now: int) -> bool:
        self._journal.tick(now)
        return self._unsaved and now - self._saved >= self._every

    def save(self, image: Image) -> None:
        self.sync()
        self._saved = self._clock.now()
        try:
            save_image(self._storage, image)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._notice("no room for an image of the run: it goes on without")
            return
        self._unsaved = False
        if image.step not in self._images:
            self._images.insert(0, image.step)
        for step in self._images[2:]:
            remove_image(self._storage, step)
        del self._images[2:]
        kept = self._images[-1] - 1
        if image.step:
            self._journal.acknowledge(_READER, image.step - 1, kept, owner=True)
            self._journal.trim()

    def close(self) -> None:
        self._journal.close(self._clock.now())
