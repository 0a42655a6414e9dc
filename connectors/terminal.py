"""Rows for a person to read: what a stream without a sink gets."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, TextIO

import polars as pl

from ..flows.connector import DELETED, Sink, SinkContext, Writer
from ..flows.errors import ConnectorError

__all__ = ["terminal"]


def _stdout() -> TextIO:
    if sys.stdout is None:
        raise ConnectorError("stdout: is closed")
    return sys.stdout


def terminal(*, stream: Callable[[], TextIO] = _stdout) -> Sink:
    """Return a sink that prints each row as ``alarms  at=12:00:03 store=pavia what=warm``.

    Of an upsert stream, ``~`` marks a row that is new for its key or replaces one, and ``-`` one
    that is deleted. A broken pipe is no error.
    """
    return _Terminal(stream)


@dataclass(frozen=True, slots=True)
class _Terminal(Sink):
    upsert: ClassVar[bool] = True

    stream: Callable[[], TextIO]

    def open(self, context: SinkContext) -> Writer:
        return _TerminalWriter(context.operator, context.schema.names, self.stream())


class _TerminalWriter(Writer):
    """Prints at `write`; nothing is held back. Columns widen as wider values come."""

    def __init__(self, operator: str, names: tuple[str, ...], out: TextIO) -> None:
        self._operator = operator
        self._names = names
        self._widths = dict.fromkeys(names, 0)
        self._out = out
        self._broken = False

    def write(self, rows: pl.DataFrame) -> None:
        if self._broken or rows.is_empty():
            return
        try:
            self._out.write("".join(self._lines(rows)))
            self._out.flush()
        except BrokenPipeError:
            self._broken = True
        except OSError as error:
            raise ConnectorError(f"stdout: cannot be written: {error.strerror}") from error

    def _lines(self, rows: pl.DataFrame) -> list[str]:
        columns = []
        for name in self._names:
            cells = [f"{name}={_shown(value)}" for value in rows[name].to_list()]
            width = max(self._widths[name], max(map(len, cells)))
            self._widths[name] = width
            columns.append([cell.ljust(width) for cell in cells])
        marks = [""] * len(rows)
        if DELETED in rows.columns:
            marks = ["- " if gone else "~ " for gone in rows[DELETED].to_list()]
        return [
            f"{self._operator}  {mark}{' '.join(cells)}".rstrip() + "\n"
            for mark, cells in zip(marks, zip(*columns, strict=True), strict=True)
        ]

    def close(self) -> None:
        self._broken = True

    def abort(self) -> None:
        self._broken = True


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, float):
        return format(value, ".6g")
    text = str(value)
    return text if text and text.isprintable() and " " not in text else repr(text)
