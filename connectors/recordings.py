"""Recordings: a folder with a journal of what streams gave, and what they are.

Every partition of a source, and every other operator, is a channel. An entry is what a step took of
one channel, with the time at which it did, which channels were set aside as silent, and the rows:
of a source as its reader gave them, with offsets and dead letters; of another operator as they left
it, with their hidden columns and the stream's watermark after them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
import pyarrow as pa

from ..flows.batch import Batch
from ..flows.clock import Clock, ManualClock
from ..flows.connector import SinkContext
from ..flows.engine.progress import SourceState
from ..flows.engine.record import Record, body_of, entry_of
from ..flows.engine.signatures import flow_hash
from ..flows.errors import RecordingError
from ..flows.graph import Graph, SinkSpec, SourceSpec
from ..flows.journal.entry import Range, Step, StepKind
from ..flows.journal.errors import FullError
from ..flows.journal.settings import JournalSettings
from ..flows.journal.storage import Storage
from ..flows.schema import Schema
from .encoders import ParquetEncoding
from .filesink import FileSink
from .journal import FileStorage, JournalReader, JournalWriter, Written, open_journal

__all__ = ["DESCRIPTION", "FolderTape", "Recorded", "Recording", "described", "export_parquet"]

DESCRIPTION: Final = "recording.json"
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Recorded:
    """One stream of a recording; the channels of its partitions are numbered from `first` on."""

    operator: str
    kind: Literal["source", "operator"]
    first: int
    partitions: tuple[str, ...]
    time: str | None
    """The column of the event time."""
    columns: tuple[tuple[str, str], ...]
    """Names and types."""


def described(columns: Schema) -> tuple[tuple[str, str], ...]:
    """Return a schema's columns as a recording has them."""
    return tuple((name, str(dtype)) for name, dtype in columns.columns)


# Writing


class FolderTape:
    """Implements `Tape`; what it records can be read while it does.

    `at` are operators of `graph`. When the disk is full, `notice` says so, and `wait` is called
    until there is room. Raises `RecordingError` if the folder has a recording, or there is no
    such operator, and what `open_journal` raises.
    """

    def __init__(
        self,
        storage: Storage,
        graph: Graph,
        at: Sequence[str],
        clock: Clock,
        *,
        settings: JournalSettings,
        wait: Callable[[], None],
        notice: Callable[[str], None],
    ) -> None:
        if storage.names():
            raise RecordingError("the folder is not empty: record to another one")
        streams = {n.id: n for n in graph.nodes if not isinstance(n.spec, SinkSpec)}
        if odd := [name for name in at if name not in streams]:
            known = ", ".join(dict.fromkeys(node.operator for node in streams.values()))
            raise RecordingError(f"--at {odd[0]}: is no operator of {graph.flow}; it has {known}")
        taps = [n for n in map(streams.__getitem__, at) if not isinstance(n.spec, SourceSpec)]
        self._streams = [
            Recorded(
                node.id, "operator", number, ("",), node.schema.event_time, described(node.schema)
            )
            for number, node in enumerate(taps)
        ]
        self._rows = [0] * len(taps)
        self._graph = graph
        self._storage = storage
        self._clock = clock
        self._wait = wait
        self.rows = 0
        """Rows and dead letters that were recorded."""
        self._settings = settings
        self._notice = notice
        self._journal: JournalWriter | None = None
        self._early: list[tuple[Step, pa.RecordBatch | None]] = []

    def begin(self, sources: Sequence[SourceState]) -> None:
        taps = len(self._streams)
        for source in sources:
            schema = source.node.schema
            self._streams.append(
                Recorded(
                    source.node.id, "source", taps + source.first, source.names,
                    schema.event_time, described(schema),
                )
            )  # fmt: skip
        told = {
            "format": _FORMAT,
            "flow": self._graph.flow,
            "hash": flow_hash(self._graph).hex(),
            "streams": [asdict(stream) for stream in self._streams],
        }
        self._storage.create(DESCRIPTION)
        self._storage.append(DESCRIPTION, [json.dumps(told, indent=1).encode() + b"\n"])
        self._storage.sync(DESCRIPTION)
        self._journal = open_journal(
            self._storage,
            epoch=1,
            flow=flow_hash(self._graph),
            now=self._clock.now(),
            settings=self._settings,
            notice=self._notice,
        )
        for step, body in self._early:
            self._append(step, body)

    def took(self, record: Record) -> None:
        taken = record.taken
        if taken is None or taken.ended or taken.items:
            self.rows += 0 if taken is None else taken.items
            self._append(entry_of(record), body_of(record))
            return
        # Nothing came, and still the partition is silent no more.
        step = entry_of(replace(record, taken=None, chunk=None))
        nothing = (Range(taken.channel, taken.first, taken.first),)
        self._append(replace(step, ranges=nothing), None)

    def gave(self, tap: int, now: int, batch: Batch) -> None:
        body: pa.RecordBatch | None = None
        ranges: tuple[Range, ...] = ()
        rows = batch.rows
        if rows is not None and rows.height:
            first = self._rows[tap]
            self._rows[tap] += rows.height
            self.rows += rows.height
            ranges = (Range(tap, first, first + rows.height - 1),)
            body = rows.rechunk().to_arrow().to_batches()[0]
        # A watermark alone names its channel by a range too, and has no body.
        ranges = ranges or (Range(tap, self._rows[tap], self._rows[tap]),)
        kind = StepKind.STEP if body is None else StepKind.INGEST
        self._append(Step(ranges=ranges, watermark=batch.watermark, clock=now, kind=kind), body)

    def _append(self, step: Step, body: pa.RecordBatch | None) -> None:
        if self._journal is None:  # sources without partitions end before all have been opened
            self._early.append((step, body))
            return
        while True:
            try:
                self._journal.append(step, body)
            except FullError:
                self._wait()
            else:
                self._journal.tick(self._clock.now())
                return

    def close(self) -> None:
        """End, with all that was recorded durable."""
        if self._journal is not None:
            self._journal.close(self._clock.now())


# Reading


class Recording:
    """A recording that is there; raises `RecordingError` if the folder holds none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            told = json.loads((folder / DESCRIPTION).read_text("utf-8"))
            streams = [_recorded(found) for found in told["streams"]]
            known = told["format"] == _FORMAT
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordingError(
                f"{folder}: holds no recording; `headwater record` makes one"
            ) from error
        if not known:
            raise RecordingError(f"{folder}: is a recording of a format that this version lacks")
        self.flow: str = told["flow"]
        self.streams: Mapping[str, Recorded] = {stream.operator: stream for stream in streams}

    def entries(self) -> Iterator[tuple[Step, pa.RecordBatch | None]]:
        """Yield what is there, in order; raises `RecordingError` where something is missing."""
        reader = JournalReader(FileStorage(self.folder))
        while found := reader.read():
            for record in found:
                if not isinstance(record, Written):
                    raise RecordingError(f"{self.folder}: entries are missing in the recording")
                if record.entry.step.kind is not StepKind.OPEN:
                    yield record.entry.step, record.batch()

    def rows(self, stream: Recorded) -> Iterator[pl.DataFrame]:
        """Yield a stream's rows, with ``_partition``, ``_clock`` (UTC) and ``_offset``.

        Dead letters are left out.
        """
        channels = range(stream.first, stream.first + len(stream.partitions))
        names = [name for name, _ in stream.columns]
        for step, body in self.entries():
            if body is None or not step.ranges or step.ranges[0].channel not in channels:
                continue
            found, place = pl.DataFrame(body), step.ranges[0]
            if stream.kind == "source":
                found = found.filter(pl.col("_hw_reason").is_null())
                offsets = found["_hw_offset"]
            else:
                offsets = pl.int_range(place.first, place.last + 1, eager=True)
                names = [name for name in found.columns if not name.startswith("_hw_")]
            yield found.select(names).with_columns(
                _partition=pl.lit(stream.partitions[place.channel - stream.first]),
                _clock=pl.lit(step.clock).cast(pl.Datetime("us", "UTC")),
                _offset=offsets,
            )

    def stream(self, operator: str | None) -> Recorded:
        """Return the stream of an operator, None being the only one; raises `RecordingError`."""
        if operator is None and len(self.streams) == 1:
            return next(iter(self.streams.values()))
        if operator is None or operator not in self.streams:
            which = "say which one with --at" if operator is None else f"{operator} is not in it"
            raise RecordingError(
                f"{self.folder}: has streams of {', '.join(self.streams)}; {which}"
            )
        return self.streams[operator]


def export_parquet(recording: Recording, stream: Recorded, path: Path) -> int:
    """Write a stream's rows as Parquet, all or nothing, and return how many there are.

    Raises `ConnectorError` if the file cannot be written, and `RecordingError` if there are no rows
    to take the columns' types from.
    """
    frames = recording.rows(stream)
    first = next(frames, None)
    if first is None:
        raise RecordingError(f"{recording.folder}: nothing of {stream.operator} was recorded")
    schema = Schema(tuple(first.schema.items()))
    context = SinkContext(stream.operator, schema, ManualClock(), 0)
    writer = FileSink(str(path), ParquetEncoding()).open(context)
    count = 0
    try:
        for frame in chain([first], frames):
            writer.write(frame)
            count += frame.height
        writer.close()
    except BaseException:
        writer.abort()
        raise
    return count


def _recorded(told: Any) -> Recorded:
    columns = tuple((str(name), str(dtype)) for name, dtype in told["columns"])
    return Recorded(
        told["operator"], told["kind"], int(told["first"]), tuple(told["partitions"]),
        told["time"], columns,
    )  # fmt: skip
