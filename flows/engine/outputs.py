"""The sinks of a run, and what dead letters come to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

import polars as pl

from ..batch import DELETED
from ..clock import Clock
from ..connector import Sink, SinkContext, Writer
from ..errors import FlowError, Problem
from ..graph import Graph, Node, SinkSpec
from .image import Image
from .options import Options
from .room import Room

__all__ = ["Letters", "Outputs"]


class Letters(Protocol):
    """Where the dead letters go that no operator of a flow reads."""

    def bury(self, letters: pl.DataFrame) -> None:
        """Take letters; raises `ConnectorError`, `NoRoomError` if none was taken."""
        ...

    def position(self) -> bytes:
        """Where it stands; what was taken so far is durable."""
        ...

    def rewind(self, position: bytes | None) -> None:
        """Undo what was taken after a position; None is where it stood at the very first."""
        ...


class Outputs:
    """The writers of a run, by the nodes of their sinks."""

    def __init__(self, graph: Graph, clock: Clock, options: Options, room: Room) -> None:
        self._graph = graph
        self._room = room
        self._clock = clock
        self._options = options
        self._writers: dict[str, Writer] = {}
        self._columns: dict[str, list[str]] = {}
        self._resuming: set[str] = set()
        self.written: dict[str, int] = {}
        """Rows, by sink."""

    def open(self, image: Image | None = None, *, durable: bool = False) -> None:
        """Open every sink; in a run that is durable, where `image` left it."""
        for node in self._graph.sinks():
            sink, context = self._sink(node)
            if durable:
                position = None if image is None else image.sinks.get(node.id)
                opened = partial(sink.resume, context, position)
                self._writers[node.id] = self._room.found(opened)
                if sink.resumes:
                    self._resuming.add(node.id)
            else:
                self._writers[node.id] = sink.open(context)
            self.written[node.id] = 0 if image is None else image.written.get(node.id, 0)
            names = node.schema.names
            key = node.schema.key
            self._columns[node.id] = [*names, DELETED] if key is not None else [*names]

    def _sink(self, node: Node) -> tuple[Sink, SinkContext]:
        spec = node.spec
        assert isinstance(spec, SinkSpec)
        injected = {} if spec.settings is None else {spec.settings: self._options.settings}
        sink = self._options.leaf if spec.make is None else spec.make(**injected)
        if not isinstance(sink, Sink):
            raise FlowError(
                [Problem(node.operator, f"returned {type(sink).__name__}, not a hw.Sink")]
            )
        if node.schema.key is not None and not sink.upsert:
            raise FlowError(
                [
                    Problem(
                        node.operator,
                        f"{type(sink).__name__} only appends, and its input replaces earlier "
                        f"rows by ({', '.join(node.schema.key)}); use a sink for tables, or "
                        f".changes() before it",
                    )
                ]
            )
        named = node.inputs[0].node if spec.make is None else node.operator
        return sink, SinkContext(named, node.schema, self._clock, self._options.seed)

    def write(self, sink: str, rows: pl.DataFrame) -> None:
        """Hand rows to a sink."""
        write, given = self._writers[sink].write, rows[self._columns[sink]]
        self._room.found(lambda: write(given))
        self.written[sink] += rows.height

    def flush(self) -> None:
        """Have every sink hand over what it holds back."""
        for writer in self._writers.values():
            self._room.found(writer.flush)

    def positions(self) -> Mapping[str, bytes | None]:
        """Return where every writer stands; what was written is durable."""
        return {name: self._room.found(writer.position) for name, writer in self._writers.items()}

    def close(self) -> None:
        """Complete every sink."""
        for name, writer in list(self._writers.items()):
            self._room.found(writer.close)
            del self._writers[name]

    def suspend(self) -> None:
        """Leave every sink as it is, for a run that goes on later; complete what cannot."""
        for name, writer in list(self._writers.items()):
            if name in self._resuming:
                writer.suspend()
            else:
                writer.close()
            del self._writers[name]

    def abort(self, error: BaseException) -> None:
        """Abort the sinks that are not complete; what one of them raises is noted on `error`.

        In a run that is durable, those that can go on are left as they are.
        """
        for name, writer in self._writers.items():
            try:
                if name in self._resuming:
                    writer.suspend()
                else:
                    writer.abort()
            except Exception as further:  # whatever a sink raises
                error.add_note(f"{name} could not be aborted: {further}")
