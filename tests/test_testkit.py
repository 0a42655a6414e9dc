"""The bench gives what a run gives, in virtual time, and through every interruption."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import headwater as hw
from headwater.connectors import files
from headwater.flows.clock import ManualClock
from headwater.flows.engine.runner import Options, Runner
from headwater.testing import Abort, Bench, Deleted, End, Pause

pytest_plugins = ["pytester"]

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Reading(hw.Event):
    at: hw.EventTime
    device: str
    celsius: float


class Minute(hw.Event):
    at: hw.EventTime
    device: str
    n: int


class Alarm(hw.Event):
    at: hw.EventTime
    device: str
    streak: int


class Limits(hw.Settings):
    hot: float = 10.0


def reading(seconds: float, celsius: float = 1.0, device: str = "a") -> Reading:
    return Reading(at=EPOCH + timedelta(seconds=seconds), device=device, celsius=celsius)


def line(row: Reading) -> bytes:
    told = {"at": row.at.isoformat(), "device": row.device, "celsius": row.celsius}
    return json.dumps(told).encode()


def minute(second: int, n: int, device: str = "a") -> Minute:
    """A window of ten seconds, by the second after its last."""
    at = EPOCH + timedelta(seconds=second) - timedelta(microseconds=1)
    return Minute(at=at, device=device, n=n)


def made(folder: Path = Path("nowhere"), name: str = "benched") -> hw.Flow:
    """Windows, keyed state with settings, and sinks in files."""
    flow = hw.Flow(name, settings=Limits)

    @flow.source(disorder="2s")
    def readings() -> hw.Source[Reading]:
        return files.json_lines(folder / "in.jsonl")

    @flow.operator(readings)
    def minutes(rows: hw.Stream[Reading]) -> hw.Stream[Minute]:
        return rows.key_by("device").window(hw.tumbling("10s")).agg(n=pl.len())

    @flow.operator(readings, key="device")
    def alarms(row: Reading, streak: hw.State[int], limits: Limits) -> Alarm | None:
        if row.celsius < 0:
            raise ValueError("too cold")
        streak.value = streak.value + 1 if row.celsius > limits.hot else 0
        return Alarm(at=row.at, device=row.device, streak=streak.value) if streak.value else None

    @flow.sink(minutes)
    def report() -> hw.Sink:
        return files.to_json_lines(folder / "minutes.jsonl")

    @flow.sink(alarms)
    def page() -> hw.Sink:
        return files.to_json_lines(folder / "alarms.jsonl")

    return flow


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(made()) as bench:
        yield bench


def everything(bench: Bench) -> dict[str, Any]:
    """What can be read of the flow, since it was read last."""
    names = ("readings", "minutes", "alarms", "report", "page")
    found: dict[str, Any] = {name: bench.read(name) for name in names}
    found["late"] = bench.late("minutes"), bench.late("alarms")
    found["dead"] = bench.dead()
    return found


# What goes in comes out


def test_rows_are_read_where_they_come_by(bench: Bench) -> None:
    bench.feed("readings", reading(1), reading(2, 20), reading(13))
    assert [reading(1), reading(2, 20), reading(13)] == bench.read("readings")
    assert [] == bench.read("readings")
    assert [minute(10, 2)] == bench.read("minutes")
    assert [minute(10, 2)] == bench.read("report")
    assert [Alarm(at=reading(2).at, device="a", streak=1)] == bench.read("page")
    bench.feed("readings", reading(31))
    assert [minute(20, 1)] == bench.read("minutes")
    bench.end()
    assert [minute(40, 1)] == bench.read("minutes")
    assert bench.ended


def test_all_that_can_be_fed_comes_to_the_same(bench: Bench) -> None:
    row = reading(1, 4.5)
    given = {"at": row.at, "device": "a", "celsius": 4.5}
    frame = pl.DataFrame([given])
    text = pl.DataFrame({"at": ["2026-01-01T00:00:01Z"], "device": ["a"], "celsius": ["4.5"]})
    ways = (row, given, line(row), line(row).decode(), frame, text)
    bench.feed("readings", *ways, frame.to_arrow(), frame.to_arrow().to_batches()[0])
    assert [row] * 8 == bench.read("readings")
    assert [] == bench.dead()


def test_an_operator_is_named_by_what_its_decorator_returned() -> None:
    flow = hw.Flow("handles")

    @flow.source
    def readings() -> hw.Source[Reading]:
        raise AssertionError("the source of the flow itself is not asked for")

    @flow.operator(readings)
    def kept(row: Reading) -> Reading | None:
        return row if row.celsius > 2 else None

    with Bench(flow) as bench:
        bench.feed(readings, reading(1), reading(2, 3.0))
        assert [reading(2, 3.0)] == bench.read(kept)
        assert [] == bench.read("kept")


def test_frames(bench: Bench) -> None:
    empty = bench.frame("minutes")
    assert (0, ["at", "device", "n"]) == (empty.height, empty.columns)
    bench.feed("readings", reading(1), reading(13))
    found = bench.frame("minutes")
    assert empty.schema == found.schema
    assert [1] == found["n"].to_list()
    assert 0 == bench.frame("minutes").height


def test_it_gives_what_a_run_over_files_gives(tmp_path: Path) -> None:
    lines = [line(reading(i * 7 % 50, i % 13 * 2 - 2, "ab"[i % 2])) for i in range(60)]
    lines[20] = b'{"at": "yesterday", "device": "a", "celsius": 2}'
    lines[30] = b"nonsense"
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    buried: list[dict[str, Any]] = []
    graph = made(tmp_path).graph()
    Runner(
        graph,
        ManualClock(),
        Options(settings=Limits()),
        lambda frame: buried.extend(frame.to_dicts()),
    ).run()
    with Bench(made()) as bench:
        bench.feed("readings", *lines)
        bench.end()
        for sink, file in (("report", "minutes.jsonl"), ("page", "alarms.jsonl")):
            assert pl.read_ndjson(tmp_path / file).height
            expected = (tmp_path / file).read_text()
            assert expected == bench.frame(sink).write_ndjson()
        letters = bench.dead()
    told = [(letter.operator, letter.raw, letter.reason) for letter in letters]
    expected_letters = [(b["operator"], b["raw"], b["reason"]) for b in buried]
    for operator in ("readings", "minutes", "alarms"):
        assert [x for x in expected_letters if x[0] == operator] == [
            x for x in told if x[0] == operator
        ]
    assert {"readings", "minutes", "alarms"} == {letter.operator for letter in letters}


def test_nothing_touches_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Bench(made(tmp_path)) as bench:
        bench.feed("readings", reading(1), b"bad", reading(30))
        bench.crash()
        bench.restart()
        bench.end()
    assert [] == list(tmp_path.iterdir())


# Late and dead


def test_late_rows_that_nobody_reads_are_dead_too(bench: Bench) -> None:
    bench.feed("readings", reading(30), reading(1))
    assert [reading(1)] == bench.late("minutes")
    assert [] == bench.late("minutes")
    assert ["alarms", "minutes"] == sorted(letter.operator for letter in bench.dead())
    assert [] == bench.dead()


def test_dead_letters_of_one_operator(bench: Bench) -> None:
    bench.feed("readings", b"bad", reading(1, -5))
    bench.feed("readings", reading(9))
    assert ["ValueError: too cold"] == [letter.reason for letter in bench.dead("alarms")]
    assert [(b"bad", "item 1 that was fed")] == [(x.raw, x.origin) for x in bench.dead()]
    assert [] == bench.dead()


def test_what_the_flow_reads_itself_is_seen_and_goes_its_way() -> None:
    flow = hw.Flow("sides")

    @flow.source
    def readings() -> hw.Source[Reading]:
        return files.json_lines("nowhere")

    @flow.operator(readings)
    def minutes(rows: hw.Stream[Reading]) -> hw.Stream[Minute]:
        return rows.key_by("device").window(hw.tumbling("10s")).agg(n=pl.len())

    @flow.operator(minutes.late)
    def stragglers(row: Reading) -> Reading:
        return row

    @flow.operator(readings.dead)
    def refused(letter: hw.DeadLetter) -> hw.DeadLetter:
        return letter

    with Bench(flow) as bench:
        bench.feed(readings, reading(30), reading(1), b"bad")
        assert [reading(1)] == bench.late(minutes)
        assert [reading(1)] == bench.read(stragglers)
        letters = bench.dead()
        assert [b"bad"] == [letter.raw for letter in letters]
        assert letters == bench.read(refused)


def test_an_event_that_does_not_fit_its_columns_is_dead(bench: Bench) -> None:
    bench.feed("readings", reading(1), Reading(at=EPOCH, device=7, celsius=1.0))  # type: ignore[arg-type]
    assert [reading(1)] == bench.read("readings")
    (letter,) = bench.dead()
    assert "device: Value should be a str" in letter.reason


def test_a_frame_without_a_column_is_refused_at_once(bench: Bench) -> None:
    with pytest.raises(hw.SchemaError, match="column 'celsius' is missing"):
        bench.feed("readings", pl.DataFrame({"at": [EPOCH], "device": ["a"]}))
    bench.feed("readings", reading(1))
    assert [reading(1)] == bench.read("readings")


# Tables, functions, settings, state


class Best(hw.Event):
    at: hw.EventTime
    device: str
    celsius: float
    rank: int


def test_changes_of_a_table_are_told() -> None:
    flow = hw.Flow("table")

    @flow.source
    def readings() -> hw.Source[Reading]:
        return files.json_lines("nowhere")

    @flow.operator(readings)
    def best(rows: hw.Stream[Reading]) -> hw.Stream[Best]:
        return rows.key_by("device").top(1, by="celsius").filter(pl.col("celsius") < 5)

    with Bench(flow) as bench:
        bench.feed(readings, reading(1, 3.0), reading(2, 4.0), reading(3, 1.0))
        assert ["_deleted"] == bench.frame(best).columns[-1:]
        bench.feed(readings, reading(4, 6.0), reading(5, 1.0))
        (deleted,) = bench.read(best)
        assert isinstance(deleted, Deleted)
        assert ("a", 1) == (deleted.row.device, deleted.row.rank)


def test_a_function_that_is_a_sink_is_called_and_read() -> None:
    flow = hw.Flow("called")
    called: list[float] = []

    @flow.source
    def readings() -> Iterator[Reading]:
        called.append(0.0)  # the generator of the flow itself does not run
        yield reading(1)

    @flow.sink(readings)
    def note(row: Reading) -> None:
        called.append(row.celsius)

    with Bench(flow) as bench:
        bench.feed(readings, reading(1, 4.0))
        assert [reading(1, 4.0)] == bench.read(note)
    assert [4.0] == called


def test_settings_are_handed_to_the_operators() -> None:
    with Bench(made(), settings=Limits(hot=0.5)) as bench:
        bench.feed("readings", reading(1), reading(2), reading(9))
        assert [1, 2] == [alarm.streak for alarm in bench.read("alarms")]
        key = [row for row in bench.state("alarms", "a") if row["table"] == "state.streak"]
        assert [2] == [row["value"] for row in key]
        assert [] == bench.state("alarms", "b")


def test_watermarks(bench: Bench) -> None:
    assert bench.watermark("readings") is None
    bench.feed("readings", reading(30))
    for name in ("readings", "minutes", "report"):
        assert EPOCH + timedelta(seconds=28) == bench.watermark(name)
    bench.crash()
    bench.restart()
    for name in ("readings", "minutes", "report"):
        assert EPOCH + timedelta(seconds=28) == bench.watermark(name)
    bench.end()
    assert datetime.max.replace(tzinfo=UTC) == bench.watermark("minutes")


# Time


def ticking() -> hw.Flow:
    """Says how long a device has been silent, every ten seconds of processing time."""
    flow = hw.Flow("ticking")

    @flow.source(idle="20s")
    def readings() -> hw.Source[Reading]:
        return files.json_lines("nowhere")

    @flow.operator(readings, key="device", timers="processing", order="arrival")
    def silent(event: Reading | hw.Fired, last: hw.State[str], timer: hw.Timer) -> Alarm | None:
        if isinstance(event, Reading):
            last.value = event.device
            timer.set(BEGIN + timedelta(seconds=10))
            return None
        timer.set(event.at + timedelta(seconds=10))
        return Alarm(at=event.at, device=last.value, streak=0)

    return flow


BEGIN = datetime(2030, 1, 1, tzinfo=UTC)


def seconds_of(alarms: list[Alarm]) -> list[float]:
    return [(alarm.at - BEGIN).total_seconds() for alarm in alarms]


def test_time_passes_as_it_is_told_to() -> None:
    with Bench(ticking(), start=BEGIN) as bench:
        assert BEGIN == bench.now
        bench.feed("readings", reading(1))
        bench.advance("9s")
        assert [] == bench.read("silent")
        bench.advance(BEGIN + timedelta(seconds=10))
        assert [10] == seconds_of(bench.read("silent"))
        bench.advance("40s", every="1s")
        assert [20, 30, 40, 50] == seconds_of(bench.read("silent"))
        assert BEGIN + timedelta(seconds=50) == bench.now
        with pytest.raises(hw.HeadwaterError, match="time does not go back"):
            bench.advance(BEGIN)


def test_time_passes_while_a_run_is_down() -> None:
    with Bench(ticking(), start=BEGIN) as bench:
        bench.feed("readings", reading(1))
        bench.restart(down="15s")
        assert [10] == seconds_of(bench.read("silent"))
        bench.crash(down="5s")
        assert [20] == seconds_of(bench.read("silent"))


def test_what_follows_a_pause_waits_for_its_end(bench: Bench) -> None:
    bench.feed("readings", reading(1), Pause("10s"), reading(2), Pause("10s"), reading(3))
    assert [reading(1)] == bench.read("readings")
    bench.feed("readings", reading(4))
    bench.advance("9s")
    assert [] == bench.read("readings")
    bench.advance("2s")
    assert [reading(2)] == bench.read("readings")
    bench.crash()
    bench.advance("1m")
    assert [reading(3), reading(4)] == bench.read("readings")


def test_a_pause_without_an_end_is_ended_by_hand(bench: Bench) -> None:
    bench.feed("readings", reading(1), Pause(), reading(2))
    bench.advance("10d")
    assert [reading(1)] == bench.read("readings")
    bench.resume("readings")
    assert [reading(2)] == bench.read("readings")
    bench.feed("readings", Pause(), reading(3))
    bench.end()
    assert [reading(3)] == bench.read("readings")


def test_a_silent_partition_is_set_aside_after_its_time() -> None:
    with Bench(ticking(), partitions={"readings": ["north", "south"]}) as bench:
        bench.feed("readings", reading(1), partition="north")
        bench.feed("readings", reading(2), partition="south")
        bench.feed("readings", reading(3), partition="north")
        bench.feed("readings", reading(5), partition="north")
        assert [reading(1), reading(2), reading(3)] == bench.read("readings")
        bench.advance("19s")
        bench.feed("readings", reading(7), partition="north")
        assert [] == bench.read("readings")
        bench.advance("1s")
        assert [reading(5), reading(7)] == bench.read("readings")


def test_time_stops_where_a_partition_is_set_aside() -> None:
    flow = hw.Flow("seen")

    @flow.source(idle="20s")
    def readings() -> hw.Source[Reading]:
        return files.json_lines("nowhere")

    @flow.operator(readings)
    def minutes(rows: hw.Stream[Reading]) -> hw.Stream[Minute]:
        return rows.key_by("device").window(hw.tumbling("10s", time="processing")).agg(n=pl.len())

    with Bench(flow, start=BEGIN, partitions={readings: 2}) as bench:
        bench.feed(readings, reading(1), reading(2), partition=0)
        bench.advance("1m")
        ends = [row.at + timedelta(microseconds=1) - BEGIN for row in bench.read(minutes)]
        assert [timedelta(seconds=10), timedelta(seconds=30)] == ends


# Partitions and ends


def test_partitions_end_one_by_one() -> None:
    with Bench(made(), partitions={"readings": 2}) as bench:
        bench.feed("readings", reading(5), partition=0)
        assert [] == bench.read("minutes")
        with pytest.raises(hw.HeadwaterError, match="say which partition=, of 0, 1"):
            bench.feed("readings", reading(5))
        with pytest.raises(hw.HeadwaterError, match="no '2'.*it has 0, 1"):
            bench.feed("readings", reading(5), partition="2")
        bench.end("readings", partition=1)
        bench.feed("readings", reading(15), End(), partition=0)
        assert bench.ended
        assert [minute(10, 1), minute(20, 1)] == bench.read("minutes")
        with pytest.raises(hw.HeadwaterError, match="0 has ended"):
            bench.feed("readings", reading(16), partition=0)
        bench.crash()
        bench.restart()
        assert bench.ended
        assert [] == bench.read("minutes")


def test_what_is_wrong_with_a_call_is_told(bench: Bench) -> None:
    other = hw.Flow("other")

    @other.source
    def strangers() -> hw.Source[Reading]:
        return files.json_lines("nowhere")

    with pytest.raises(hw.HeadwaterError, match="no 'minuets'; did you mean 'minutes'"):
        bench.read("minuets")
    with pytest.raises(hw.HeadwaterError, match="minutes is no source; the flow's are readings"):
        bench.feed("minutes", reading(1))
    with pytest.raises(hw.HeadwaterError, match="strangers.* is not of the flow"):
        bench.feed(strangers, reading(1))
    with pytest.raises(hw.HeadwaterError, match="Minute.* is fed to a source of Reading"):
        bench.feed("readings", minute(1, 1))
    with pytest.raises(hw.HeadwaterError, match="readings has no late rows"):
        bench.late("readings")
    with pytest.raises(hw.HeadwaterError, match="7 cannot be fed"):
        bench.feed("readings", 7)  # type: ignore[arg-type]
    bench.close()
    with pytest.raises(hw.HeadwaterError, match="the bench is closed"):
        bench.feed("readings", reading(1))


def test_what_the_flow_raises_is_raised() -> None:
    flow = hw.Flow("strict", on_error="stop")

    @flow.source
    def readings() -> hw.Source[Reading]:
        return files.json_lines("nowhere")

    @flow.operator(readings)
    def inverse(row: Reading) -> Reading:
        return Reading(at=row.at, device=row.device, celsius=1 / row.celsius)

    with Bench(flow) as bench:
        bench.feed(readings, reading(1, 2.0))
        with pytest.raises(hw.RowError, match="division by zero"):
            bench.feed(readings, reading(2, 0.0))
        with pytest.raises(hw.HeadwaterError, match="the run has failed"):
            bench.feed(readings, reading(3, 2.0))
        assert [reading(1, 0.5)] == bench.read(inverse)
        with pytest.raises(hw.RowError, match="division by zero"):
            bench.crash()


# Interruptions

ACTS = st.one_of(
    st.tuples(
        st.just("feed"),
        st.lists(
            st.one_of(
                st.builds(
                    reading,
                    st.integers(0, 60),
                    st.sampled_from((-1.0, 5.0, 20.0)),
                    st.sampled_from("ab"),
                ),
                st.just(b"bad"),
            ),
            max_size=4,
        ),
    ),
    st.tuples(st.sampled_from(("crash", "unsynced", "restart", "abort", "read")), st.none()),
    st.tuples(st.just("advance"), st.integers(0, 20)),
)


def performed(acts: list[Any], *, interrupted: bool, **options: Any) -> list[dict[str, Any]]:
    """Return what is read at each "read", and at the end."""
    found = []
    with Bench(made(), batch_rows=3, **options) as bench:
        for act, argument in acts:
            if act == "feed":
                bench.feed("readings", *argument)
            elif act == "advance":
                bench.advance(f"{argument}s")
            elif act == "read":
                found.append(everything(bench))
            elif interrupted and act == "abort":
                bench.feed("readings", Abort(unsynced=True))
            elif interrupted and act == "restart":
                bench.restart()
            elif interrupted:
                bench.crash(unsynced=act == "unsynced")
        bench.end()
        assert () == bench.notices
        return [*found, everything(bench)]


@settings(max_examples=40)
@given(acts=st.lists(ACTS, max_size=12), rewinds=st.booleans())
def test_interruptions_change_nothing(acts: list[Any], rewinds: bool) -> None:
    expected = performed(acts, interrupted=False)
    assert expected == performed(acts, interrupted=True, rewinds=rewinds)


@settings(max_examples=15)
@given(acts=st.lists(ACTS, max_size=12))
def test_steps_that_were_lost_are_done_anew(acts: list[Any]) -> None:
    acts = [act for act in acts if act[0] != "read"]
    expected = performed(acts, interrupted=False)
    found = performed(acts, interrupted=True, sync="never", image_every="3s")
    for name in ("readings", "minutes", "alarms", "report", "page"):
        assert expected[0][name] == found[0][name]


def left_by_a_death(seed: int, *, unsynced: bool) -> int:
    """How many of three acknowledged rows are there after a death, if nothing was synced."""
    with Bench(made(), seed=seed, sync="never", rewinds=False) as bench:
        for second in range(3):
            bench.feed("readings", reading(second))
        bench.crash(unsynced=unsynced)
        return bench.frame("readings").height


def test_what_was_not_synced_is_lost_with_the_machine_alone() -> None:
    assert {3} == {left_by_a_death(seed, unsynced=False) for seed in range(8)}
    assert min(left_by_a_death(seed, unsynced=True) for seed in range(8)) < 3


def test_a_death_in_the_middle(bench: Bench) -> None:
    bench.feed("readings", reading(1, 20), Abort(), reading(2, 20), Abort(unsynced=True))
    bench.feed("readings", reading(13, 20), reading(19))
    assert [minute(10, 2)] == bench.read("report")
    assert [1, 2, 3] == [alarm.streak for alarm in bench.read("alarms")]


def test_a_function_that_is_not_the_same_twice_is_found() -> None:
    flow = hw.Flow("odd")
    calls: list[int] = []

    @flow.source
    def readings() -> hw.Source[Reading]:
        return files.json_lines("nowhere")

    @flow.operator(readings)
    def numbered(row: Reading) -> Alarm:
        calls.append(1)
        return Alarm(at=row.at, device=row.device, streak=len(calls))

    with Bench(flow) as bench:
        bench.feed(readings, reading(1), reading(2))
        with pytest.raises(AssertionError, match="numbered: other rows came .* row 0 was .*1"):
            bench.crash()


def widened(*, keyed_by: str = "device", extra: bool = False) -> hw.Flow:
    """The windows of another version of the flow."""
    flow = hw.Flow("benched", settings=Limits)

    class Wide(hw.Event):
        at: hw.EventTime
        device: str
        celsius: float
        unit: str = "C"

    event = Wide if extra else Reading

    @flow.source(disorder="2s")
    def readings() -> hw.Source[event]:  # type: ignore[valid-type]
        return files.json_lines("nowhere")

    @flow.operator(readings)
    def minutes(rows: hw.Stream[event]) -> hw.Stream[Any]:  # type: ignore[valid-type]
        length = "10s" if keyed_by == "device" else "20s"
        return rows.key_by("device").window(hw.tumbling(length)).agg(n=pl.len())

    return flow


def test_a_new_version_goes_on_with_the_state_of_the_old() -> None:
    with Bench(widened()) as bench:
        bench.feed("readings", reading(1), reading(2))
        bench.restart(widened())
        bench.feed("readings", reading(3), reading(13))
        assert [3] == bench.frame("minutes")["n"].to_list()


def test_a_version_that_does_not_fit_is_refused_until_it_is_reset() -> None:
    with Bench(widened()) as bench:
        bench.feed("readings", reading(1), reading(2))
        changed = widened(keyed_by="site")
        with pytest.raises(hw.RecoveryError, match="--reset minutes"):
            bench.restart(changed)
        bench.restart(changed, reset=["minutes"])
        bench.feed("readings", reading(3), reading(33))
        assert [1] == bench.frame("minutes")["n"].to_list()


def test_what_was_fed_is_given_to_a_version_with_another_event() -> None:
    with Bench(widened()) as bench:
        bench.feed("readings", reading(1), Pause(), line(reading(2)), reading(3))
        bench.restart(widened(extra=True), reset=["minutes"])
        bench.resume("readings")
        assert ["C", "C"] == bench.frame("readings")["unit"].to_list()[-2:]
        assert [] == bench.dead()


def test_a_state_that_no_image_can_hold_cannot_be_interrupted() -> None:
    class Opaque:
        """No record of fields."""

        __slots__ = ("_x",)

        def __init__(self) -> None:
            self._x = object()

    flow = hw.Flow("opaque")

    @flow.source
    def readings() -> hw.Source[Reading]:
        return files.json_lines("nowhere")

    @flow.operator(readings, key="device")
    def held(row: Reading, state: hw.State[Opaque | None]) -> Reading:
        state.value = state.value or Opaque()
        return row

    with Bench(flow) as bench:
        bench.feed(readings, reading(1), reading(3))
        assert [reading(1)] == bench.read(held)
        for interrupt in (bench.crash, bench.restart):
            with pytest.raises(hw.FlowError):
                interrupt()
        bench.feed(readings, reading(5))
        assert [reading(3)] == bench.read(held)


# What a failure says

FAILING = """
from datetime import UTC, datetime

import headwater as hw
from headwater.connectors import files


class Reading(hw.Event):
    at: hw.EventTime
    n: int


flow = hw.Flow("failing")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@flow.source
def readings() -> hw.Source[Reading]:
    return files.json_lines("nowhere")


@flow.operator(readings)
def kept(row: Reading) -> Reading:
    return row


def test_values(headwater_bench):
    bench = headwater_bench(flow)
    bench.feed(readings, Reading(at=NOON, n=1), b"bad")
    assert bench.read(kept) == [Reading(at=NOON, n=2), Reading(at=NOON, n=3)]


def test_with():
    from headwater.testing import Bench

    with Bench(flow) as bench:
        bench.feed(readings, b"worse")
        assert bench.read(kept)


def test_passes(headwater_bench):
    headwater_bench(flow).end()
"""


@pytest.mark.parametrize("arguments", [(), ("-p", "headwater.edge.testing.plugin")])
def test_the_plugin_shows_why_a_test_failed(
    pytester: pytest.Pytester, arguments: tuple[str, ...]
) -> None:
    pytester.makepyfile(FAILING)
    plugin = () if arguments else ("-p", "headwater.edge.testing.plugin")
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", *plugin, *arguments)
    done.assert_outcomes(passed=1, failed=2)
    done.stdout.fnmatch_lines(
        [
            "*1 Reading on the left, 2 Reading on the right",
            "*row 0: Reading(*n=1)",
            "*n: 1 != 2",
            "*row 1 is only on the right: Reading(*n=3)",
            "*headwater bench*",
            "bench of flow failing at 2026-01-01T00:00:00+00:00",
            "  1 dead letter that no one has read:",
            "    readings: item 2 that was fed: Invalid JSON*bad",
            "*1 dead letter that no one has read:",
            "*readings: item 1 that was fed: Invalid JSON*worse",
        ]
    )


def test_arrow_tables_are_frames(bench: Bench) -> None:
    table = pa.table({"at": [EPOCH], "device": ["a"], "celsius": [1.0]})
    bench.feed("readings", table)
    assert [reading(0)] == bench.read("readings")


EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.mark.parametrize("name", ["airports", "cold_chain", "wordcount"])
def test_a_flow_is_taken_from_its_file(name: str) -> None:
    with Bench(str(EXAMPLES / name / "flow.py")) as bench:
        bench.crash()
        bench.restart()
        bench.end()
        assert bench.ended


def test_the_plugin_loads_nothing_heavy() -> None:
    code = "import sys, headwater.edge.testing.plugin; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"polars", "pyarrow", "pydantic"}.isdisjoint(done.stdout.split())


def test_it_is_found_in_the_package() -> None:
    assert hw.testing.Bench is Bench
    assert sorted(hw.testing.__all__) == hw.testing.__all__
