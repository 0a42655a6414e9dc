"""The flows that are simulated: each is made once, for a world that changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

import headwater as hw
from headwater.flows.graph import Graph

from .ends import Bell, FileSink, Outside, Posted, Tapes

__all__ = ["Flow", "Post", "Reading", "flows"]

World = Callable[[], Outside]


class Reading(hw.Event):
    at: hw.EventTime
    device: str
    value: int
    id: int


class Post(hw.Event):
    at: hw.EventTime
    device: str
    value: int
    id: int
    attempt: int


class Window(hw.Event):
    at: hw.EventTime
    device: str
    n: int
    sum: int


class Count(hw.Event):
    device: str
    n: int


class Alarm(hw.Event):
    at: hw.EventTime
    device: str
    what: str
    n: int


class Pair(hw.Event):
    at: hw.EventTime
    device: str
    value: int
    id: int
    value_right: int
    id_right: int


class Bad(hw.Event):
    operator: str
    origin: str


@dataclass(frozen=True, eq=False)
class Flow:
    """A flow to simulate.

    With `timed` its results do not depend on when and how it ran: only the lines of `unordered`
    sinks may come in another order.
    """

    graph: Graph
    tapes: tuple[str, ...]
    posts: bool
    timed: bool
    unordered: tuple[str, ...] = ()


def timed(world: World) -> Flow:
    """Windows, late rows, state with timers, a join, repetitions, dead letters that are read."""
    flow = hw.Flow("timed")

    @flow.source(disorder="2s")
    def left() -> hw.Source[Reading]:
        return Tapes(world, "left")

    @flow.source(disorder="1s")
    def right() -> hw.Source[Reading]:
        return Tapes(world, "right")

    @flow.source
    def nothing() -> hw.Source[Reading]:
        return Tapes(world, "nothing")

    @flow.operator(left)
    def windows(rows: hw.Stream[Reading]) -> hw.Stream[Window]:
        sliding = rows.key_by("device").window(hw.hopping("6s", every="3s"))
        return sliding.agg(n=pl.len(), sum=pl.col("value").sum())

    @flow.operator(left, nothing, key="device")
    def alarms(event: Reading | hw.Fired, count: hw.State[int], timer: hw.Timer) -> Alarm | None:
        if isinstance(event, hw.Fired):
            return Alarm(at=event.at, device="", what="silent", n=count.value)
        if event.value < 0:
            raise ValueError("too low")
        count.value += event.value
        timer.set(event.at + timedelta(seconds=4))
        return Alarm(at=event.at, device=event.device, what="row", n=count.value)

    @flow.operator(left, right)
    def pairs(a: hw.Stream[Reading], b: hw.Stream[Reading]) -> hw.Stream[Pair]:
        return a.join_interval(b, by="device", before="2s", after="1s")

    @flow.operator(left.dead, alarms.dead)
    def bad(letter: hw.DeadLetter) -> Bad:
        return Bad(operator=letter.operator, origin=letter.origin)

    for name, given in (("windows", windows), ("alarms", alarms), ("pairs", pairs), ("bad", bad)):
        _file(flow, given, f"{name}_file", world)
    _file(flow, windows.late, "late_file", world)
    return Flow(flow.graph(), ("left0", "left1", "right0", "right1"), False, True, ("bad_file",))


def live(world: World) -> Flow:
    """What is posted beside a tape that falls silent; windows and timers by the clock."""
    flow = hw.Flow("live")

    @flow.source(disorder="3s")
    def posts() -> hw.Source[Post]:
        return Posted(world)

    @flow.source(disorder="1s", idle="2s")
    def tape() -> hw.Source[Reading]:
        return Tapes(world, "tape")

    @flow.operator(posts)
    def echo(rows: hw.Stream[Post]) -> hw.Stream[Post]:
        return rows.filter(pl.col("id") >= 0)

    @flow.operator(posts)
    def counts(rows: hw.Stream[Post]) -> hw.Stream[Count]:
        window = hw.tumbling("3s", time="processing")
        return rows.key_by("device").window(window).agg(n=pl.len())

    @flow.operator(posts, key="device", timers="processing")
    def alarms(event: Post | hw.Fired, count: hw.State[int], timer: hw.Timer) -> Alarm | None:
        if isinstance(event, hw.Fired):
            return Alarm(at=event.at, device="", what="silent", n=count.value)
        count.value += 1
        timer.set(event.at + timedelta(seconds=3))
        return None

    @flow.operator(tape, posts)
    def pairs(a: hw.Stream[Reading], b: hw.Stream[Post]) -> hw.Stream[Pair]:
        return a.join_interval(b, by="device", before="5s", after="5s")

    @flow.operator(tape)
    def windows(rows: hw.Stream[Reading]) -> hw.Stream[Window]:
        return (
            rows.key_by("device")
            .window(hw.session("2s"))
            .agg(n=pl.len(), sum=pl.col("value").sum())
        )

    given = (("echo", echo), ("counts", counts), ("alarms", alarms), ("pairs", pairs))
    for name, stream in (*given, ("windows", windows)):
        _file(flow, stream, f"{name}_file", world)
    _bell(flow, counts, world)
    return Flow(flow.graph(), ("tape0", "tape1"), True, False)


def posted(world: World) -> Flow:
    """What is posted, kept and told."""
    flow = hw.Flow("posted")

    @flow.source
    def posts() -> hw.Source[Post]:
        return Posted(world)

    @flow.operator(posts)
    def echo(rows: hw.Stream[Post]) -> hw.Stream[Post]:
        return rows.filter(pl.col("id") >= 0)

    _file(flow, echo, "echo_file", world)
    _bell(flow, echo, world)
    return Flow(flow.graph(), (), True, False)


def _file(flow: hw.Flow, given: object, name: str, world: World) -> None:
    def sink() -> hw.Sink:
        return FileSink(world, name)

    flow.sink(given, name=name)(sink)  # type: ignore[arg-type]


def _bell(flow: hw.Flow, given: object, world: World) -> None:
    def sink() -> hw.Sink:
        return Bell(world)

    flow.sink(given, name="bell")(sink)  # type: ignore[arg-type]


def flows(world: World) -> tuple[Flow, ...]:
    """Make all of them."""
    return timed(world), live(world), posted(world)
