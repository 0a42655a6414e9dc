"""The conformance suite of connectors: every sentence of the contract as a check.

Call it from a test of your own connector:

    def test_table_source(tmp_path):
        check_source(table(tmp_path / "shop.db", "orders"), Order, expected_rows=orders)

    def test_table_sink(tmp_path):
        check_sink(lambda: to_table(tmp_path / "out.db"), read_back, Order)

A check that fails raises `AssertionError` with the sentence that does not hold.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from polars.testing import assert_frame_equal

from ..flows.boundary import boundary_of
from ..flows.clock import ManualClock
from ..flows.connector import (
    DELETED,
    Chunk,
    Dead,
    Reader,
    Signal,
    Sink,
    SinkContext,
    Source,
    SourceContext,
)
from ..flows.event import Event
from ..flows.schema import Schema, schema_of
from .resumption import check_resumption, equal
from .samples import sample_rows

__all__ = [
    "Bell",
    "Drained",
    "check_sink",
    "check_source",
    "drain",
    "sample_rows",
    "sink_context",
    "source_context",
]

_LIMITS = (1, 7, 10_000)
_SECONDS = 10.0
_ROWS = 200


@dataclass(frozen=True, slots=True)
class Drained:
    """Everything that a partition gave."""

    rows: pl.DataFrame
    offsets: pl.Series
    dead: tuple[Dead, ...]

    def after(self, offset: int) -> Drained:
        """Return what stands above an offset."""
        kept = self.offsets > offset
        return Drained(
            self.rows.filter(kept),
            self.offsets.filter(kept),
            tuple(one for one in self.dead if one.offset > offset),
        )


class Bell:
    """What a reader's `wake` rings."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        """Say that there is something to read."""
        self._rung.set()

    def wait(self, seconds: float) -> bool:
        """Wait until `ring` has been called since the last `wait`; return whether it was."""
        rung = self._rung.wait(seconds)
        self._rung.clear()
        return rung


def source_context(event: type[Event], bell: Bell, seed: int = 0) -> SourceContext:
    """Return a context to open a partition with; `wake` rings the bell."""
    return SourceContext(event, boundary_of(event), ManualClock(), seed, bell.ring)


def sink_context(event: type[Event] | Schema, operator: str = "conformance") -> SinkContext:
    """Return a context to open a sink with."""
    schema = event if isinstance(event, Schema) else schema_of(event)
    return SinkContext(operator, schema, ManualClock(), 0)


def drain(
    source: Source[Any],
    partition: str,
    event: type[Event],
    *,
    limit: int = 10_000,
    start: int | None = None,
    most: int | None = None,
    seconds: float = _SECONDS,
    seed: int = 0,
) -> Drained:
    """Read a partition to its end, or to at least `most` rows, and check each answer.

    `seconds` bounds the wait for each `wake`. Raises `AssertionError`.
    """
    bell = Bell()
    reader = source.open(partition, replace(source_context(event, bell, seed), start=start))
    try:
        return _drained(reader, schema_of(event), bell, limit, most, seconds)
    finally:
        reader.close()


def _drained(
    reader: Reader, schema: Schema, bell: Bell, limit: int, most: int | None, seconds: float
) -> Drained:
    rows = [schema.empty()]
    offsets = [pl.Series("offset", [], dtype=pl.Int64)]
    dead: list[Dead] = []
    last: int | None = None
    count = 0
    while most is None or count < most:
        answer = reader.read(limit)
        if answer is Signal.WAIT:
            assert bell.wait(seconds), f"after WAIT, wake is called ({seconds} s have passed)"
            continue
        if answer is Signal.END:
            for _ in range(3):
                assert reader.read(limit) is Signal.END, "after END every call returns END"
            break
        assert isinstance(answer, Chunk), "read returns a Chunk or a Signal"
        last = _check_chunk(answer, schema, limit, last)
        rows.append(answer.rows)
        offsets.append(answer.offsets.alias("offset"))
        dead += answer.dead
        count += len(answer.rows) + len(answer.dead)
    return Drained(pl.concat(rows), pl.concat(offsets), tuple(dead))


def _check_chunk(chunk: Chunk, schema: Schema, limit: int, last: int | None) -> int | None:
    size = len(chunk.rows) + len(chunk.dead)
    assert size <= limit, f"read(limit) gives at most {limit} rows and dead letters, not {size}"
    expected = dict(schema.columns)
    assert expected == dict(chunk.rows.schema), "rows have exactly the columns of the schema"
    assert list(schema.names) == chunk.rows.columns, "the columns are in the schema's order"
    assert chunk.offsets.dtype == pl.Int64, "offsets are Int64"
    assert len(chunk.rows) == len(chunk.offsets), "there is one offset a row"
    assert not chunk.offsets.null_count(), "every row has an offset"
    good, bad = chunk.offsets.to_list(), [one.offset for one in chunk.dead]
    assert sorted(set(good)) == good, "offsets grow strictly from row to row"
    assert sorted(set(bad)) == bad, "offsets grow strictly from dead letter to dead letter"
    every = sorted(good + bad)
    assert len(set(every)) == len(every), "a row and a dead letter have different offsets"
    assert all(one.reason for one in chunk.dead), "a dead letter says why"
    if every:
        assert last is None or every[0] > last, "offsets grow from one read to the next"
        last = every[-1]
    return last


def check_source(
    source: Source[Any],
    event: type[Event],
    expected_rows: pl.DataFrame | None = None,
    *,
    most: int | None = None,
    seconds: float = _SECONDS,
    seed: int = 0,
) -> None:
    """Check a source against the contract; raises `AssertionError`.

    Each opening of a partition must find the same data, also where the source does not rewind
    (let it open a fresh stream, or feed itself). `expected_rows` are the rows of all partitions,
    in order. An unbounded source is read to `most` rows of each partition.
    """
    assert source.bounded or most is not None or not source.rewinds, (
        "give `most` for a source that does not end"
    )
    partitions = list(source.partitions())
    assert len(set(partitions)) == len(partitions), "partitions have different names"
    assert partitions == list(source.partitions()), "partitions come always in the same order"
    found = []
    for partition in partitions:
        whole = _check_limits(source, partition, event, most, seconds, seed)
        found.append(whole.rows)
        if source.rewinds:
            _check_start(source, partition, event, whole, most, seconds, seed)
        _check_close(source, partition, event, seed)
    if expected_rows is not None:
        assert_frame_equal(expected_rows, pl.concat([schema_of(event).empty(), *found]))


def _check_limits(
    source: Source[Any],
    partition: str,
    event: type[Event],
    most: int | None,
    seconds: float,
    seed: int,
) -> Drained:
    runs = [
        _first(
            drain(source, partition, event, limit=n, most=most, seconds=seconds, seed=seed), most
        )
        for n in _LIMITS
    ]
    for other in runs[1:]:
        _assert_same(runs[0], other, "reading again, with another limit, gives the same")
    return runs[0]


def _first(drained: Drained, most: int | None) -> Drained:
    every = sorted([*drained.offsets.to_list(), *(one.offset for one in drained.dead)])
    if most is None or len(every) <= most:
        return drained
    last = every[most - 1]
    kept = drained.offsets <= last
    dead = tuple(one for one in drained.dead if one.offset <= last)
    return Drained(drained.rows.filter(kept), drained.offsets.filter(kept), dead)


def _assert_same(expected: Drained, found: Drained, sentence: str) -> None:
    assert expected.offsets.to_list() == found.offsets.to_list(), f"{sentence} offsets"
    assert expected.dead == found.dead, f"{sentence} dead letters"
    try:
        assert_frame_equal(expected.rows, found.rows, check_exact=True)
    except AssertionError as error:
        raise AssertionError(f"{sentence} rows: {error}") from error


def _check_start(
    source: Source[Any],
    partition: str,
    event: type[Event],
    whole: Drained,
    most: int | None,
    seconds: float,
    seed: int,
) -> None:
    every = sorted([*whole.offsets.to_list(), *(one.offset for one in whole.dead)])
    if not every:
        return
    middle = every[len(every) // 2]
    for start in sorted({every[0] - 1, every[0], middle - 1, middle, every[-1]}):
        left = sum(offset > start for offset in every)
        if most is not None and not left:
            continue
        found = drain(
            source,
            partition,
            event,
            start=start,
            most=None if most is None else left,
            seconds=seconds,
            seed=seed,
        )
        kept = _first(found, None if most is None else left)
        _assert_same(whole.after(start), kept, f"start={start} reads from the first offset above")


def _check_close(source: Source[Any], partition: str, event: type[Event], seed: int) -> None:
    for reads in (0, 1):
        reader = source.open(partition, source_context(event, Bell(), seed))
        for _ in range(reads):
            reader.read(3)
        progress = reader.progress()
        assert progress is None or 0 <= progress <= 1, "progress is from 0 to 1"
        assert reader.describe(1), "describe says where an offset is"
        reader.close()
        reader.close()


def check_sink(
    make_sink: Callable[[], Sink],
    read_back: Callable[[], object],
    event: type[Event],
    *,
    atomic: bool = True,
    rows: pl.DataFrame | None = None,
) -> None:
    """Check a sink against the contract; raises `AssertionError`.

    `make_sink` returns a sink to an empty place, a fresh one each time; `read_back` returns what
    is visible at the place of the last: None, a `pl.DataFrame`, or bytes. A frame is compared
    with the rows written. A sink that `resumes` is cut off and gone on with, too. Give
    `atomic=False` for a sink that others see a part of before `close`, such as a socket. `rows`
    replaces the rows that are written.
    """
    context = sink_context(event)
    sample = sample_rows(context.schema, _ROWS) if rows is None else rows
    contents = []
    for cuts in ((len(sample),), (1, 2, 50, 0), (7,) * 40):
        content = _written(make_sink, read_back, context, _cut(sample, cuts), atomic=atomic)
        assert content is not None, "rows are visible after close"
        _check_content(sample, content)
        contents.append(content)
    for other in contents[1:]:
        assert equal(contents[0], other), "the content does not depend on how writes were cut"
    nothing = _written(make_sink, read_back, context, [], atomic=atomic)
    empty = _written(make_sink, read_back, context, [sample.clear()], atomic=atomic)
    assert equal(nothing, empty), "a write of no rows changes nothing"
    _check_abort(make_sink, read_back, context, sample, atomic=atomic)
    if make_sink().resumes:
        check_resumption(make_sink, read_back, context, sample, atomic=atomic)
    if make_sink().upsert:
        _check_upsert(make_sink, read_back, context, sample, atomic=atomic)


def _cut(rows: pl.DataFrame, sizes: Sequence[int]) -> list[pl.DataFrame]:
    pieces, start = [], 0
    for size in sizes:
        pieces.append(rows.slice(start, size))
        start += size
    pieces.append(rows.slice(start))
    return pieces


def _written(
    make_sink: Callable[[], Sink],
    read_back: Callable[[], object],
    context: SinkContext,
    pieces: Sequence[pl.DataFrame],
    *,
    atomic: bool,
) -> object:
    writer = make_sink().open(context)
    for piece in pieces:
        writer.write(piece)
    writer.flush()
    if atomic:
        assert read_back() is None, "nothing is visible before close"
    writer.close()
    writer.close()
    return read_back()


def _check_content(expected: pl.DataFrame, content: object) -> None:
    if isinstance(content, pl.DataFrame):
        assert_frame_equal(expected, content)


def _check_abort(
    make_sink: Callable[[], Sink],
    read_back: Callable[[], object],
    context: SinkContext,
    rows: pl.DataFrame,
    *,
    atomic: bool,
) -> None:
    for pieces in ([], [rows]):
        writer = make_sink().open(context)
        for piece in pieces:
            writer.write(piece)
        writer.abort()
        writer.abort()
        if atomic:
            assert read_back() is None, "abort leaves nothing"


def _check_upsert(
    make_sink: Callable[[], Sink],
    read_back: Callable[[], object],
    context: SinkContext,
    rows: pl.DataFrame,
    *,
    atomic: bool,
) -> None:
    numbered = rows.with_row_index("_row").unique(context.schema.names[0], keep="first")
    fresh = numbered.sort("_row").drop("_row")
    keyed = replace(context, schema=context.schema.with_key(context.schema.names[0]))
    added = fresh.with_columns(pl.lit(False).alias(DELETED))
    removed = fresh.head(1).with_columns(pl.lit(True).alias(DELETED))
    stream = pl.concat([added, removed])
    contents = [
        _written(make_sink, read_back, keyed, pieces, atomic=atomic)
        for pieces in ([stream], _cut(stream, (1,) * len(stream)))
    ]
    if isinstance(contents[0], pl.DataFrame):
        key = keyed.schema.names[0]
        assert_frame_equal(fresh.slice(1).sort(key), contents[0].sort(key))
    assert equal(*contents), "the table does not depend on how writes were cut"
    if make_sink().resumes:
        check_resumption(make_sink, read_back, keyed, stream, atomic=atomic)
