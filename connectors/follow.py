"""Follows files that grow, as ``tail -F`` does."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..flows.connector import Signal
from ..flows.errors import ConnectorError
from .blocks import BLOCK, Blocks, Damage
from .patterns import Found

__all__ = ["FollowBlocks"]

POLL_SECONDS = 0.1


class FollowBlocks(Blocks):
    """Reads a file that others append to; it never ends.

    When the file is replaced (rotation) it reads the old one to its end and then the new one from
    its beginning; when the file has become shorter it begins again. Either way a line that was
    not complete is given up, which `Damage` reports. Raises `ConnectorError` for compressed files.
    """

    def __init__(self, found: Found, wake: Callable[[], None]) -> None:
        if found.member is not None or found.path.endswith(".gz"):
            raise ConnectorError(f"{found.name}: a compressed file cannot be followed")
        self._path = Path(found.path)
        self._file = self._open()
        self._watch = _Watch(self._changed, wake)

    def _open(self) -> BinaryIO:
        try:
            return self._path.open("rb", buffering=0)
        except OSError as error:
            raise ConnectorError(f"{self._path}: cannot be opened: {error}") from error

    def next(self) -> bytes | Signal:
        self._watch.asleep = False
        replaced = self._replaced()
        try:
            block = self._file.read(BLOCK)
            if block:
                return block
            if replaced:
                old, self._file = self._file, self._open()
                old.close()
                raise Damage("the file was replaced before the line was complete", ends=False)
            if os.fstat(self._file.fileno()).st_size < self._file.tell():
                self._file.seek(0)
                raise Damage("the file was cut before the line was complete", ends=False)
        except OSError as error:
            raise ConnectorError(f"{self._path}: cannot be read: {error}") from error
        self._watch.sleep()
        return Signal.WAIT

    def _replaced(self) -> bool:
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._file.fileno())
        return (now.st_dev, now.st_ino) != (mine.st_dev, mine.st_ino)

    def _changed(self) -> bool:
        try:
            size, place = os.fstat(self._file.fileno()).st_size, self._file.tell()
        except (OSError, ValueError):
            return True
        return size != place or self._replaced()

    def close(self) -> None:
        self._watch.stop()
        self._file.close()


class _Watch:
    """A thread that looks every 100 ms whether a reader that waits can go on."""

    def __init__(self, changed: Callable[[], bool], wake: Callable[[], None]) -> None:
        self._changed = changed
        self._wake = wake
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.asleep = False

    def sleep(self) -> None:
        """Call `wake` once something has changed."""
        self.asleep = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="follow", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            if self.asleep and self._changed():
                self.asleep = False
                self._wake()
