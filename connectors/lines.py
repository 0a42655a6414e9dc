"""Cuts blocks of bytes into lines, whatever their length, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["HEAD", "MAX_LINE", "Cut", "LineCutter", "Long", "Whole"]

MAX_LINE = 2**20
"""The longest line, in bytes without its end, that a source takes as a row by default."""

HEAD = 2**16
"""How many bytes of a line that is too long its dead letter keeps."""


@dataclass(frozen=True, slots=True)
class Long:
    """A line above the bound: its number, how it begins, how many bytes it has."""

    number: int
    head: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Complete lines, without their line feeds, and their numbers; `long` are those left out."""

    lines: Sequence[bytes] = ()
    numbers: Sequence[int] = ()
    long: Sequence[Long] = ()


@dataclass(frozen=True, slots=True)
class Whole:
    """Complete lines in one piece: the first begins with `begun`, each ends at a line feed.

    `number` is that of the first; `long` are those left out.
    """

    begun: bytes
    block: memoryview
    number: int
    long: Sequence[Long] = ()


class LineCutter:
    """Takes blocks in order and returns the lines that they complete.

    A line ends at a line feed; with `strip`, a carriage return before it belongs to the end.
    What stands after the last line feed is held until its end comes; of a line above `max_line`
    bytes only the head is held. The first line is number 1.
    """

    __slots__ = ("_carry", "_head", "_max", "_size", "_strip", "number")

    def __init__(self, max_line: int = MAX_LINE, *, strip: bool = True) -> None:
        self._max = max_line
        self._strip = strip
        self._carry = bytearray()
        self._head: bytes | None = None
        self._size = 0
        self.number = 1
        """The number of the next line to come out."""

    def feed(self, block: bytes) -> Cut:
        """Return the lines that `block` completes."""
        whole = self.take(block)
        if not len(whole.block):
            return Cut((), (), whole.long)
        lines = bytes(whole.block[:-1]).split(b"\n")
        lines[0] = whole.begun + lines[0]
        return self._numbered(lines, list(whole.long))

    def take(self, block: bytes) -> Whole:
        """Return the lines that `block` completes, uncut; whoever counts them adds to `number`."""
        long: list[Long] = []
        view = memoryview(block)
        start = 0
        if self._head is not None:
            start = block.find(b"\n") + 1
            if not start:
                self._size += len(block)
                return Whole(b"", view[:0], self.number)
            long.append(self._end_long(start - 1))
        end = block.rfind(b"\n", start) + 1
        begun = b""
        if end:
            begun = bytes(self._carry)
            self._carry.clear()
        self._hold(view[max(start, end) :])
        return Whole(begun, view[start:end], self.number, long)

    def skip(self, block: bytes, last: int) -> bytes:
        """Pass the lines up to number `last` over, and return what of `block` comes after them."""
        missing = last - self.number + 1
        if missing <= 0:
            return block
        ended = block.count(b"\n")
        if ended:
            self._carry.clear()
            self._head, self._size = None, 0
        if ended >= missing:
            self.number = last + 1
            return block.split(b"\n", missing)[missing]
        self.number += ended
        tail = memoryview(block)[block.rfind(b"\n") + 1 :]
        if self._head is None:
            self._hold(tail)
        else:
            self._size += len(tail)
        return b""

    def finish(self) -> Cut:
        """Return the last line, if it has no end."""
        if self._head is not None:
            return Cut((), (), (self._end_long(0),))
        lines = [bytes(self._carry)] if self._carry else []
        self._carry.clear()
        return self._numbered(lines, [])

    def take_last(self) -> Whole:
        """Return the last line, if it has no end, uncut and with one."""
        if self._head is not None:
            return Whole(b"", memoryview(b""), self.number, (self._end_long(0),))
        begun = bytes(self._carry)
        self._carry.clear()
        return Whole(begun, memoryview(b"\n" if begun else b""), self.number)

    def abandon(self) -> Long | None:
        """Give up the line that has no end yet, and return it if it has begun."""
        if self._head is not None:
            return self._end_long(0)
        if not self._carry:
            return None
        line = Long(self.number, bytes(self._carry[:HEAD]), len(self._carry))
        self._carry.clear()
        self.number += 1
        return line

    def _hold(self, piece: memoryview) -> None:
        self._carry += piece
        if len(self._carry) > self._max + 1:
            self._head, self._size = bytes(self._carry[:HEAD]), len(self._carry)
            self._carry.clear()

    def _end_long(self, more: int) -> Long:
        assert self._head is not None
        line = Long(self.number, self._head, self._size + more)
        self.number += 1
        self._head, self._size = None, 0
        return line

    def _numbered(self, lines: list[bytes], long: list[Long]) -> Cut:
        numbers = range(self.number, self.number + len(lines))
        self.number += len(lines)
        if self._strip and any(line.endswith(b"\r") for line in lines):
            lines = [line.removesuffix(b"\r") for line in lines]
        if not lines or max(map(len, lines)) <= self._max:
            return Cut(lines, numbers, long)
        kept: list[tuple[int, bytes]] = []
        for number, line in zip(numbers, lines, strict=True):
            if len(line) <= self._max:
                kept.append((number, line))
            else:
                long.append(Long(number, line[:HEAD], len(line)))
        return Cut([line for _, line in kept], [number for number, _ in kept], long)
