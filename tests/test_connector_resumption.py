"""The suite finds a sink that says that it resumes, and does not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import polars as pl
import pytest

from headwater.flows.connector import Sink, SinkContext, Writer
from headwater.flows.event import Event
from headwater.testing import check_sink


class Row(Event):
    n: int


@dataclass
class Shelf:
    """What a sink has written, and what of it others see."""

    written: pl.DataFrame | None = None
    shown: pl.DataFrame | None = None


@dataclass(frozen=True)
class ShelfSink(Sink):
    """Keeps rows on a shelf; `flaw` says what it does wrong."""

    resumes: ClassVar[bool] = True
    flaw: str = ""
    shelf: Shelf = field(default_factory=Shelf)

    def open(self, context: SinkContext) -> Writer:
        return self.resume(context, None)

    def resume(self, context: SinkContext, position: bytes | None) -> Writer:
        shelf = self.shelf
        before = shelf.written if shelf.written is not None else context.schema.empty()
        kept = int(position or 0)
        if self.flaw == "keeps all":
            kept = before.height
        if self.flaw == "keeps without position" and position is None:
            kept = before.height
        if self.flaw == "loses all":
            kept = 0
        if self.flaw == "once" and position is not None and before.height == kept:
            kept = 0
        shelf.written = before.head(kept)
        if shelf.shown is not None:
            shelf.written = context.schema.empty() if self.flaw == "begins again" else shelf.shown
        return ShelfWriter(self)


class ShelfWriter(Writer):
    def __init__(self, sink: ShelfSink) -> None:
        self._sink = sink
        self._shelf = sink.shelf

    def write(self, rows: pl.DataFrame) -> None:
        assert self._shelf.written is not None
        self._shelf.written = self._shelf.written.vstack(rows)

    def position(self) -> bytes | None:
        if self._sink.flaw == "no position":
            return None
        assert self._shelf.written is not None
        return b"%d" % (self._shelf.written.height - (self._sink.flaw == "position too early"))

    def suspend(self) -> None:
        if self._sink.flaw == "suspend shows":
            self.close()
        if self._sink.flaw == "suspend drops":
            self._shelf.written = None

    def close(self) -> None:
        self._shelf.shown = self._shelf.written

    def abort(self) -> None:
        if self._sink.flaw != "abort shows":
            self._shelf.written = None
        else:
            self.close()


def check(flaw: str = "") -> None:
    sinks: list[ShelfSink] = []

    def make() -> Sink:
        sinks.append(ShelfSink(flaw))
        return sinks[-1]

    check_sink(make, lambda: sinks[-1].shelf.shown, Row)


def test_a_good_sink_passes() -> None:
    check()


@pytest.mark.parametrize(
    ("flaw", "sentence"),
    [
        ("keeps all", "what was written after a position is undone"),
        ("keeps without position", "resume.None. undoes everything"),
        ("loses all", "what was written after a position is undone"),
        ("once", "what was .*"),
        ("no position", "position is bytes"),
        ("position too early", "what was .*"),
        ("begins again", "what was completed stays"),
        ("suspend shows", "suspend completes nothing"),
        ("suspend drops", "what was .*"),
        ("abort shows", "abort leaves nothing"),
    ],
)
def test_a_flaw_is_found(flaw: str, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check(flaw)
