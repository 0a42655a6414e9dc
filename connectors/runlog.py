"""The log of a run in a folder: a journal of its steps, and images of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final

import polars as pl

from ..flows.clock import Clock
from ..flows.engine.image import Image
from ..flows.engine.record import Record, body_of, entry_of, record_of
from ..flows.errors import RecoveryError
from ..flows.journal.entry import StepKind
from ..flows.journal.errors import FormatError, FullError
from ..flows.journal.settings import JournalSettings
from ..flows.journal.storage import FULL, Storage
from .images import images_in, load_image, remove_image, save_image
from .journal import JournalReader, JournalWriter, Written, open_journal

__all__ = ["FolderLog"]

_READER: Final = "run"
"""The name under which the run's own images acknowledge its journal."""
_KEPT: Final = 2
"""Images that are kept."""


class FolderLog:
    """Implements `RunLog`; an image is due every `every` µs in which there were steps.

    `flow` (16 bytes) is the hash of the flow's code. When the disk is full, `notice` says so, and
    `wait` is called until there is room; `executor` is as for `open_journal`. Raises what
    `open_journal` raises, and `RecoveryError` if the images that are there are all damaged.
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
        self._short = False
        """Whether there was no room for the last image."""
        self._journal = self._opened(settings, executor)

    def _opened(self, settings: JournalSettings, executor: Executor | None) -> JournalWriter:
        """Open the journal; wait if there is no room for what it has to write for that."""
        told = False
        while True:
            try:
                journal = open_journal(
                    self._storage,
                    epoch=1,
                    flow=self._flow,
                    now=self._clock.now(),
                    settings=settings,
                    notice=_silent if told else self._notice,
                    executor=executor,
                    at_least=0 if self._image is None else self._image.step,
                )
            except FullError:
                told = True
                self._wait()
            except OSError as error:
                raise _failed(error) from error
            else:
                if told:
                    self._notice("the journal has room again")
                return journal

    def _newest(self) -> Image | None:
        for step in list(self._images):
            try:
                return load_image(self._storage, step)
            except FormatError as error:
                self._notice(f"{error}; the image before it is taken")
                self._images.remove(step)
            except OSError as error:
                raise _failed(error) from error
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
        with suppress(FullError):  # the next append says it, and waits
            self._journal.tick(now)
        return self._unsaved and now - self._saved >= self._every

    def save(self, image: Image, *, needed: bool) -> None:
        self.sync()
        self._saved = self._clock.now()
        if not self._written(image, needed=needed):
            return
        self._unsaved = self._short = False
        if image.step not in self._images:
            self._images.insert(0, image.step)
        with suppress(OSError):  # what is not done now is done with the next image
            self._forget(image.step)

    def _written(self, image: Image, *, needed: bool) -> bool:
        """Write an image; if it is `needed`, wait for room. Return whether it is there."""
        waits = False
        while True:
            try:
                save_image(self._storage, image)
            except OSError as error:
                full = error.errno in FULL
                if needed and not full:
                    raise _failed(error) from error
                if not full:
                    self._notice(f"no image of the run: {error.strerror}; it goes on without")
                elif needed and not waits:
                    self._notice("no room for an image of the run: it waits for it")
                elif not needed and not self._short:
                    self._notice("no room for an image of the run: it goes on without")
                self._short, waits = full, needed
                if not needed:
                    return False
                self._wait()
            else:
                return True

    def _forget(self, step: int) -> None:
        """Remove all but the newest two images, and what of the journal comes before them."""
        while len(self._images) > _KEPT:
            remove_image(self._storage, self._images[-1])
            self._images.pop()
        if step:
            self._journal.acknowledge(_READER, step - 1, self._images[-1] - 1, owner=True)
            self._journal.trim()

    def wait(self) -> None:
        self._wait()

    def close(self) -> None:
        with suppress(FullError):  # of steps that were not committed, and nobody has seen
            self._journal.close(self._clock.now())


def _failed(error: OSError) -> RecoveryError:
    return RecoveryError(
        f"the folder of the run cannot be read or written: {error.strerror or error}; start it "
        f"again to go on where it was"
    )


def _silent(text: str) -> None:
    """It was said."""
