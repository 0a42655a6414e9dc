"""The jobs in Quix Streams without a broker: its pipeline is called message by message.

Consumer and producer do nothing, there is no changelog, and what it keeps is never written to
disk, as it would be with each commit. All messages share one context, where an application makes
one for each. That is less than Quix Streams does in use, to its advantage.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from contextvars import copy_context
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import polars as pl
from quixstreams.context import set_message_context
from quixstreams.dataframe import DataFrameRegistry, StreamingDataFrame
from quixstreams.dataframe.windows import Count, Max, Mean
from quixstreams.models.messagecontext import MessageContext
from quixstreams.models.serializers import JSONDeserializer, JSONSerializer, SerializationContext
from quixstreams.models.topics import Topic, TopicConfig, TopicManager
from quixstreams.processing import ProcessingContext
from quixstreams.sinks import SinkManager
from quixstreams.state import StateStoreManager

from ..functions import WARM, calibrated, fahrenheit, without_humidity
from ..work import Inputs, Prepare, Totals, Work, dicts, in_ms
from .texts import lines_of, result_of

__all__ = ["PREPARE"]

_LATER_MS: Final = 1_000_000
Row = dict[str, Any]
Call = Callable[[Any, bytes, int, None], None]
Message = tuple[str, Any, bytes, int]


class _Nothing:
    """Stands for the broker's clients: does nothing, whatever it is asked to do."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


@dataclass(frozen=True, slots=True)
class _Bench:
    """An application's inner parts, without the application, which asks for a broker."""

    context: ProcessingContext
    registry: DataFrameRegistry
    state: StateStoreManager
    topics: TopicManager

    @classmethod
    def within(cls, folder: Path) -> _Bench:
        """Make the parts; what they keep goes to `folder`."""
        registry, nothing = DataFrameRegistry(), _Nothing()
        state = StateStoreManager(group_id="bench", state_dir=mkdtemp(dir=folder))
        context = ProcessingContext(
            commit_interval=math.inf,
            producer=nothing,
            consumer=nothing,
            state_manager=state,
            sink_manager=SinkManager(),
            dataframe_registry=registry,
        )
        return cls(context, registry, state, TopicManager(nothing, "bench"))

    def stream(self, name: str) -> StreamingDataFrame:
        """Return the stream of a topic that has one partition."""
        topic = Topic(name)
        kept = {"retention.ms": "-1", "cleanup.policy": "delete"}
        topic.broker_config = TopicConfig(1, 1, extra_config=kept)
        stream = StreamingDataFrame(
            topic,
            topic_manager=self.topics,
            registry=self.registry,
            processing_context=self.context,
        )
        self.registry.register_root(stream)
        return stream

    def calls(self, out: StreamingDataFrame, take: Callable[[Any], object]) -> dict[str, Call]:
        """Return what to call with a message of each topic; `take` gets the values that come."""
        composed = out.compose(sink=lambda value, key, timestamp, headers: take(value))
        self.context.init_checkpoint()
        for stream_id in self.state.stores:
            self.state.on_partition_assign(stream_id, 0, {})
        return dict(composed)


def _run(calls: dict[str, Call], messages: Iterable[Message]) -> None:
    def all_of_them() -> None:
        set_message_context(MessageContext("readings", 0, 0, 0))
        for topic, value, key, timestamp in messages:
            calls[topic](value, key, timestamp, None)

    copy_context().run(all_of_them)


def _messages(frame: pl.DataFrame, topic: str = "readings") -> list[Message]:
    rows = dicts(in_ms(frame))
    return [(topic, row, row["device"].encode(), row["ts"]) for row in rows]


def _by_row(step: Callable[[StreamingDataFrame], StreamingDataFrame]) -> Prepare:
    def prepare(inputs: Inputs) -> Work:
        bench, totals = _Bench.within(inputs.out), Totals(())
        made: list[float] = []
        calls = bench.calls(step(bench.stream("readings")), lambda row: made.append(row["f"]))
        messages = _messages(inputs.frame())

        def run() -> None:
            _run(calls, messages)
            totals.count(len(made), f=sum(made))

        return Work(run, totals.result)

    return prepare


def _warm(rows: StreamingDataFrame) -> StreamingDataFrame:
    return rows.filter(lambda row: row["temp"] > WARM).apply(without_humidity)


def _vectorizable(rows: StreamingDataFrame) -> StreamingDataFrame:
    return rows.apply(fahrenheit)


def _looked_up(rows: StreamingDataFrame) -> StreamingDataFrame:
    def with_f(row: Row) -> Row:
        return {**row, "f": calibrated(row["device"], row["site"], row["temp"])}

    return rows.apply(with_f)


def _json(inputs: Inputs) -> Work:
    """Job C, with the serializers that its topics have by default."""
    bench = _Bench.within(inputs.out)
    out = BytesIO()
    read, write = JSONDeserializer(), JSONSerializer()
    at = SerializationContext("readings", "value", [])

    def with_f(row: Row) -> Row:
        row["f"] = row["temp"] * 9 / 5 + 32
        return row

    rows = bench.stream("readings").filter(lambda row: row["temp"] > WARM).apply(with_f)
    calls = bench.calls(rows, lambda row: out.writelines((write(row, at), b"\n")))
    lines = lines_of(inputs)

    def run() -> None:
        _run(calls, (("readings", read(line, at), b"", 0) for line in lines))

    return Work(run, lambda: result_of(out))


def _windowed(fleet: str = "sensors", *, hopping: bool = False) -> Prepare:
    """Windows that close by the time of the partition; a message far ahead closes the last."""

    def prepare(inputs: Inputs) -> Work:
        bench = _Bench.within(inputs.out)
        rows = bench.stream("readings")
        if hopping:
            window: Any = rows.hopping_window(60_000, 10_000, grace_ms=2_000)
        else:
            window = rows.tumbling_window(10_000, grace_ms=2_000)
        found = window.agg(n=Count(), mean=Mean("temp"), peak=Max("temp"))
        windows: list[Row] = []
        calls = bench.calls(found.final(closing_strategy="partition"), windows.append)
        messages = _messages(inputs.frame(fleet))
        _, row, _, last = messages[-1]
        messages.append(("readings", row, b"end", last + _LATER_MS))
        totals = Totals(())

        def run() -> None:
            _run(calls, messages)
            sums = {name: math.fsum(w[name] for w in windows) for name in ("n", "mean", "peak")}
            totals.count(len(windows), **sums)

        return Work(run, totals.result)

    return prepare


def _joined(inputs: Inputs) -> Work:
    """Job F; the messages come by event time, as a row is paired only with those before it."""
    bench, totals = _Bench.within(inputs.out), Totals(())
    left, right = bench.stream("left"), bench.stream("right")
    made: list[tuple[float, float]] = []
    pairs = left.join_interval(
        right,
        on_merge=lambda one, other: (one["temp"], other["hum"]),
        grace_ms=5_000,
        forward_ms=5_000,
    )
    calls = bench.calls(pairs, made.append)
    messages = [
        *_messages(inputs.frame("left").select("ts", "device", "temp"), "left"),
        *_messages(inputs.frame("right").select("ts", "device", "hum"), "right"),
    ]
    messages.sort(key=lambda message: message[3])

    def run() -> None:
        _run(calls, messages)
        temps, hums = math.fsum(t for t, _ in made), math.fsum(h for _, h in made)
        totals.count(len(made), temp=temps, hum=hums)

    return Work(run, totals.result)


logging.getLogger("quixstreams").setLevel(logging.WARNING)

PREPARE: Final[dict[str, Prepare]] = {
    "A": _by_row(_warm),
    "B": _windowed(),
    "C": _json,
    "D-vector": _by_row(_vectorizable),
    "D-python": _by_row(_looked_up),
    "E": _windowed(hopping=True),
    "F": _joined,
    "G": _windowed("keys"),
}
