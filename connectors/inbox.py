"""Rows that come from outside, between the threads that take them and the reader."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..flows.boundary import Boundary
from ..flows.connector import Chunk, Reader, Signal
from ..flows.event import Event
from .formats import chunk_of
from .pending import Pending

__all__ = ["Full", "Inbox", "InboxReader", "NotJson", "NotKept", "Taken", "pieces"]


class NotJson(Exception):
    """Nothing in a body is JSON."""


class Full(Exception):
    """The queue has no room for a body."""


class NotKept(Exception):
    """The queue was closed before a body was kept."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a body."""

    accepted: int
    dead: int


class Inbox:
    """A queue of checked rows, bounded by rows; safe between threads."""

    def __init__(
        self, boundary: Boundary, bound: int, wake: Callable[[], None], acknowledged: bool = False
    ) -> None:
        """With `acknowledged`, a body is taken once `keep` says that all of it is kept."""
        self._boundary = boundary
        self._acknowledged = acknowledged
        self._bound = bound
        self._wake = wake
        self._lock = threading.Lock()
        self._kept_more = threading.Condition(self._lock)
        self._kept = 0
        self._closed = False
        self._chunks: deque[Chunk] = deque()
        self._waiting = 0
        self._number = 1
        self._ended = False

    @property
    def waiting(self) -> int:
        """How many rows and dead letters wait."""
        return self._waiting

    def put(self, body: bytes) -> Taken:
        """Check a body and queue all of it or nothing; raises `NotJson` and `Full`.

        A body with more rows than the bound fits when the queue is empty. Raises `NotKept` if it
        was to be acknowledged, and the queue was closed before.
        """
        lines = pieces(body)
        if not lines:
            return Taken(0, 0)
        with self._lock:
            if self._ended or (self._waiting and self._waiting + len(lines) > self._bound):
                raise Full
        checked = self._boundary.json_lines(lines)
        with self._lock:
            if self._ended or (self._waiting and self._waiting + len(lines) > self._bound):
                raise Full
            numbers = range(self._number, self._number + len(lines))
            self._chunks.append(chunk_of(checked, numbers, (), lines))
            self._number += len(lines)
            self._waiting += len(lines)
        self._wake()
        if self._acknowledged:
            self._wait_for(numbers[-1])
        return Taken(len(checked.rows), len(checked.bad))

    def _wait_for(self, number: int) -> None:
        with self._kept_more:
            self._kept_more.wait_for(lambda: self._kept >= number or self._closed)
            if self._kept < number:
                raise NotKept

    def keep(self, number: int) -> None:
        """Know that all rows up to `number` are kept."""
        with self._kept_more:
            self._kept = max(number, self._kept)
            self._kept_more.notify_all()

    def close(self) -> None:
        """Take nothing more; what is not kept by now will not be."""
        self.end()
        with self._kept_more:
            self._closed = True
            self._kept_more.notify_all()

    def end(self) -> None:
        """Take nothing more."""
        with self._lock:
            self._ended = True
        self._wake()

    def get(self) -> Chunk | Signal:
        """Return the rows of the body that came first."""
        with self._lock:
            if self._chunks:
                chunk = self._chunks.popleft()
                self._waiting -= len(chunk.rows) + len(chunk.dead)
                return chunk
            return Signal.END if self._ended else Signal.WAIT


class InboxReader(Reader):
    """Reads an inbox; offsets count rows from 1."""

    def __init__(
        self, inbox: Inbox, port: int, stop: Callable[[], None], event: type[Event]
    ) -> None:
        self.port = port
        """The port that it listens on."""
        self._inbox = inbox
        self._stop = stop
        self._pending = Pending()
        self._closed = False

    def read(self, limit: int) -> Chunk | Signal:
        if not len(self._pending):
            chunk = Signal.END if self._closed else self._inbox.get()
            if isinstance(chunk, Signal):
                return chunk
            self._pending.put(chunk)
        return self._pending.take(limit)

    def acknowledge(self, offset: int) -> None:
        self._inbox.keep(offset)

    def stop(self) -> None:
        self._inbox.end()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._pending = Pending()
            self._inbox.close()
            self._stop()

    def describe(self, offset: int) -> str:
        return f"row {offset} posted to port {self.port}"


def pieces(body: bytes) -> list[bytes]:
    """Return the rows of a body as the bytes that were sent; raises `NotJson`.

    The body is a JSON array, or JSON values one a line. An object that spans lines is one row.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = ""
    if text.lstrip().startswith("["):
        found = _elements(text)
        if found is not None:
            return found
    whole = body.strip()
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) > 1 and whole.startswith(b"{") and not _is_json(lines[0]) and _is_json(whole):
        return [whole]
    if lines and not any(_is_json(line) for line in lines):
        raise NotJson
    return lines


def _elements(text: str) -> list[bytes] | None:
    """Return the texts of a JSON array's elements, or None if it is none."""
    decoder = json.JSONDecoder()
    found: list[bytes] = []
    at = _past_space(text, text.index("[") + 1)
    if text[at : at + 1] == "]":
        return found if not text[at + 1 :].strip() else None
    while True:
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        found.append(text[at:end].encode())
        at = _past_space(text, end)
        sign = text[at : at + 1]
        if sign == "]":
            return found if not text[at + 1 :].strip() else None
        if sign != ",":
            return None
        at = _past_space(text, at + 1)


def _past_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
