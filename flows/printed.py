"""Where the rows of a leaf without a sink go: standard output, as lines a person can read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, ClassVar, TextIO

import polars as pl

from .connector import DELETED, Sink, SinkContext, Writer

__all__ = ["Printed"]


@dataclass(frozen=True, slots=True)
class Printed(Sink):
    """Prints ``operator  column=value …``; of an upsert stream, ``~`` marks what is replaced."""

    upsert: ClassVar[bool] = True

    def open(self, context: SinkContext) -> Writer:
        return _Printer(context, sys.stdout)


class _Printer(Writer):
    def __init__(self, context: SinkContext, out: TextIO) -> None:
        self._context = context
        self._out = out

    def write(self, rows: pl.DataFrame) -> None:
        names = [name for name in rows.columns if name != DELETED]
        gone: list[Any] = rows[DELETED].to_list() if DELETED in rows.columns else []
        mark = "~ " if gone else ""
        for number, row in enumerate(rows.select(names).iter_rows()):
            values = "  ".join(f"{n}={_text(v)}" for n, v in zip(names, row, strict=True))
            sign = "- " if gone and gone[number] else mark
            self._out.write(f"{self._context.operator.removesuffix(' (terminal)')}: {sign}{values}\n")
        self._out.flush()

    def close(self) -> None:
        self._out.flush()

    def abort(self) -> None:
        self._out.flush()


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
