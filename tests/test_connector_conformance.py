"""The suite finds a connector that breaks a sentence of the contract."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pytest

from headwater.connectors.conformance import check_sink, check_source, sample_rows
from headwater.connectors.pending import Pending
from headwater.flows.connector import (
    Chunk,
    Dead,
    Reader,
    Signal,
    Sink,
    SinkContext,
    Source,
    SourceContext,
    Writer,
)
from headwater.flows.event import Event
from headwater.flows.schema import schema_of


class Row(Event):
    n: int


Twist = Callable[[Chunk, int], Chunk | Signal]


def straight(chunk: Chunk, limit: int) -> Chunk | Signal:
    return chunk


@dataclass(frozen=True)
class Numbers(Source[Any]):
    """Thirty numbers and a dead letter; `twist` spoils what a read gives."""

    twist: Twist = straight
    keeps_start: bool = True
    names: Callable[[], Sequence[str]] = lambda: ["numbers"]
    after_end: Signal = Signal.END

    def partitions(self) -> Sequence[str]:
        return self.names()

    def open(self, partition: str, context: SourceContext) -> Reader:
        return NumbersReader(self, context.start if self.keeps_start else None)


class NumbersReader(Reader):
    def __init__(self, source: Numbers, start: int | None) -> None:
        self._source = source
        self._ended = False
        self._pending = Pending()
        offsets = pl.Series([n for n in range(31) if n != 7], dtype=pl.Int64)
        rows = pl.DataFrame({"n": offsets})
        self._pending.put(Chunk(rows, offsets, (Dead(7, b"seven", "no number"),)), start)

    def read(self, limit: int) -> Chunk | Signal:
        if self._ended:
            return self._source.after_end
        if not len(self._pending):
            self._ended = True
            return Signal.END
        return self._source.twist(self._pending.take(limit), limit)

    def close(self) -> None:
        self._ended = True


def test_a_good_source_passes() -> None:
    expected = pl.DataFrame({"n": [n for n in range(31) if n != 7]})
    check_source(Numbers(), Row, expected)
    with pytest.raises(AssertionError):
        check_source(Numbers(), Row, expected.head(3))


def repeated(chunk: Chunk, limit: int) -> Chunk:
    return replace(chunk, offsets=pl.repeat(1, len(chunk.rows), dtype=pl.Int64, eager=True))


def lossy(chunk: Chunk, limit: int) -> Chunk:
    return replace(chunk, rows=chunk.rows.head(5), offsets=chunk.offsets.head(5))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (Numbers(twist=repeated), "offsets grow"),
        (Numbers(twist=lossy), "another limit, gives the same"),
        (Numbers(twist=lambda c, n: replace(c, rows=c.rows.cast(pl.Int32))), "exactly the columns"),
        (Numbers(twist=lambda c, n: replace(c, offsets=c.offsets.cast(pl.Int32))), "Int64"),
        (Numbers(twist=lambda c, n: replace(c, offsets=c.offsets.head(0))), "one offset a row"),
        (Numbers(twist=lambda c, n: replace(c, dead=[Dead(0, b"", "")])), "limit|different|why"),
        (Numbers(twist=lambda c, n: Signal.WAIT), "after WAIT, wake is called"),
        (Numbers(after_end=Signal.WAIT), "after END every call returns END"),
        (Numbers(keeps_start=False), "start=.* reads from the first offset above"),
        (Numbers(names=lambda: ["a", "a"]), "different names"),
    ],
)
def test_a_bad_source_fails(source: Numbers, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_source(source, Row, seconds=0.01)


class Shelf:
    """Where sinks put their rows."""

    def __init__(self) -> None:
        self.rows: pl.DataFrame | None = None


@dataclass(frozen=True)
class ShelfSink(Sink):
    shelf: Shelf
    eager: bool = False
    keeps_aborted: bool = False
    counts_writes: bool = False

    def open(self, context: SinkContext) -> Writer:
        return ShelfWriter(self, context.schema.empty())


class ShelfWriter(Writer):
    def __init__(self, sink: ShelfSink, empty: pl.DataFrame) -> None:
        self._sink = sink
        self._rows = empty

    def write(self, rows: pl.DataFrame) -> None:
        if self._sink.counts_writes and len(rows) == 2:
            rows = rows.head(1)
        self._rows = self._rows.vstack(rows)
        if self._sink.eager:
            self.close()

    def close(self) -> None:
        self._sink.shelf.rows = self._rows

    def abort(self) -> None:
        if self._sink.keeps_aborted:
            self.close()


def check(**options: bool) -> None:
    shelves: list[Shelf] = []

    def make() -> Sink:
        shelves.append(Shelf())
        return ShelfSink(shelves[-1], **options)

    check_sink(make, lambda: shelves[-1].rows, Row)


def test_sinks() -> None:
    check()
    with pytest.raises(AssertionError, match="nothing is visible before close"):
        check(eager=True)
    with pytest.raises(AssertionError, match="abort leaves nothing"):
        check(keeps_aborted=True)
    with pytest.raises(AssertionError, match="different"):
        check(counts_writes=True)


def test_samples_fit_any_schema() -> None:
    class Inner(Event):
        what: str

    class Every(Event):
        flag: bool
        data: bytes
        many: list[int]
        inner: Inner
        may: float | None

    schema = schema_of(Every)
    rows = sample_rows(schema, 40)
    assert schema.polars() == rows.schema
    assert rows.null_count().row(0)[:4] == (0, 0, 0, 0)
    assert rows["may"].null_count() > 0
