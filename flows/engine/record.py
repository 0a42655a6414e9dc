"""What a step of a run took from outside: enough to do it again and have the same come out.

A step ticks the operators with the time, works off what one partition gave or its end, sets
partitions aside that were silent, and lets sources that are silent altogether follow the others.
Everything else about it follows from the state before.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl
import pyarrow as pa

from ..connector import Chunk, Dead
from ..errors import HeadwaterError
from ..journal.entry import IdleMark, OutputMark, Range, StepKind
from ..journal.entry import Step as EntryStep

__all__ = ["Record", "Taken", "body_of", "entry_of", "mark_of", "record_of"]

_OFFSET: Final = "_hw_offset"
_RAW: Final = "_hw_raw"
_REASON: Final = "_hw_reason"
_SAMPLED: Final = 8


@dataclass(frozen=True, slots=True)
class Taken:
    """What a step took of a channel (a partition, by its number in the run).

    `items` rows and dead letters, from number `first` on, counted from the partition's beginning;
    or, if `ended`, that there are no more.
    """

    channel: int
    first: int = 0
    items: int = 0
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What a step took from outside, and a mark of what came out, by the node that it came to.

    `chunk` is there where the source cannot give it again.
    """

    now: int
    taken: Taken | None = None
    idle: tuple[int, ...] = ()
    """Channels that were set aside."""
    chunk: Chunk | None = None
    outputs: tuple[OutputMark, ...] = ()


def mark_of(node: int, batches: Sequence[pl.DataFrame]) -> OutputMark:
    """Return a mark of rows that came to a node: how many, and a checksum of some of them.

    Rows at eight places, the first and the last among them, stand for all: a difference in what
    an operator does shows in them sooner or later, and the mark costs microseconds.
    """
    rows = checksum = 0
    for batch in batches:
        rows += batch.height
        if batch.height > _SAMPLED:
            places = sorted({batch.height * i // _SAMPLED for i in range(_SAMPLED)})
            # One by one: a gather is handed to polars' threads, which costs more than the rows.
            sample = [batch.row(place) for place in (*places, batch.height - 1)]
        else:
            sample = batch.rows()
        checksum = zlib.crc32(repr(sample).encode(), checksum)
    return OutputMark(node, rows, checksum)


def entry_of(record: Record) -> EntryStep:
    """Return a record as the journal has it; see `body_of` for the rows."""
    taken, chunk = record.taken, record.chunk
    ranges: tuple[Range, ...] = ()
    ended: tuple[int, ...] = ()
    if taken is not None and taken.ended:
        ended = (taken.channel,)
    elif taken is not None and taken.items:
        ranges = (Range(taken.channel, taken.first, taken.first + taken.items - 1),)
    return EntryStep(
        ranges=ranges,
        idles=tuple(IdleMark(channel, 0, True) for channel in record.idle),
        clock=record.now,
        kind=StepKind.STEP if chunk is None else StepKind.INGEST,
        ended=ended,
        outputs=record.outputs,
    )


def _kept_schema(rows: pl.Schema) -> pl.Schema:
    """Return the columns of a chunk that is kept: rows and dead letters, each with its offset."""
    added = {_OFFSET: pl.Int64(), _RAW: pl.Binary(), _REASON: pl.String()}
    return pl.Schema([*rows.items(), *added.items()])


def body_of(record: Record) -> pa.RecordBatch | None:
    """Return the rows and dead letters that a record keeps, None if it keeps none."""
    chunk = record.chunk
    if chunk is None:
        return None
    nothing = (pl.lit(None, pl.Binary).alias(_RAW), pl.lit(None, pl.String).alias(_REASON))
    kept = chunk.rows.with_columns(chunk.offsets.alias(_OFFSET), *nothing)
    if chunk.dead:
        letters = [(d.offset, d.raw, d.reason) for d in chunk.dead]
        schema = {_OFFSET: pl.Int64, _RAW: pl.Binary, _REASON: pl.String}
        dead = pl.DataFrame(letters, schema=schema, orient="row")
        kept = pl.concat([kept, dead], how="diagonal")
    return kept.rechunk().to_arrow().to_batches()[0]


def record_of(
    step: EntryStep, body: pa.RecordBatch | None, schemas: Mapping[int, pl.Schema]
) -> Record:
    """Return the record that an entry was made of; `schemas` are those of channels' rows.

    Raises `HeadwaterError` for an entry that this flow cannot have made.
    """
    taken: Taken | None = None
    if step.ended:
        taken = Taken(step.ended[0], ended=True)
    elif step.ranges:
        found = step.ranges[0]
        taken = Taken(found.channel, found.first, found.last - found.first + 1)
    chunk = None
    if step.kind is StepKind.INGEST:
        if taken is None or body is None or taken.channel not in schemas:
            raise HeadwaterError("the journal holds rows of a partition that the run does not have")
        chunk = _chunk_of(body, _kept_schema(schemas[taken.channel]))
    idle = tuple(mark.channel for mark in step.idles)
    return Record(step.clock, taken, idle, chunk, step.outputs)


def _chunk_of(body: pa.RecordBatch, schema: pl.Schema) -> Chunk:
    kept = pl.DataFrame(body)
    if kept.schema != schema:
        raise HeadwaterError(
            f"the journal holds rows with other columns than the flow reads: {kept.schema}"
        )
    letters = kept.filter(pl.col(_REASON).is_not_null())
    dead = [Dead(*letter) for letter in letters.select(_OFFSET, _RAW, _REASON).rows()]
    rows = kept.filter(pl.col(_REASON).is_null()) if dead else kept
    return Chunk(rows.drop(_OFFSET, _RAW, _REASON), rows[_OFFSET], dead)
