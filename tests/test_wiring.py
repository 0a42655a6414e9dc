"""Writing flows: how functions are called, wired, named and checked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import polars as pl
import pyarrow as pa
import pytest

import headwater as hw
from headwater.flows.stages import stages

from .harness import Kept, Rows, at, run


class Reading(hw.Event):
    at: hw.EventTime
    site: hw.Site
    device: str
    value: float | None


class Double(hw.Event):
    at: hw.EventTime
    device: str
    twice: float


class Note(hw.Event):
    text: str


def reading(seconds: float, device: str = "a", value: float | None = 1.0) -> dict[str, object]:
    return {"at": at(seconds), "site": "s", "device": device, "value": value}


class Limits(hw.Settings):
    threshold: float = 2.0


def sourced(flow: hw.Flow, *rows: object) -> hw.Operator[[], hw.Source[Reading]]:
    @flow.source
    def readings() -> hw.Source[Reading]:
        return Rows({"p": list(rows)})

    return readings


def test_an_operator_is_still_a_function() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow)

    @flow.operator(readings)
    def double(row: Reading) -> Double:
        return Double(at=row.at, device=row.device, twice=2 * (row.value or 0))

    made = double(Reading(at=at(1), site="s", device="a", value=3.0))
    assert made == Double(at=at(1), device="a", twice=6.0)
    assert double.name == "double"


def test_row_functions_give_none_one_or_many() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow, reading(1), reading(2, value=None), reading(3, value=5.0))
    one, many = Kept(), Kept()

    @flow.operator(readings)
    def double(row: Reading) -> Double | None:
        if row.value is None:
            return None
        return Double(at=row.at, device=row.device, twice=2 * row.value)

    @flow.operator(readings)
    def notes(row: Reading) -> Iterator[Note]:
        for _ in range(int(row.value or 0)):
            yield Note(text=row.device)

    @flow.sink(double)
    def doubles() -> hw.Sink:
        return one

    @flow.sink(notes)
    def noted() -> hw.Sink:
        return many

    run(flow, batch_rows=2)
    assert [2.0, 10.0] == [row["twice"] for row in one.rows]
    assert 6 == len(many.rows)


def test_a_row_function_that_raises_or_returns_nonsense_gives_dead_letters() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow, reading(1), reading(2, value=0.0), reading(3, value=-1.0))
    kept = Kept()

    @flow.operator(readings)
    def inverse(row: Reading) -> Double:
        assert row.value is not None
        if row.value < 0:
            return Double(at=row.at, device=row.device, twice="minus")  # type: ignore[arg-type]
        return Double(at=row.at, device=row.device, twice=1 / row.value)

    @flow.sink(inverse)
    def out() -> hw.Sink:
        return kept

    ran = run(flow)
    assert [1.0] == [row["twice"] for row in kept.rows]
    assert ["row 1", "row 2"] == [letter["origin"] for letter in ran.buried]
    assert "ZeroDivisionError" in ran.buried[0]["reason"]
    assert "twice" in ran.buried[1]["reason"]
    assert b'"value":0.0' in ran.buried[0]["raw"]
    assert 2 == ran.progress.dead


def test_a_flow_can_stop_on_errors_and_aborts_its_sinks() -> None:
    flow = hw.Flow("f", on_error="stop")
    readings = sourced(flow, reading(1, value=0.0))
    kept = Kept()

    @flow.operator(readings)
    def inverse(row: Reading) -> Double:
        return Double(at=row.at, device=row.device, twice=1 / (row.value or 0))

    @flow.sink(inverse)
    def out() -> hw.Sink:
        return kept

    with pytest.raises(hw.RowError, match="inverse: ZeroDivisionError"):
        run(flow)
    assert ["aborted"] == kept.ends


def test_dead_letters_can_be_read_by_the_flow() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow, reading(1), "rubbish", reading(2, value=0.0))
    kept = Kept()

    @flow.operator(readings)
    def inverse(row: Reading) -> Double:
        return Double(at=row.at, device=row.device, twice=1 / (row.value or 0))

    @flow.operator(readings.dead, inverse.dead)
    def causes(*letters: hw.Stream[hw.DeadLetter]) -> hw.Stream[Note]:
        text = pl.col("operator") + ": " + pl.col("origin")
        return letters[0].union(*letters[1:]).select(text=text)

    @flow.sink(causes)
    def out() -> hw.Sink:
        return kept

    ran = run(flow, batch_rows=1)
    assert {"readings: row 1", "inverse: row 2"} == {row["text"] for row in kept.rows}
    assert [] == ran.buried
    assert ["closed"] == kept.ends


def test_late_rows_can_be_read_and_are_buried_otherwise() -> None:
    def build(flow: hw.Flow, kept: Kept | None) -> None:
        readings = sourced(flow, reading(0), reading(100), reading(5), reading(101))

        @flow.operator(readings)
        def minutes(rows: hw.Stream[Reading]) -> hw.Stream[Double]:
            windowed = rows.key_by("device").window(hw.tumbling("10s"))
            return windowed.agg(twice=pl.col("value").sum())

        if kept is not None:

            @flow.sink(minutes.late)
            def late() -> hw.Sink:
                assert kept is not None
                return kept

    read, kept = hw.Flow("f"), Kept()
    build(read, kept)
    assert [] == run(read).buried
    assert [at(5)] == [row["at"] for row in kept.rows]
    unread = hw.Flow("f")
    build(unread, None)
    ran = run(unread)
    assert ["row 2"] == [letter["origin"] for letter in ran.buried]
    assert "late" in ran.buried[0]["reason"]
    assert 1 == sum(counts.late for counts in ran.progress.counts.values())


def test_functions_on_batches_in_both_kinds() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow, *(reading(i, value=float(i)) for i in range(10)))
    frames, arrow = Kept(), Kept()

    @flow.operator(readings, returns=Double)
    def big(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.filter(pl.col("value") >= 5).select("at", "device", twice=pl.col("value") * 2)

    @flow.operator(readings)
    def same(rows: pa.RecordBatch) -> pa.RecordBatch:
        return rows.slice(0)

    @flow.sink(big)
    def out() -> hw.Sink:
        return frames

    @flow.sink(same)
    def out2() -> hw.Sink:
        return arrow

    run(flow, batch_rows=4)
    assert [10.0, 12.0, 14.0, 16.0, 18.0] == [row["twice"] for row in frames.rows]
    assert [float(i) for i in range(10)] == [row["value"] for row in arrow.rows]


def test_settings_are_handed_to_whoever_asks() -> None:
    flow = hw.Flow("f", settings=Limits)
    kept = Kept()

    @flow.source
    def readings(limits: Limits) -> hw.Source[Reading]:
        return Rows({"p": [reading(1, value=limits.threshold + i) for i in range(-1, 2)]})

    @flow.operator(readings)
    def above(row: Reading, limits: Limits) -> Reading | None:
        return row if (row.value or 0) > limits.threshold else None

    @flow.sink(above)
    def out(limits: Limits) -> hw.Sink:
        return kept

    run(flow, settings=Limits(threshold=7))
    assert [8.0] == [row["value"] for row in kept.rows]


def test_a_generator_is_a_source() -> None:
    flow = hw.Flow("f")
    kept = Kept()

    @flow.source
    def numbers() -> Iterator[Note]:
        for i in range(1000):
            yield Note(text=str(i))

    @flow.sink(numbers)
    def out() -> hw.Sink:
        return kept

    run(flow, batch_rows=64)
    assert [str(i) for i in range(1000)] == [row["text"] for row in kept.rows]


def test_a_sink_can_be_a_function_of_rows() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow, reading(1), reading(2))
    seen: list[Reading] = []

    @flow.sink(readings)
    def show(row: Reading) -> None:
        seen.append(row)

    run(flow)
    assert [at(1), at(2)] == [row.at for row in seen]


def test_a_union_of_inputs_comes_by_event_time_with_state_and_timers() -> None:
    flow = hw.Flow("f")
    left = Rows({"p": [reading(1), reading(5)]})
    kept = Kept()

    class Reset(hw.Event):
        when: hw.EventTime
        device: str

    @flow.source
    def readings() -> hw.Source[Reading]:
        return left

    @flow.source
    def resets() -> hw.Source[Reset]:
        return Rows({"p": [{"when": at(3), "device": "a"}]})

    @flow.operator(readings, resets, key="device")
    def counted(
        event: Reading | Reset | hw.Fired, n: hw.State[int], timer: hw.Timer
    ) -> Note | None:
        if isinstance(event, hw.Fired):
            return Note(text=f"fired {n.value}")
        if isinstance(event, Reset):
            n.value = 0
            timer.set(event.when + timedelta(seconds=10))
            return Note(text="reset")
        n.value += 1
        return Note(text=f"count {n.value}")

    @flow.sink(counted)
    def out() -> hw.Sink:
        return kept

    run(flow, batch_rows=1)
    assert ["count 1", "reset", "count 1", "fired 1"] == [row["text"] for row in kept.rows]


def test_async_functions_retry_time_out_and_keep_order() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow, *(reading(i, value=float(i)) for i in range(6)))
    kept = Kept()
    tries: dict[float, int] = {}

    @flow.operator(readings, in_flight=3, timeout="200ms", retries=1)
    async def slow(row: Reading) -> Double | None:
        assert row.value is not None
        tries[row.value] = tries.get(row.value, 0) + 1
        if row.value == 2.0:
            await asyncio.Event().wait()  # never
        if row.value == 3.0 and tries[3.0] == 1:
            raise OSError("busy")
        for _ in range(6 - int(row.value)):
            await asyncio.sleep(0)
        return Double(at=row.at, device=row.device, twice=row.value)

    @flow.sink(slow)
    def out() -> hw.Sink:
        return kept

    ran = run(flow)
    assert [0.0, 1.0, 3.0, 4.0, 5.0] == [row["twice"] for row in kept.rows]
    assert 2 == tries[2.0]
    assert 2 == tries[3.0]
    assert ["TimeoutError"] == [letter["reason"] for letter in ran.buried]


def test_scopes_name_operators_and_names_are_identity() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow)

    def doubled(upstream: hw.Operator[..., hw.Source[Reading]], name: str) -> None:
        with flow.scope(name):

            @flow.operator(upstream)
            def double(row: Reading) -> Double:
                return Double(at=row.at, device=row.device, twice=0.0)

    doubled(readings, "a")
    doubled(readings, "b")
    names = {node.operator for node in flow.graph().nodes}
    assert {"a/double", "b/double"} <= names


def test_a_function_is_placed_twice_and_stream_functions_call_each_other() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow, reading(1, value=4.0))
    first, second = Kept(), Kept()

    def only(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
        return rows.filter(pl.col("value") > 3)

    def fewer(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
        return only(rows).filter(pl.col("value") > 5)

    a = flow.operator(readings, name="a")(only)
    b = flow.operator(readings, name="b")(fewer)

    @flow.sink(a)
    def out_a() -> hw.Sink:
        return first

    @flow.sink(b)
    def out_b() -> hw.Sink:
        return second

    run(flow)
    assert 1 == len(first.rows)
    assert 0 == len(second.rows)


def test_every_problem_is_told_at_once() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow)

    @flow.operator(readings)
    def wrong_column(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
        return rows.filter(pl.col("valeu") > 3)

    @flow.operator(readings)
    def wrong_return(rows: hw.Stream[Reading]) -> hw.Stream[Double]:
        return rows.select("at", "device")

    @flow.operator(wrong_column)
    def follows(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
        return rows

    with pytest.raises(hw.FlowError) as caught:
        flow.graph()
    assert ["wrong_column", "wrong_return"] == [p.operator for p in caught.value.problems]
    assert "did you mean 'value'" in str(caught.value)
    assert "'twice' is missing" in str(caught.value)


def test_a_key_without_the_site_is_not_pinned_to_the_edge() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow)

    @flow.operator(readings, tier="edge")
    def local(rows: hw.Stream[Reading]) -> hw.Stream[Double]:
        keyed = rows.key_by("site", "device").window(hw.tumbling("1m"))
        return keyed.agg(twice=pl.col("value").sum())

    @flow.operator(readings, tier="edge")
    def spanning(rows: hw.Stream[Reading]) -> hw.Stream[Double]:
        return rows.key_by("device").window(hw.tumbling("1m")).agg(twice=pl.col("value").sum())

    with pytest.raises(hw.FlowError) as caught:
        flow.graph()
    assert ["spanning"] == [problem.operator for problem in caught.value.problems]
    assert "does not contain the site" in str(caught.value)


def test_stages_never_read_each_other_in_a_circle() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow)

    @flow.operator(readings)
    def kept(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
        return rows.filter(pl.col("value") > 0)

    @flow.operator(kept)
    def rare(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
        return rows.key_by("site", "device").deduplicate(within="1m")

    @flow.operator(kept, rare)
    def both(first: hw.Stream[Reading], second: hw.Stream[Reading]) -> hw.Stream[Reading]:
        return first.union(second)

    graph = flow.graph()
    found = stages(graph)
    stage_of = {name: number for number, stage in enumerate(found) for name in stage.nodes}
    for node in graph.nodes:
        for edge in node.inputs:
            assert stage_of[edge.node] <= stage_of[node.id]
    assert stage_of["kept"] != stage_of["both"]


def test_none_is_a_dead_letter_where_the_annotation_does_not_allow_it() -> None:
    flow = hw.Flow("f")
    readings = sourced(flow, reading(1), reading(2, value=None))
    kept = Kept()

    @flow.operator(readings)
    def double(row: Reading) -> Double:
        if row.value is None:
            return None  # type: ignore[return-value]  # what is tested
        return Double(at=row.at, device=row.device, twice=2 * row.value)

    @flow.sink(double)
    def out() -> hw.Sink:
        return kept

    ran = run(flow)
    assert [2.0] == [row["twice"] for row in kept.rows]
    assert ["row 1"] == [letter["origin"] for letter in ran.buried]
    assert "returned None" in ran.buried[0]["reason"]
