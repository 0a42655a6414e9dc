"""Running: sources in step, idle partitions, the clock, stopping, what is bounded."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import polars as pl
import pytest

import headwater as hw
from headwater.connectors import http
from headwater.flows.clock import ManualClock
from headwater.flows.connector import Chunk, Reader, Signal, Source, SourceContext
from headwater.flows.engine.runner import Options, Progress, Runner

from .harness import Kept, Rows, at, run


class Tick(hw.Event):
    at: hw.EventTime
    key: str


def tick(seconds: float, key: str = "a") -> dict[str, Any]:
    return {"at": at(seconds), "key": key}


@dataclass(frozen=True)
class Scripted(Source[Any]):
    """A partition a script: rows are given, "wait" has nothing, a callable is called."""

    scripts: dict[str, list[Any]]
    bounded: ClassVar[bool] = False
    wakes: list[Callable[[], None]] = field(default_factory=list)

    def partitions(self) -> list[str]:
        return list(self.scripts)

    def open(self, partition: str, context: SourceContext) -> Reader:
        self.wakes.append(context.wake)
        return _ScriptedReader(list(self.scripts[partition]), context)


class _ScriptedReader(Reader):
    def __init__(self, script: list[Any], context: SourceContext) -> None:
        self._script = script
        self._offset = 0
        self._wake = context.wake

    def read(self, limit: int) -> Chunk | Signal:
        while self._script:
            item = self._script.pop(0)
            if callable(item):
                item()
                continue
            if item == "wait":
                self._wake()  # there is something again, at once
                return Signal.WAIT
            if item == "silence":
                return Signal.WAIT
            self._offset += 1
            rows = pl.DataFrame([item], schema={"at": pl.Datetime("us", "UTC"), "key": pl.String})
            return Chunk(rows, pl.Series([self._offset], dtype=pl.Int64))
        return Signal.END

    def close(self) -> None:
        pass


def windows_of(source: Source[Any], idle: str | None = None) -> tuple[hw.Flow, Kept]:
    flow, kept = hw.Flow("f"), Kept()

    @flow.source(idle=idle)
    def ticks() -> hw.Source[Tick]:
        return source

    @flow.operator(ticks)
    def counts(rows: hw.Stream[Tick]) -> hw.Stream[Any]:
        return rows.window(hw.tumbling("10s")).agg(n=pl.len())

    @flow.sink(counts)
    def out() -> hw.Sink:
        return kept

    return flow, kept


def test_the_partition_that_is_behind_is_read_first() -> None:
    read: list[str] = []
    scripts: dict[str, list[Any]] = {
        "slow": [x for i in range(5) for x in (lambda: read.append("slow"), tick(i))],
        "fast": [x for i in range(5) for x in (lambda: read.append("fast"), tick(100 * i))],
    }
    flow, _ = windows_of(Scripted(scripts))
    run(flow)
    # Level with each other they take turns; then the slow one comes up to where the fast one is.
    assert ["slow", "fast", "slow", "fast", "slow", "slow", "slow"] == read[:7]


def test_what_waits_for_another_partition_is_bounded() -> None:
    rows = 2000
    given = {f"p{p}": [tick(i) for i in range(rows)] for p in range(3)}
    flow, kept = windows_of(Rows(given, (50,)))
    held: list[int] = []
    runner = Runner(flow.graph(), ManualClock(), Options(batch_rows=50), lambda frame: None)
    runner.run(lambda progress: held.append(progress.sources[0].intake.held_rows))
    assert 3 * rows == sum(row["n"] for row in kept.rows)
    assert max(held) <= 3 * 50


def test_a_silent_partition_holds_others_back_until_it_is_idle() -> None:
    clock = ManualClock()
    seen: list[int] = []

    def look() -> None:
        seen.append(sum(row["n"] for row in kept.rows))

    scripts: dict[str, list[Any]] = {
        "a": [
            tick(1),
            tick(30),
            look,
            lambda: clock.advance(6_000_000),
            "wait",
            tick(31),
            "wait",
            look,
        ],
        "b": [tick(0), "silence"],
    }
    flow, kept = windows_of(Scripted(scripts), idle="5s")
    runner = Runner(flow.graph(), clock, Options(), lambda frame: None)

    def stop(progress: Progress) -> None:
        if len(seen) == 2:
            runner.stop()

    runner.run(stop)
    assert [0, 2] == seen
    assert 4 == sum(row["n"] for row in kept.rows)


def test_stopping_completes_what_was_read() -> None:
    scripts: dict[str, list[Any]] = {"a": [tick(i) for i in range(1000)]}
    flow, kept = windows_of(Scripted(scripts))
    runner = Runner(flow.graph(), ManualClock(), Options(batch_rows=1), lambda frame: None)

    def stop(progress: Progress) -> None:
        if progress.counts["ticks"].rows_in == 25:
            runner.stop()

    runner.run(stop)
    assert [10, 10, 5] == [row["n"] for row in kept.rows]
    assert ["closed"] == kept.ends


def test_processing_time_windows_go_by_the_clock() -> None:
    clock = ManualClock(1_700_000_000_000_000)
    later: list[Any] = [lambda: clock.advance(4_000_000)]
    scripts = {"a": [tick(0), *later, tick(0), *later, tick(0), *later, tick(0)]}
    flow, kept = hw.Flow("f"), Kept()

    @flow.source
    def ticks() -> hw.Source[Tick]:
        return Scripted(scripts)

    @flow.operator(ticks)
    def counts(rows: hw.Stream[Tick]) -> hw.Stream[Any]:
        window = hw.tumbling("10s", time="processing")
        return rows.key_by("key").window(window).agg(n=pl.len())

    @flow.sink(counts)
    def out() -> hw.Sink:
        return kept

    run(flow, clock=clock)
    assert 4 == sum(row["n"] for row in kept.rows)
    assert 2 == len(kept.rows)


def test_a_reader_that_fails_aborts_the_sinks() -> None:
    def fail() -> None:
        raise hw.ConnectorError("the disk is gone")

    flow, kept = windows_of(Scripted({"a": [tick(0), fail]}))
    with pytest.raises(hw.ConnectorError, match="the disk is gone"):
        run(flow)
    assert ["aborted"] == kept.ends


def test_a_sink_that_only_appends_refuses_what_replaces() -> None:
    class Appending(Kept):
        upsert = False

    flow = hw.Flow("f")

    @flow.source
    def ticks() -> hw.Source[Tick]:
        return Rows({"p": []})

    @flow.operator(ticks)
    def counts(rows: hw.Stream[Tick]) -> hw.Stream[Any]:
        return rows.window(hw.tumbling("10s"), emit="updates").agg(n=pl.len())

    @flow.sink(counts)
    def out() -> hw.Sink:
        return Appending()

    with pytest.raises(hw.FlowError, match=r"only appends.*\.changes\(\)"):
        run(flow)


def test_stopping_works_off_what_a_source_that_cannot_rewind_has_taken_in() -> None:
    flow, kept = hw.Flow("f"), Kept()
    posted = 5000
    ports: list[int] = []
    listening = threading.Event()

    def listens(port: int) -> None:
        ports.append(port)
        listening.set()

    @flow.source
    def ticks() -> hw.Source[Tick]:
        return http.events(0, on_listen=listens)

    @flow.sink(ticks)
    def out() -> hw.Sink:
        return kept

    runner = Runner(flow.graph(), ManualClock(), Options(batch_rows=10), lambda frame: None)
    lines = b"".join(
        b'{"at":"2026-01-01T00:00:00Z","key":"%d"}\n' % number for number in range(posted)
    )
    answers: list[int] = []

    def post_then_stop() -> None:
        assert listening.wait(20)
        address = f"http://127.0.0.1:{ports[0]}/"
        with urllib.request.urlopen(address, lines, timeout=10) as response:
            answers.append(response.status)
        runner.stop()

    poster = threading.Thread(target=post_then_stop)
    poster.start()
    runner.run()
    poster.join(20)
    assert [202] == answers
    assert [str(number) for number in range(posted)] == [row["key"] for row in kept.rows]


def test_a_generator_that_exits_ends_the_flow_with_an_error() -> None:
    flow = hw.Flow("f")

    @flow.source
    def ticks() -> Iterator[Tick]:
        yield Tick(at=at(0), key="a")
        raise SystemExit(3)

    with pytest.raises(hw.ConnectorError, match="SystemExit"):
        run(flow)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (hw.session("5s", time="processing"), [2, 1, 1]),
        (hw.count(3, time="processing"), [3, 1]),
        (hw.sliding("5s", time="processing"), [1, 2, 1, 1]),
    ],
)
def test_every_kind_of_window_goes_by_the_clock_if_it_is_to(
    window: Any, expected: list[int]
) -> None:
    clock = ManualClock(1_700_000_000_000_000)

    def later(seconds: int) -> Callable[[], None]:
        return lambda: clock.advance(seconds * 1_000_000)

    # By event time they would be one session, in the other order.
    script = [tick(3), later(3), tick(2), later(6), tick(1), later(60), tick(0), later(60), "wait"]
    flow, kept = hw.Flow("f"), Kept()

    @flow.source
    def ticks() -> hw.Source[Tick]:
        return Scripted({"a": script})

    @flow.operator(ticks)
    def counts(rows: hw.Stream[Tick]) -> hw.Stream[Any]:
        return rows.key_by("key").window(window).agg(n=pl.len())

    @flow.sink(counts)
    def out() -> hw.Sink:
        return kept

    ran = run(flow, clock=clock)
    assert expected == [row["n"] for row in kept.rows]
    assert [] == ran.buried
    assert kept.rows[0]["at"] >= datetime(2023, 11, 14, tzinfo=UTC)


def test_windows_in_processing_time_need_no_event_time() -> None:
    class Word(hw.Event):
        word: str

    clock = ManualClock(1_700_000_000_000_000)
    flow, kept = hw.Flow("f"), Kept()

    @flow.source
    def words() -> hw.Source[Word]:
        return Rows({"p": [{"word": word} for word in "aabab"]})

    @flow.operator(words)
    def counts(rows: hw.Stream[Word]) -> hw.Stream[Any]:
        windowed = rows.key_by("word").window(hw.session("1s", time="processing"))
        return windowed.agg(n=pl.len()).select("word", "n")

    @flow.sink(counts)
    def out() -> hw.Sink:
        return kept

    run(flow, clock=clock, batch_rows=2)
    assert {("a", 3), ("b", 2)} == {(row["word"], row["n"]) for row in kept.rows}
