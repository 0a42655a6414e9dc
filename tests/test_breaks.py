"""Odd flows and odd rows: what once broke the engine, or the loading of a flow."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, ClassVar

import polars as pl
import pytest

import headwater as hw
from headwater.flows.batch import END, WATERMARK, Batch
from headwater.flows.clock import ManualClock
from headwater.flows.connector import (
    Chunk,
    Reader,
    Signal,
    Sink,
    SinkContext,
    Source,
    SourceContext,
    Writer,
)
from headwater.flows.engine.runner import Options, Runner
from headwater.flows.merge import Merge
from headwater.flows.schema import schema_of

from .harness import Kept, Rows, at, run


class Row(hw.Event):
    at: hw.EventTime
    key: str | None
    n: int
    x: float | None


class Text(hw.Event):
    text: str


class Bytes(hw.Event):
    at: hw.EventTime
    raw: bytes
    tags: list[str]


class Numbered(hw.Event):
    at: hw.EventTime
    key: int


class Some(hw.Settings):
    a: int = 1


class Other(hw.Settings):
    b: int = 1


def row(seconds: float, key: str | None = "a", n: int = 0, x: float | None = None) -> Any:
    return {"at": at(seconds), "key": key, "n": n, "x": x}


def source(
    flow: hw.Flow, rows: Any, name: str = "rows", cls: type[hw.Event] = Row, **options: Any
) -> Any:
    partitions = rows if isinstance(rows, dict) else {"p": rows}

    def made() -> Any:
        return rows if isinstance(rows, Source) else Rows(partitions)

    made.__annotations__ = {"return": hw.Source[cls]}  # type: ignore[valid-type]
    return flow.source(name=name, **options)(made)


def sink(flow: hw.Flow, *upstream: Any, name: str = "out") -> Kept:
    kept = Kept()

    @flow.sink(*upstream, name=name)
    def out() -> hw.Sink:
        return kept

    return kept


def refused(flow: hw.Flow) -> str:
    with pytest.raises(hw.FlowError) as caught:
        flow.graph()
    return str(caught.value)


# --- merging, idle partitions ---


def marked(*marks: int) -> pl.DataFrame:
    return pl.DataFrame({WATERMARK: marks}, schema={WATERMARK: pl.Int64})


def test_a_channel_that_was_idle_stays_where_the_stream_is_for_as_long_as_it_is_behind() -> None:
    merge = Merge(2)
    merge.receive(0, Batch(marked(0, 100), 100))
    out = [merge.idle(1)]
    out.append(merge.receive(1, Batch(marked(10), 20)))
    out.append(merge.receive(1, Batch(marked(20, 30), 200)))
    out.append(merge.receive(0, Batch(None, END)))
    out.append(merge.receive(1, Batch(None, END)))
    found = [mark for batch in out if batch.rows is not None for mark in batch.rows[WATERMARK]]
    assert [0, 100, 100, 100, 100] == found


def test_idle_and_ended_together_are_not_the_end() -> None:
    merge = Merge(2)
    merge.receive(0, Batch(marked(0, 100), 100))
    merge.receive(0, Batch(None, END))
    out = merge.idle(1)
    assert out.rows is not None
    assert 100 == out.watermark
    assert END == merge.receive(1, Batch(None, END)).watermark


def test_the_last_channel_to_become_idle_lets_the_rows_of_the_others_go() -> None:
    merge = Merge(2)
    merge.receive(0, Batch(marked(0, 100), 100))
    assert merge.idle(0).rows is None
    out = merge.idle(1)
    assert out.rows is not None
    assert 100 == out.watermark


class Script(Source[Any]):
    """One partition: rows are given, a callable is called, None is a silence that wakes."""

    bounded: ClassVar[bool] = False

    def __init__(self, *script: Any) -> None:
        self.script = list(script)

    def partitions(self) -> list[str]:
        return ["p"]

    def open(self, partition: str, context: SourceContext) -> Reader:
        return ScriptReader(self.script, context)


class ScriptReader(Reader):
    def __init__(self, script: list[Any], context: SourceContext) -> None:
        self.script, self.context, self.offset = script, context, 0

    def read(self, limit: int) -> Chunk | Signal:
        while self.script:
            item = self.script.pop(0)
            if item is None:
                self.context.wake()
                return Signal.WAIT
            if item == "silence":
                return Signal.WAIT
            if callable(item):
                item()
                continue
            self.offset += 1
            frame = pl.DataFrame([item], schema=schema_of(Row).polars(), orient="row")
            return Chunk(frame, pl.Series([self.offset], dtype=pl.Int64))
        return Signal.END

    def close(self) -> None:
        pass


def test_a_source_that_is_silent_altogether_does_not_hold_a_join_back() -> None:
    flow, clock = hw.Flow("f"), ManualClock()
    seen: list[int] = []
    kept: Kept
    talking = source(
        flow,
        Script(
            row(0),
            row(50),
            lambda: clock.advance(6_000_000),
            None,
            row(60),
            row(61),
            None,
            lambda: seen.append(len(kept.rows)),
            None,
        ),
        "talking",
        idle="60s",
    )
    silent = source(flow, Script(row(0), "silence"), "silent", idle="5s")

    @flow.operator(talking, silent)
    def joined(left: hw.Stream[Row], right: hw.Stream[Row]) -> hw.Stream[Any]:
        return left.join_interval(right, by="key", before="1s", after="1s", how="left")

    kept = sink(flow, joined)
    runner = Runner(flow.graph(), clock, Options(), lambda frame: None)
    runner.run(lambda progress: runner.stop() if seen else None)
    assert [2] == seen
    assert 4 == len(kept.rows)


def test_a_source_without_partitions_has_ended() -> None:
    flow = hw.Flow("f")
    nothing, some = source(flow, {}, "nothing"), source(flow, [row(1), row(20)], "some")

    @flow.operator(nothing, some)
    def counts(left: hw.Stream[Row], right: hw.Stream[Row]) -> hw.Stream[Any]:
        return left.union(right).window(hw.tumbling("10s")).agg(n=pl.len())

    kept = sink(flow, counts)
    run(flow)
    assert [1, 1] == [found["n"] for found in kept.rows]


# --- sinks that fail ---


@pytest.mark.parametrize("where", ["open", "write", "close"])
def test_a_sink_that_fails_is_told_and_no_other_is_left_open_or_undone(where: str) -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1)])

    class Failing(Writer, Sink):
        def open(self, context: SinkContext) -> Writer:
            if where == "open":
                raise OSError("it is open that fails")
            return self

        def write(self, rows: pl.DataFrame) -> None:
            if where == "write":
                raise OSError("it is write that fails")

        def close(self) -> None:
            raise OSError("it is close that fails")

        def abort(self) -> None:
            raise OSError("and abort as well")

    first = sink(flow, rows, name="first")

    @flow.sink(rows)
    def failing() -> hw.Sink:
        return Failing()

    last = sink(flow, rows, name="last")
    with pytest.raises(OSError, match=f"it is {where} that fails"):
        run(flow)
    assert (["closed"] if where == "close" else ["aborted"]) == first.ends
    assert ([] if where == "open" else ["aborted"]) == last.ends


def test_a_runner_stopped_before_it_starts_reads_nothing_and_closes_its_sinks() -> None:
    flow = hw.Flow("f")
    kept = sink(flow, source(flow, [row(1)]))
    runner = Runner(flow.graph(), ManualClock(), Options(), lambda frame: None)
    runner.stop()
    runner.run()
    assert ([], ["closed"]) == (kept.rows, kept.ends)


# --- rows and columns ---


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_a_row_alone_is_divided_as_among_others(batch_rows: int) -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(i, x=9.0, n=9) for i in range(5)])

    @flow.operator(rows)
    def constant(rows: hw.Stream[Row]) -> hw.Stream[Any]:
        return rows.with_columns(c=pl.lit(9.0), d=pl.col("x") / 7, e=pl.col("n") / 7)

    @flow.operator(constant)
    def divided(rows: hw.Stream[Any]) -> hw.Stream[Any]:
        return rows.select("d", "e", c=pl.col("c") / 7)

    kept = sink(flow, divided)
    run(flow, batch_rows=batch_rows)
    expected = (pl.Series([9.0, 3.0]) / 7)[0]
    assert [{"d": expected, "e": expected, "c": expected}] * 5 == kept.rows


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_constants_have_the_height_of_their_batch(batch_rows: int) -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1), row(2)])

    @flow.operator(rows)
    def table(rows: hw.Stream[Row]) -> hw.Stream[Any]:
        updates = rows.key_by("key").window(hw.tumbling("1m"), emit="updates").agg(c=pl.len())
        return updates.filter(pl.lit(True)).with_columns(z=pl.lit(1))

    @flow.operator(rows)
    def ones(rows: hw.Stream[Row]) -> hw.Stream[Any]:
        return rows.with_columns(pl.selectors.integer() * 2).select(one=pl.lit(1))

    tables, constants = sink(flow, table, name="t"), sink(flow, ones, name="o")
    assert [] == run(flow, batch_rows=batch_rows).buried
    assert (2, 1, False) == tuple(tables.rows[-1][name] for name in ("c", "z", "_deleted"))
    assert [{"one": 1}] * 2 == constants.rows


def test_a_row_whose_event_time_becomes_null_is_dead() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(i, n=i) for i in range(4)])

    @flow.operator(rows)
    def gaps(rows: hw.Stream[Row]) -> hw.Stream[Row]:
        return rows.with_columns(at=pl.when(pl.col("n") != 1).then("at"))

    @flow.operator(gaps)
    def counts(rows: hw.Stream[Row]) -> hw.Stream[Any]:
        return rows.window(hw.tumbling("10s")).agg(n=pl.len())

    kept = sink(flow, counts)
    ran = run(flow)
    assert [3] == [found["n"] for found in kept.rows]
    assert ["row 1"] == [letter["origin"] for letter in ran.buried]
    assert "event time 'at' became null" in ran.buried[0]["reason"]


@pytest.mark.parametrize("micros", [2**61 + 1, -(2**61) - 1, 253_402_300_800_000_000])
def test_a_row_whose_event_time_becomes_no_date_is_dead(micros: int) -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(i, n=i) for i in range(4)])

    @flow.operator(rows)
    def far(rows: hw.Stream[Row]) -> hw.Stream[Row]:
        there = pl.lit(micros, pl.Int64).cast(pl.Datetime("us", "UTC"))
        return rows.with_columns(at=pl.when(pl.col("n") == 1).then(there).otherwise("at"))

    @flow.operator(far)
    def counts(rows: hw.Stream[Row]) -> hw.Stream[Any]:
        return rows.window(hw.tumbling("10s")).agg(n=pl.len())

    kept = sink(flow, counts)
    ran = run(flow)
    assert [3] == [found["n"] for found in kept.rows]
    assert ["row 1"] == [letter["origin"] for letter in ran.buried]
    assert "event time 'at' left the years 1 to 9999" in ran.buried[0]["reason"]


def test_dead_letters_of_rows_with_bytes() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [{"at": at(1), "raw": b"\xff\n", "tags": ["a\n\r"]}], cls=Bytes)

    @flow.operator(rows)
    def fails(row: Bytes) -> Bytes:
        raise LookupError("no")

    (letter,) = run(flow).buried
    assert ["a\n\r"] == json.loads(letter["raw"])["tags"]


def test_a_batch_function_that_gives_other_columns_than_for_no_rows_has_dead_rows() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(i, n=i) for i in range(6)])

    @flow.operator(rows)
    def varies(rows: pl.DataFrame) -> pl.DataFrame:
        if rows["n"].max() == 5:
            return rows.with_columns(pl.col("n").cast(pl.Float64))
        return rows[rows.columns[::-1]]

    kept = sink(flow, varies)
    ran = run(flow)
    assert list(range(5)) == [found["n"] for found in kept.rows]
    assert ["row 5"] == [letter["origin"] for letter in ran.buried]


def test_a_batch_function_that_gives_one_row_for_many_is_not_taken_for_right() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(i) for i in range(3)])

    @flow.operator(rows)
    def total(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select(pl.col("n").sum())

    kept = sink(flow, total)
    ran = run(flow)
    assert [] == kept.rows
    assert 3 == len(ran.buried)


# --- functions with state ---


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_not_a_number_is_one_key_and_so_is_zero(batch_rows: int) -> None:
    flow = hw.Flow("f")
    nan = float("nan")
    values = [nan, nan, -0.0, 0.0, None, None]
    rows = source(flow, [row(i, x=x) for i, x in enumerate(values)])

    @flow.operator(rows, key="x")
    def counted(event: Row | hw.Fired, count: hw.State[int], timer: hw.Timer) -> Row | None:
        if isinstance(event, hw.Fired):
            return None
        count.value += 1
        timer.set(event.at)
        return event.replace(n=count.value)

    kept = sink(flow, counted)
    run(flow, batch_rows=batch_rows)
    assert [1, 2, 1, 2, 1, 2] == [found["n"] for found in kept.rows]


def test_an_empty_key_is_one_key_for_all_rows() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1, "a"), row(2, "b")])

    @flow.operator(rows, key=())
    def counted(row: Row, count: hw.State[int]) -> Row:
        count.value += 1
        return row.replace(n=count.value)

    kept = sink(flow, counted)
    run(flow)
    assert [1, 2] == [found["n"] for found in kept.rows]


def test_a_timer_beyond_the_years_fails_its_call_alone() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1, n=0), row(2, n=1), row(3, n=2)])
    west, east = timezone(timedelta(hours=-5)), timezone(timedelta(hours=5))
    whens = [datetime.max.replace(tzinfo=west), datetime.min.replace(tzinfo=east)]
    whens.append(datetime.max.replace(tzinfo=UTC))

    @flow.operator(rows, key="key")
    def waits(event: Row | hw.Fired, timer: hw.Timer) -> Text | None:
        if isinstance(event, hw.Fired):
            return Text(text=str(event.at.year))
        timer.set(whens[event.n])
        return None

    kept = sink(flow, waits)
    ran = run(flow)
    assert ["9999"] == [found["text"] for found in kept.rows]
    assert ["row 0", "row 1"] == [letter["origin"] for letter in ran.buried]


def test_a_timer_that_sets_itself_to_no_later_time_does_not_go_off_for_ever() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1), row(50)])

    @flow.operator(rows, key="key")
    def waits(event: Row | hw.Fired, count: hw.State[int], timer: hw.Timer) -> Text:
        count.value += 1
        timer.set(event.at)
        return Text(text=f"{type(event).__name__} {count.value}")

    kept = sink(flow, waits)
    ran = run(flow)
    assert ["Row 1", "Row 2"] == [found["text"] for found in kept.rows]
    assert all("is set to no later time" in letter["reason"] for letter in ran.buried)
    assert 2 == len(ran.buried)


def test_two_timers_of_a_key_go_off_each_by_itself() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1), row(50)])

    @flow.operator(rows, key="key")
    def waits(event: Row | hw.Fired, short: hw.Timer, long: hw.Timer) -> Text | None:
        if isinstance(event, hw.Fired):
            short.clear()
            return Text(text=f"{event.timer} {(event.at - at(0)).seconds}")
        short.set(event.at + timedelta(seconds=2))
        long.set(event.at + timedelta(seconds=2 if event.at == at(50) else 1))
        return None

    kept = sink(flow, waits)
    run(flow, batch_rows=1)
    assert ["long 2", "long 52"] == [found["text"] for found in kept.rows]


@pytest.mark.parametrize("order", ["event", "arrival"])
@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_what_a_keyed_function_gives_is_in_order_for_what_merges_it(
    order: Any, batch_rows: int
) -> None:
    flow = hw.Flow("f")
    inputs = [source(flow, [row(t) for t in range(0, 30, step)], f"s{step}") for step in (3, 4, 5)]

    @flow.operator(*inputs[:2], key="key", order=order)
    def same(event: Row | hw.Fired, timer: hw.Timer) -> Row:
        if isinstance(event, hw.Fired):
            return Row(at=event.at, key="fired", n=0, x=None)
        timer.set(event.at + timedelta(seconds=1))
        return event

    @flow.operator(same, inputs[2])
    def counts(left: hw.Stream[Row], right: hw.Stream[Row]) -> hw.Stream[Any]:
        return left.union(right).window(hw.tumbling("7s")).agg(n=pl.len())

    kept, table = sink(flow, same), sink(flow, counts, name="table")
    run(flow, batch_rows=batch_rows)
    given = [found["key"] for found in kept.rows]
    assert 10 + 8 == given.count("a")
    assert len(given) + 6 == sum(found["n"] for found in table.rows)


def test_one_event_where_many_may_come_is_taken_with_and_without_a_key() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1)])

    @flow.operator(rows)
    def plain(row: Row) -> list[Row]:
        return row  # type: ignore[return-value]

    @flow.operator(rows, key="key")
    def keyed(row: Row, count: hw.State[int]) -> list[Row]:
        return row  # type: ignore[return-value]

    first, second = sink(flow, plain, name="first"), sink(flow, keyed, name="second")
    run(flow)
    assert (1, 1) == (len(first.rows), len(second.rows))


def test_an_awaited_thing_that_is_cancelled_makes_a_dead_row() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1), row(2)])

    @flow.operator(rows)
    async def waits(row: Row) -> Row:
        if row.at == at(1):
            raise asyncio.CancelledError
        return row

    kept = sink(flow, waits)
    ran = run(flow)
    assert 1 == len(kept.rows)
    assert ["row 0"] == [letter["origin"] for letter in ran.buried]


# --- graphs of odd shapes ---


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_one_upstream_on_both_inputs(batch_rows: int) -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1), row(2)])

    @flow.operator(rows, rows)
    def twice(left: hw.Stream[Row], right: hw.Stream[Row]) -> hw.Stream[Row]:
        return left.union(right)

    @flow.operator(twice)
    def paired(rows: hw.Stream[Row]) -> hw.Stream[Any]:
        return rows.join_interval(rows, by="key", before="5s", after="5s")

    both, pairs = sink(flow, twice, twice, name="both"), sink(flow, paired, name="pairs")
    run(flow, batch_rows=batch_rows)
    assert (8, 16) == (len(both.rows), len(pairs.rows))


def test_dead_letters_beside_what_they_came_from() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(0), "bad", row(1)])

    @flow.operator(rows.dead)
    def again(letter: hw.DeadLetter) -> Row:
        return Row(at=at(0.5), key="again", n=0, x=None)

    @flow.operator(rows, again)
    def counts(left: hw.Stream[Row], right: hw.Stream[Row]) -> hw.Stream[Any]:
        return left.union(right).window(hw.tumbling("10s")).agg(n=pl.len())

    kept = sink(flow, counts)
    run(flow, batch_rows=1)
    assert [3] == [found["n"] for found in kept.rows]


def test_late_rows_of_an_operator_with_inner_nodes_and_of_one_without_a_memory() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(0), row(100), row(5), row(101)])

    @flow.operator(rows)
    def counted(rows: hw.Stream[Row]) -> hw.Stream[Any]:
        windows = rows.filter(pl.col("n") == 0).key_by("key").window(hw.tumbling("10s"))
        return windows.agg(n=pl.len()).key_by("key").running(total=pl.len())

    @flow.operator(rows)
    def all_of_them(rows: hw.Stream[Row]) -> hw.Stream[Row]:
        return rows.filter(pl.col("n") == 0)

    late, none = sink(flow, counted.late), sink(flow, all_of_them.late, name="none")
    run(flow, batch_rows=1)
    assert [at(5)] == [found["at"] for found in late.rows]
    assert ([], ["closed"]) == (none.rows, none.ends)


def test_a_graph_is_made_once_and_anew_after_an_addition() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(0)])
    before = flow.graph()
    assert before is flow.graph()
    kept = sink(flow, rows)
    assert ["rows", "out"] == [node.id for node in flow.graph().nodes]
    run(flow)
    run(flow)
    assert 2 == len(kept.rows)


# --- what is refused when the flow is loaded ---


def operator_of(flow: hw.Flow, function: Callable[..., Any], **options: Any) -> Any:
    return flow.operator(source(flow, [row(1)]), name="made", **options)(function)


async def asynchronous(row: Row) -> Row:
    return row


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"in_flight": 0}, "in_flight= is at least 1"),
        ({"retries": -1}, "retries= is not negative"),
        ({"tier": "egde"}, "tier='egde' is none of 'device', 'edge', 'cloud'"),
        ({"order": "arival"}, "order='arival' is none of"),
        ({"timers": "wall"}, "timers='wall' is none of"),
    ],
)
def test_options_with_values_that_they_cannot_have(options: Any, why: str) -> None:
    flow = hw.Flow("f")
    operator_of(flow, asynchronous, **options)
    assert why in refused(flow)


def test_a_wrong_word_for_on_error() -> None:
    flow = hw.Flow("f", on_error="ignore")  # type: ignore[arg-type]
    source(flow, [])
    assert "on_error='ignore' is not 'dead' or 'stop'" in refused(flow)


def state_first(count: hw.State[int], row: Row) -> Row:
    return row


def by_keyword(*, row: Row) -> Row:
    return row


async def many_at_once(row: Row) -> list[Row]:
    return [row]


async def one_by_one(row: Row) -> AsyncIterator[Row]:
    yield row


def with_settings(row: Row, some: Some) -> Row:
    return row


def with_other_settings(row: Row, other: Other) -> Row:
    return row


def with_settings_twice(row: Row, some: Some, more: Some) -> Row:
    return row


def stateful(row: Row, count: hw.State[int]) -> Row:
    return row


@pytest.mark.parametrize(
    ("function", "key", "why"),
    [
        (state_first, "key", "let it come first"),
        (by_keyword, None, "let it come first"),
        (many_at_once, None, "returns one event or None"),
        (one_by_one, None, "returns one event or None"),
        (with_other_settings, None, "the flow's settings are Some"),
        (with_settings_twice, None, "one parameter takes them"),
        (stateful, ("key", "key"), "given twice"),
        (lambda row: row, None, "has no annotation"),
    ],
)
def test_functions_that_could_not_be_called(function: Any, key: Any, why: str) -> None:
    flow = hw.Flow("f", settings=Some)
    operator_of(flow, function, key=key)
    assert why in refused(flow)


def test_settings_of_a_flow_that_has_none() -> None:
    flow = hw.Flow("f")
    operator_of(flow, with_settings)
    assert "the flow has none" in refused(flow)


def test_keys_that_are_no_single_value_or_of_several_types() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1)])
    lists = source(flow, [], "lists", Bytes)
    numbers = source(flow, [], "numbers", Numbered)

    @flow.operator(lists, key="tags")
    def nested(row: Bytes, count: hw.State[int]) -> Bytes:
        return row

    @flow.operator(rows, numbers, key="key")
    def mixed(row: Row | Numbered, count: hw.State[int]) -> Text:
        return Text(text="")

    told = refused(flow)
    assert "is a list or a nested event" in told
    assert "has several types" in told


@pytest.mark.parametrize("dtype", [pl.Int128(), pl.UInt128(), pl.List(pl.Int64)])
def test_columns_of_a_type_that_cannot_be_a_key(dtype: pl.DataType) -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1)])

    @flow.operator(rows)
    def counts(rows: hw.Stream[Row]) -> hw.Stream[Any]:
        wide = rows.with_columns(wide=pl.col("n").cast(dtype))
        return wide.key_by("wide").window(hw.tumbling("10s")).agg(n=pl.len())

    assert "a key is no list, nested event or integer of 128 bits" in refused(flow)


@pytest.mark.parametrize("name", ["_hw_x", "_deleted"])
def test_names_that_the_engine_uses(name: str) -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1)])

    @flow.operator(rows)
    def aggregate(rows: hw.Stream[Row]) -> hw.Stream[Any]:
        return rows.window(hw.whole()).agg(**{name: pl.len()})

    @flow.operator(rows)
    def batch(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.lit(1).alias(name))

    assert 2 == refused(flow).count(f"the name '{name}' is taken")


def test_a_name_that_is_an_inner_node_of_another_operator() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1)])

    @flow.operator(rows)
    def a(rows: hw.Stream[Row]) -> hw.Stream[Any]:
        return rows.window(hw.whole()).agg(n=pl.len()).select("n")

    @flow.operator(rows, name="a.1")
    def b(rows: hw.Stream[Row]) -> hw.Stream[Row]:
        return rows.filter(pl.col("n") > 0)

    assert "two operators have this name" in refused(flow)


def test_a_stream_that_was_kept_from_another_operator() -> None:
    flow, kept = hw.Flow("f"), []
    rows = source(flow, [row(1)])

    @flow.operator(rows)
    def first(rows: hw.Stream[Row]) -> hw.Stream[Row]:
        kept.append(rows.filter(pl.col("n") > 0))
        return kept[-1]

    @flow.operator(rows)
    def second(rows: hw.Stream[Row]) -> hw.Stream[Row]:
        return rows.union(kept[-1])

    assert "within the function that it was handed to" in refused(flow)


def test_a_function_with_state_is_not_mapped() -> None:
    flow = hw.Flow("f")
    rows = source(flow, [row(1)])

    @flow.operator(rows)
    def mapped(rows: hw.Stream[Row]) -> hw.Stream[Any]:
        return rows.map(stateful)

    assert "make it an operator of its own" in refused(flow)


def test_partials_methods_and_objects_are_functions() -> None:
    def shifted(row: Row, by: int) -> Row:
        return row.replace(n=row.n + by)

    class Shifter:
        def __call__(self, row: Row) -> Row:
            return row.replace(n=2)

        def three(self, row: Row) -> Row:
            return row.replace(n=3)

    flow = hw.Flow("f")
    rows = source(flow, [row(1)])
    functions: list[Any] = [functools.partial(shifted, by=1), Shifter(), Shifter().three]
    made = [flow.operator(rows, name=str(i))(f) for i, f in enumerate(functions)]
    kept = sink(flow, *made)
    run(flow)
    assert [1, 2, 3] == [found["n"] for found in kept.rows]


def test_annotations_find_local_classes_around_the_function_that_decorates() -> None:
    class Local(hw.Event):
        at: hw.EventTime
        n: int

    def more(row: Local) -> Local:
        return row.replace(n=row.n + 1)

    flow = hw.Flow("f")
    rows = source(flow, [row(1)])

    def place(name: str) -> Any:
        return flow.operator(rows, name=name)(more)

    made: list[Any] = [place(name) for name in "ab"] + [
        flow.operator(rows, name=n)(more) for n in "cd"
    ]

    @flow.operator(rows)
    def mapped(rows: hw.Stream[Row]) -> hw.Stream[Any]:
        return rows.map(more)

    kept = sink(flow, *made, mapped)
    run(flow)
    assert [1] * 5 == [found["n"] for found in kept.rows]
