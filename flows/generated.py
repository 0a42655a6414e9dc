"""Sources that are generators of events: at most once, as a generator cannot be rewound."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import polars as pl

from .connector import Chunk, Dead, Reader, Signal, Source, SourceContext
from .errors import ConnectorError
from .event import Event
from .rows import checked_frame

__all__ = ["GeneratedSource"]

_BOUND: Final = 10_000
"""Events that may wait between the generator and the engine."""
_END: Final = object()


@dataclass(frozen=True, slots=True)
class GeneratedSource(Source[Any]):
    """Runs a generator in a thread of its own, so that it may block."""

    make: Callable[[], Iterable[Event]]
    bounded: ClassVar[bool] = False
    rewinds: ClassVar[bool] = False

    def partitions(self) -> list[str]:
        return [getattr(self.make, "__name__", "events")]

    def open(self, partition: str, context: SourceContext) -> Reader:
        return _GeneratorReader(self.make, context)


class _GeneratorReader(Reader):
    def __init__(self, make: Callable[[], Iterable[Event]], context: SourceContext) -> None:
        self._event = context.event
        self._wake = context.wake
        self._queue: queue.Queue[Any] = queue.Queue(_BOUND)
        self._closed = threading.Event()
        self._ended = False
        self._count = 0
        threading.Thread(target=self._run, args=(make,), daemon=True).start()

    def _run(self, make: Callable[[], Iterable[Event]]) -> None:
        try:
            for event in make():
                if not self._put(event):
                    return
            self._put(_END)
        except (Exception, SystemExit) as error:  # whatever the user's generator raises
            self._put(error)

    def _put(self, item: object) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue
            self._wake()
            return True
        return False

    def read(self, limit: int) -> Chunk | Signal:
        if self._ended:
            return Signal.END
        events: list[Event] = []
        while len(events) < limit:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is _END or isinstance(item, BaseException):
                self._ended = True
                if isinstance(item, BaseException):
                    text = f"{type(item).__name__}: {item}"
                    raise ConnectorError(f"the generator failed: {text}") from item
                break
            events.append(item)
        if not events:
            return Signal.END if self._ended else Signal.WAIT
        rows, bad = checked_frame(events, self._event)
        first = self._count
        self._count += len(events)
        lost = {index for index, _ in bad}
        offsets = [first + i for i in range(len(events)) if i not in lost]
        dead = [Dead(first + i, repr(events[i]).encode(), reason) for i, reason in bad]
        return Chunk(rows, pl.Series(offsets, dtype=pl.Int64), dead)

    def describe(self, offset: int) -> str:
        return f"event {offset + 1} of the generator"

    def stop(self) -> None:
        self._closed.set()

    def close(self) -> None:
        self._closed.set()
