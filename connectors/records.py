"""Groups lines into CSV records: a quoted field may hold line feeds."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .lines import Cut, LineCutter, Long

__all__ = ["RecordCutter", "Records"]


@dataclass(slots=True)
class Records:
    """Complete records with the numbers of their first lines, and what is none."""

    raw: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    long: list[Long] = field(default_factory=list)
    unclosed: list[tuple[int, bytes]] = field(default_factory=list)


class RecordCutter:
    """Takes blocks in order and returns the CSV records (RFC 4180) that they complete.

    A quote counts only where a field begins. When a quoted field does not close within
    `max_line` bytes, or before the input ends, each line of that piece stands for itself: the
    lines that do not close a quote of theirs are `unclosed`, the others are records. So a stray
    quote costs its own line and not the rest of the file.
    """

    __slots__ = ("_close", "_cutter", "_held", "_max", "_open", "_size")

    def __init__(self, max_line: int, delimiter: str) -> None:
        sep = re.escape(delimiter.encode())
        quoted = rb'"[^"]*+(?:""[^"]*+)*+'
        other = rb"[^" + sep + rb"]*+"
        self._open = re.compile(
            rb"(?>(?>"
            + quoted
            + rb'"'
            + other
            + rb'|(?!")'
            + other
            + rb")"
            + sep
            + rb")*+"
            + quoted
            + rb"\Z",
            re.DOTALL,
        )
        self._close = re.compile(
            rb'[^"]*+(?:""[^"]*+)*+"' + other + rb"(?:" + sep + rb"|\Z)", re.DOTALL
        )
        self._cutter = LineCutter(max_line, strip=False)
        self._max = max_line
        self._held: list[tuple[int, bytes]] = []
        self._size = 0

    @property
    def number(self) -> int:
        """The number of the next line."""
        return self._cutter.number

    def skip(self) -> None:
        """Leave one line number out."""
        self._cutter.number += 1

    def feed(self, block: bytes) -> Records:
        """Return the records that `block` completes."""
        return self._group(self._cutter.feed(block))

    def finish(self) -> Records:
        """Return what is left at the end of the input."""
        records = self._group(self._cutter.finish())
        self._release(records)
        return records

    def abandon(self) -> Records:
        """Give up what is not complete, and return it as `unclosed`."""
        records = Records(unclosed=self._held)
        self._held, self._size = [], 0
        line = self._cutter.abandon()
        if line is not None:
            records.unclosed.append((line.number, line.head))
        return records

    def _group(self, cut: Cut) -> Records:
        if not self._held and not any(b'"' in line for line in cut.lines):
            return Records(list(cut.lines), list(cut.numbers), list(cut.long))
        records = Records(long=list(cut.long))
        for number, line in zip(cut.numbers, cut.lines, strict=True):
            if self._held:
                self._continue(number, line, records)
            elif b'"' in line and self._open.match(line):
                self._hold(number, line)
            else:
                records.raw.append(line)
                records.numbers.append(number)
        return records

    def _hold(self, number: int, line: bytes) -> None:
        self._held.append((number, line))
        self._size += len(line) + 1

    def _continue(self, number: int, line: bytes, records: Records) -> None:
        self._hold(number, line)
        if self._size > self._max:
            self._release(records)
            return
        end = self._close.match(line) if b'"' in line else None
        if end is None or self._open.match(line, end.end()):
            return
        records.raw.append(b"\n".join(one for _, one in self._held))
        records.numbers.append(self._held[0][0])
        self._held, self._size = [], 0

    def _release(self, records: Records) -> None:
        for number, line in self._held:
            if self._open.match(line):
                records.unclosed.append((number, line))
            else:
                records.raw.append(line)
                records.numbers.append(number)
        self._held, self._size = [], 0
