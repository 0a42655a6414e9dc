"""The signals that stop a run: the first lets it end, the second interrupts it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from ..flows.engine.runner import Runner
from ..flows.errors import NoRoomError

__all__ = ["Stopping"]

_FULL: Final = 0.2
"""Seconds between two looks at whether a full disk has room again."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """Whether a run was asked to stop; `say` prints a line for a person.

    What a signal handler calls takes no lock, as it may come amid anything.
    """

    __slots__ = ("_runner", "_say", "asked")

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._runner: Runner | None = None
        self.asked = False

    def of(self, runner: Runner) -> None:
        """Name the runner that is to be stopped, now if a signal has come already."""
        self._runner = runner
        if self.asked:
            runner.stop()

    def wait(self) -> None:
        """Wait a moment for room on a disk; raises `NoRoomError` once the run is to stop."""
        if not self.asked:
            time.sleep(_FULL)
        if self.asked:
            raise NoRoomError(
                "stopped while it waited for room; what was done before is kept, start it again "
                "to go on where it was"
            )

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Let signals stop the runner."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread is sent signals
            return
        before = [(number, signal.signal(number, self._handle)) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._runner is not None and self._runner.completed:
            return
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if self._runner is not None:
            self._runner.stop()
        with suppress(RuntimeError, OSError):  # it came amid another line, or nobody reads them
            self._say(
                "stopping: what was read is worked off, the sinks are completed; again to abort"
            )
