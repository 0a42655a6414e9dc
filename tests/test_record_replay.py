"""What was recorded is done again to the byte, and two versions are told apart exactly."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import headwater as hw
from headwater.connectors.journal import FileStorage, JournalSettings
from headwater.connectors.recordings import FolderTape, Recording
from headwater.edge.faults import Faults, Subject
from headwater.edge.flowfile import load_flow, module_of
from headwater.edge.replaying import Part, replay
from headwater.flows.clock import ManualClock
from headwater.flows.connector import (
    Chunk,
    Dead,
    Reader,
    Signal,
    Sink,
    SinkContext,
    Source,
    SourceContext,
    Writer,
)
from headwater.flows.engine.options import Options
from headwater.flows.engine.recorder import Recorder
from headwater.flows.engine.runner import Did, Runner
from headwater.flows.graph import SinkSpec

from .replays import called
from .running import EXAMPLES

AIRPORTS = EXAMPLES / "airports" / "flow.py"
OUTPUTS = ("hourly.parquet", "network.parquet", "worst.csv", "carried.jsonl")
PREFIX = 10_000
EVERYTHING = Path(__file__).parent / "flows_for_tests" / "everything.py"


# The demo


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix of the demo's data, run and recorded at its sources and at one operator."""
    root = tmp_path_factory.mktemp("demo")
    module: Any = module_of(EXAMPLES / "airports" / "data.py")
    module.lay_out(root / "data", rows=PREFIX)
    for name, options in (("out", ()), ("out-flights", ("--at", "flights"))):
        (root / name).mkdir()
        sets = ("--set", f"data={root / 'data'}", "--set", f"out={root / name}")
        folder = root / name.replace("out", "recording")
        called("record", AIRPORTS, "--to", folder, *sets, *options, "--no-live")
    return root


def contents(folder: Path, names: tuple[str, ...] = OUTPUTS) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("speed", ["max", "1000000x"])
def test_the_demo_is_replayed_to_the_byte(
    demo: Path, tmp_path: Path, speed: str, workers: str
) -> None:
    called(
        "replay", AIRPORTS, demo / "recording", "--speed", speed, "--workers", workers,
        "--set", f"data={tmp_path / 'none'}", "--set", f"out={tmp_path}", "--no-live",
    )  # fmt: skip
    assert contents(demo / "out") == contents(tmp_path)


def test_recording_changes_nothing(demo: Path, tmp_path: Path) -> None:
    sets = ("--set", f"data={demo / 'data'}", "--set", f"out={tmp_path}")
    called("run", AIRPORTS, *sets, "--no-live")
    assert contents(tmp_path) == contents(demo / "out") == contents(demo / "out-flights")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_follows_an_operator_is_replayed_to_the_byte(
    demo: Path, tmp_path: Path, workers: str
) -> None:
    called(
        "replay", AIRPORTS, demo / "recording-flights", "--workers", workers,
        "--set", f"data={tmp_path / 'none'}", "--set", f"out={tmp_path}", "--no-live",
    )  # fmt: skip
    reached = OUTPUTS[:3]
    assert contents(demo / "out", reached) == contents(tmp_path, reached)
    assert not (tmp_path / "carried.jsonl").exists()  # it does not read flights


def test_workers_record_what_leaves_an_operator_in_the_same_order(
    demo: Path, tmp_path: Path
) -> None:
    sets = ("--set", f"data={demo / 'data'}", "--set", f"out={tmp_path}")
    folder = tmp_path / "recording"
    called(
        "record", AIRPORTS, "--to", folder, "--at", "flights", *sets, "--workers", "2", "--no-live"
    )
    rows = [
        pl.concat(list(found.rows(found.stream("flights")))).drop("_clock")
        for found in (Recording(demo / "recording-flights"), Recording(folder))
    ]
    assert_frame_equal(*rows)


def test_a_diff_shows_the_effect_of_one_operator_and_no_other(demo: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.py"
    source = AIRPORTS.read_text("utf-8")
    assert 1 == source.count('pl.col("dep_delay") >= 15')
    changed.write_text(source.replace('pl.col("dep_delay") >= 15', 'pl.col("dep_delay") >= 20'))
    sets = ("--set", f"data={demo / 'data'}", "--set", f"out={tmp_path}")
    called("run", changed, *sets, "--no-live")
    key = ["origin", "carrier", "at"]
    both = pl.read_parquet(demo / "out" / "hourly.parquet").join(
        pl.read_parquet(tmp_path / "hourly.parquet"), on=key, suffix="_new"
    )
    expected = both.filter(pl.col("late") != pl.col("late_new")).height
    assert expected > 0

    found = json.loads(
        called("diff", AIRPORTS, changed, demo / "recording", "--json", code=1).stdout
    )
    hourly = found["sinks"].pop("hourly_file")
    told = ("added", "missing", "changed", "columns", "key")
    assert [0, 0, expected, {"late": expected}, key] == [hourly[name] for name in told]
    assert {"network_file", "worst_table", "carried_file"} == set(found["sinks"])
    assert all(sink["equal"] for sink in found["sinks"].values())
    assert "equal, 3,490 rows" in called("diff", AIRPORTS, AIRPORTS, demo / "recording").stdout


def test_a_golden_file_is_what_the_sink_writes(demo: Path, tmp_path: Path) -> None:
    for sink, name in (("worst_table", "worst.csv"), ("hourly_file", "hourly.parquet")):
        golden = tmp_path / name
        options = ("--sink", sink, "--expect", golden)
        called("test", AIRPORTS, demo / "recording", *options, code=2)
        called("test", AIRPORTS, demo / "recording", *options, "--update")
        assert (demo / "out" / name).read_bytes() == golden.read_bytes()
        called("test", AIRPORTS, demo / "recording", *options)
    lines = (tmp_path / "worst.csv").read_text().splitlines()
    missing = lines.pop(3)
    (tmp_path / "worst.csv").write_text("\n".join(lines) + "\n")
    options = ("--sink", "worst_table", "--expect", tmp_path / "worst.csv")
    assert f"+4: {missing}" in called("test", AIRPORTS, demo / "recording", *options, code=1).stdout


def test_a_stream_opens_as_parquet(demo: Path, tmp_path: Path) -> None:
    file = tmp_path / "departures.parquet"
    called("journal", "verify", demo / "recording")
    called("journal", "export", demo / "recording", file, "--at", "departures")
    found = pl.read_parquet(file)
    assert PREFIX == found.height
    newark = found.filter(pl.col("_partition").str.contains("EWR")).sort("_offset")
    written = pl.read_csv(demo / "data" / "EWR" / "departures.csv")
    assert written["flight"].to_list() == newark["flight"].to_list()
    assert "say which one" in called(
        "journal", "export", demo / "recording", file, code=1
    ).output.replace("\n", " ")


# Every operator


def test_every_operator_is_replayed_from_sources_and_from_every_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where dead letters go
    graph = load_flow(str(EVERYTHING)).graph()
    every = dict.fromkeys(n.operator for n in graph.nodes if not isinstance(n.spec, SinkSpec))
    at = [option for name in every for option in ("--at", name)]
    folders = {name: tmp_path / f"out-{n}" for n, name in enumerate(["run", "replay", *every])}
    sets = {
        name: ("--set", f"out={folder}", "--set", "rows=500", "--no-live")
        for name, folder in folders.items()
    }
    for folder in folders.values():
        folder.mkdir()
    recording = tmp_path / "recording"
    called("record", EVERYTHING, "--to", recording, *at, "--batch-rows", "97", *sets["run"])
    expected = {path.name: path.read_bytes() for path in folders["run"].iterdir()}
    called("replay", EVERYTHING, recording, "--workers", "2", *sets["replay"])
    assert expected == {path.name: path.read_bytes() for path in folders["replay"].iterdir()}
    for name in every:
        called("replay", EVERYTHING, recording, "--at", name, *sets[name])
        found = {path.name: path.read_bytes() for path in folders[name].iterdir()}
        assert found, name
        assert {file: expected[file] for file in found} == found, name


# Time, silence and arrival


class Item(hw.Event):
    at: hw.EventTime
    key: str
    n: int


class Plain(hw.Event):
    key: str
    n: int


class Said(hw.Event):
    text: str


class Count(hw.Event):
    at: hw.EventTime
    key: str
    n: int


@dataclass
class Feed:
    """What sources will give, put there by hand."""

    coming: dict[tuple[str, str], deque[Chunk | Signal]] = field(default_factory=dict)
    wakes: dict[tuple[str, str], Callable[[], None]] = field(default_factory=dict)

    def put(self, source: str, partition: str, what: Chunk | Signal) -> None:
        self.coming[source, partition].append(what)
        self.wakes[source, partition]()


@dataclass(frozen=True)
class Fed(Source[Any]):
    feed: Feed
    name: str
    names: tuple[str, ...]
    bounded = False

    def partitions(self) -> tuple[str, ...]:
        return self.names

    def open(self, partition: str, context: SourceContext) -> Reader:
        coming: deque[Chunk | Signal] = deque()
        self.feed.coming[self.name, partition] = coming
        self.feed.wakes[self.name, partition] = context.wake
        return FedReader(coming)


class FedReader(Reader):
    def __init__(self, coming: deque[Chunk | Signal]) -> None:
        self._coming = coming

    def read(self, limit: int) -> Chunk | Signal:
        return self._coming.popleft() if self._coming else Signal.WAIT

    def close(self) -> None:
        pass


class Kept(Sink):
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def given(self) -> hw.Sink:
        return self

    def open(self, context: SinkContext) -> Writer:
        return KeptWriter(self.rows)


class KeptWriter(Writer):
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows

    def write(self, rows: pl.DataFrame) -> None:
        self._rows += rows.to_dicts()

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


@dataclass
class Live:
    """A flow whose results depend on when and in which order rows come."""

    feed: Feed = field(default_factory=Feed)
    sinks: tuple[Kept, ...] = field(default_factory=lambda: tuple(Kept() for _ in range(4)))
    letters: list[dict[str, Any]] = field(default_factory=list)

    def flow(self) -> hw.Flow:
        flow, feed, sinks = hw.Flow("live"), self.feed, self.sinks

        @flow.source(disorder="1s", idle="2s")
        def items() -> hw.Source[Item]:
            return Fed(feed, "items", ("p", "q"))

        @flow.source
        def first() -> hw.Source[Plain]:
            return Fed(feed, "first", ("x",))

        @flow.source
        def second() -> hw.Source[Plain]:
            return Fed(feed, "second", ("x",))

        @flow.operator(items)
        def counts(rows: hw.Stream[Item]) -> hw.Stream[Count]:
            return rows.key_by("key").window(hw.tumbling("2s")).agg(n=pl.col("n").sum())

        @flow.operator(items, key="key", order="arrival", timers="processing")
        def fired(event: Item | hw.Fired, seen: hw.State[int], timer: hw.Timer) -> Said:
            if isinstance(event, hw.Fired):
                return Said(text=f"fired after {seen.value}")
            seen.value = event.n
            timer.set(event.at + timedelta(seconds=3))
            return Said(text=f"{event.key}{event.n}")

        @flow.operator(items)
        def now(rows: hw.Stream[Item]) -> hw.Stream[Count]:
            windows = rows.key_by("key").window(hw.tumbling("3s", time="processing"))
            return windows.agg(n=pl.len().cast(pl.Int64))

        @flow.operator(first, second, key="key", order="arrival")
        def order(row: Plain, before: hw.State[int]) -> Said:
            last, before.value = before.value, row.n
            return Said(text=f"{row.key}{row.n} after {last}")

        operators: tuple[Any, ...] = (counts, fired, now, order)
        for operator, sink in zip(operators, sinks, strict=True):
            flow.sink(operator, name=f"{operator.name} kept")(sink.given)
        return flow

    def bury(self, letters: pl.DataFrame) -> None:
        self.letters += letters.drop("origin").to_dicts()


BEGIN = 1_767_225_600_000_000


def act(live: Live, runner: Runner, clock: ManualClock, seed: int) -> None:
    """Let rows come by chance: some late, some after a silence, some never."""
    rng, counts = random.Random(seed), dict.fromkeys(live.feed.coming, 0)
    for number in range(60):
        clock.advance(rng.choice((0, 10_000, 400_000, 2_500_000)))
        place = rng.choice(list(live.feed.coming))
        rows = [
            {"at": clock.now() - rng.randrange(4_000_000), "key": rng.choice("ab"), "n": number + i}
            for i in range(rng.randrange(4))
        ]
        schema = pl.Schema(
            [("at", pl.Datetime("us", "UTC")), ("key", pl.String()), ("n", pl.Int64())]
        )
        frame = pl.DataFrame(rows, schema=schema)
        offsets = pl.Series(range(counts[place], counts[place] + len(rows)), dtype=pl.Int64)
        counts[place] += len(rows) + 1
        dead = [Dead(counts[place] - 1, b"?", "odd")] if rng.random() < 0.2 else []
        chosen = frame if place[0] == "items" else frame.drop("at")
        live.feed.put(*place, Chunk(chosen, offsets, dead))
        while runner.step() is Did.SOMETHING:
            pass
    for place in live.feed.coming:
        live.feed.put(*place, Signal.END)
    while runner.step() is not Did.END:
        pass


def acted(folder: Path, seed: int) -> Live:
    """Let rows come by chance, and record them."""
    live, clock = Live(), ManualClock(BEGIN)
    graph = live.flow().graph()
    at = [node.id for node in graph.sources()]
    tape = FolderTape(
        FileStorage(folder, create=True), graph, at, clock,
        settings=JournalSettings(), wait=pytest.fail, notice=pytest.fail,
    )  # fmt: skip
    runner = Recorder(graph, clock, Options(), live.bury, tape=tape, at=at)
    runner.begin()
    act(live, runner, clock, seed)
    runner.finish()
    runner.close()
    tape.close()
    return live


@pytest.mark.parametrize("seed", range(8))
def test_time_silence_and_arrival_are_replayed(tmp_path: Path, seed: int) -> None:
    live = acted(tmp_path / "recording", seed)
    assert all(sink.rows for sink in live.sinks)
    assert any("late" in letter["reason"] for letter in live.letters)
    for speed in (None, 1e9):
        again = Live()
        found = replay(again.flow().graph(), Recording(tmp_path / "recording"), Part(speed=speed))
        found.way.make(found.graph, found.way.clock, Options(), again.bury).run()
        assert [sink.rows for sink in live.sinks] == [sink.rows for sink in again.sinks]
        assert live.letters == again.letters


@pytest.mark.parametrize("seed", range(2))
def test_time_silence_and_arrival_survive_faults(tmp_path: Path, seed: int) -> None:
    live = acted(tmp_path / "recording", seed)
    faults = Faults(
        Subject(lambda: (Live().flow().graph(), None), Recording(tmp_path / "recording"))
    )
    assert sum(len(sink.rows) for sink in live.sinks) + len(live.letters) == faults.rows
    assert () == faults.unsteady
    trials = [faults.tried(number) for number in range(6)]
    assert [] == [trial for trial in trials if trial.differences]
    assert sum(trial.deaths for trial in trials) > 6
