"""The demo's results equal those of the oracle, however the rows are cut, ordered or spread."""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from headwater.edge.flowfile import load_flow, module_of
from headwater.edge.overrides import settings_of
from headwater.flows.engine.runner import Progress

from .airports_oracle import ORIGINS, Answer, answer
from .running import EXAMPLES, run

FLOW: Final = EXAMPLES / "airports" / "flow.py"
OUTPUTS: Final = ("hourly.parquet", "network.parquet", "worst.csv", "carried.jsonl")
DAY: Final = 86_400
YEAR: Final = 336_776
PREFIX: Final = 10_000
WHOLE: Final = 400_000
"""Rows of a batch that holds any of the files at once."""
WEIGHTED: Final = (pl.col("delay") * pl.col("flights")).sum() / pl.col("flights").sum()
"""The mean delay of many flights, of those of parts of them."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way to run the flow: the rows and their order, how they are cut and spread."""

    data: str
    batch_rows: int
    workers: int = 1

    def __str__(self) -> str:
        return f"{self.data}-{self.batch_rows}-{self.workers}"


CASES: Final = (
    Case("prefix", 1),
    Case("prefix", 7),
    Case("prefix", 1_000),
    Case("prefix", 1_000, workers=2),
    Case("year", 1_000),
    Case("year", 65_536),
    Case("year", WHOLE),
    Case("year", 65_536, workers=2),
    Case("wild", 65_536),
    Case("wild", 10_000, workers=2),
    Case("backwards", WHOLE),
    Case("backwards", 65_536, workers=2),
)


@dataclass(slots=True)
class Runs:
    """Lays data out and runs the flow, each once."""

    root: Path
    answers: dict[str, Answer] = field(default_factory=dict)
    done: dict[Case, Progress] = field(default_factory=dict)

    def data(self, name: str) -> Path:
        folder = self.root / name
        if not folder.exists():
            if name in ("prefix", "year"):
                lay_out(folder, rows=PREFIX if name == "prefix" else None)
            else:
                shuffle(self.data("year"), folder, name)
        return folder

    def answer(self, name: str) -> Answer:
        # The oracle sorts: it need not, and does not, see the rows in another order.
        name = "prefix" if name == "prefix" else "year"
        if name not in self.answers:
            self.answers[name] = answer(self.data(name))
        return self.answers[name]

    def out(self, case: Case) -> Path:
        folder = self.root / "out" / str(case)
        if case not in self.done:
            folder.mkdir(parents=True, exist_ok=True)
            self.done[case] = run_case(FLOW, case, self.data(case.data), folder)
        return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("airports"))


def run_case(flow: Path, case: Case, data: Path, out: Path) -> Progress:
    settings = settings_of(load_flow(str(flow)).settings, [f"data={data}", f"out={out}"])
    return run(flow, settings, batch_rows=case.batch_rows, workers=case.workers)


def lay_out(target: Path, *, rows: int | None) -> None:
    module: Any = module_of(EXAMPLES / "airports" / "data.py")
    assert (rows or YEAR) == module.lay_out(target, rows=rows)


def shuffle(source: Path, target: Path, how: str) -> None:
    """Copy the data with the departures in another order within the disorder of a day."""
    rng = random.Random(how)
    for origin in ORIGINS:
        (target / origin).mkdir(parents=True)
        weather = (source / origin / "weather.csv").read_bytes()
        (target / origin / "weather.csv").write_bytes(weather)
        rows = departures(source, origin)
        if how == "wild":
            # Whatever two rows change places, the draws differ by less than a day.
            drawn = pl.Series([rng.randrange(DAY) for _ in range(rows.height)])
            rows = rows.sort(seconds(rows) + drawn, maintain_order=True)
        else:
            days = (seconds(rows) // DAY).alias("day")
            rows = rows.sort(days, seconds(rows), descending=[False, True], maintain_order=True)
        rows.write_csv(target / origin / "departures.csv")


def departures(data: Path, origin: str) -> pl.DataFrame:
    return pl.read_csv(data / origin / "departures.csv", infer_schema=False)


def seconds(rows: pl.DataFrame) -> pl.Series:
    return rows["at"].str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC").dt.epoch("s")


# The tables that the flow wrote


def parquet(file: Path, *by: str) -> pl.DataFrame:
    return pl.read_parquet(file).sort(by)


def worst_of(file: Path) -> pl.DataFrame:
    texts = pl.read_csv(file, schema_overrides={"at": pl.String, "start": pl.String})
    return texts.with_columns(pl.col("at", "start").str.to_datetime(time_zone="UTC"))


def carried_of(file: Path) -> pl.DataFrame:
    rows = pl.read_ndjson(file).with_columns(pl.col("at").str.to_datetime(time_zone="UTC"))
    return rows.sort(rows.columns)


def assert_same(expected: pl.DataFrame, actual: pl.DataFrame) -> None:
    """Floats to 1e-9 relative; all else, the names and the types exactly."""
    assert expected.height > 0
    assert expected.schema == actual.schema
    assert_frame_equal(expected, actual, check_exact=False, rel_tol=1e-9, abs_tol=0.0)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_results_equal_those_of_the_oracle(runs: Runs, case: Case) -> None:
    expected, out = runs.answer(case.data), runs.out(case)
    assert_same(expected.hourly, parquet(out / "hourly.parquet", "start", "origin", "carrier"))
    assert_same(expected.network, parquet(out / "network.parquet", "start", "carrier"))
    assert_same(expected.worst, worst_of(out / "worst.csv"))
    assert_same(expected.carried, carried_of(out / "carried.jsonl"))


WATCHED: Final = """

@flow.sink(flights)
def flights_file(folders: Folders) -> hw.Sink:
    return files.to_parquet(folders.out / "flights.parquet")


@flow.sink(hours)
def hours_file(folders: Folders) -> hw.Sink:
    return files.to_parquet(folders.out / "hours.parquet")
"""
"""Sinks for what the example keeps to itself: the joined rows, of which little is written."""


@pytest.mark.parametrize("case", [Case("year", 65_536), Case("wild", 65_536, workers=2)], ids=str)
def test_weather_joined_equals_that_of_the_oracle(runs: Runs, tmp_path: Path, case: Case) -> None:
    watched = tmp_path / "watched.py"
    watched.write_text(FLOW.read_text("utf-8") + WATCHED, "utf-8")
    run_case(watched, case, runs.data(case.data), tmp_path)
    expected = runs.answer(case.data)
    flights = parquet(tmp_path / "flights.parquet", *expected.flights.columns)
    assert_same(expected.flights, flights)
    assert_same(expected.hours, parquet(tmp_path / "hours.parquet", "start", "origin"))
    windless = expected.flights["wind_speed"].null_count()
    assert 0 < windless < 0.01 * expected.flown


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_row_is_counted_and_none_is_late(runs: Runs, case: Case) -> None:
    runs.out(case)
    expected, progress = runs.answer(case.data), runs.done[case]
    counts = progress.counts
    assert expected.departures == counts["departures"].rows_in
    assert expected.readings == counts["weather"].rows_in
    assert expected.flown == counts["flown"].rows_out == counts["flights"].rows_out
    assert (0, 0) == (progress.dead, sum(count.late for count in counts.values()))
    assert expected.hourly.height == progress.sinks["hourly_file"]
    assert expected.network.height == progress.sinks["network_file"]
    assert expected.carried.height == progress.sinks["carried_file"]


@pytest.mark.parametrize("data", ["prefix", "year", "wild", "backwards"])
def test_files_are_the_same_bytes_however_rows_are_cut_and_spread(runs: Runs, data: str) -> None:
    outs = [runs.out(case) for case in CASES if case.data == data]
    assert len(outs) > 1
    for name in OUTPUTS:
        assert 1 == len({hashlib.sha256((out / name).read_bytes()).digest() for out in outs}), name


def test_the_year_is_as_large_as_it_is_known_to_be(runs: Runs) -> None:
    year = runs.answer("year")
    assert (336_776, 328_521, 26_115) == (year.departures, year.flown, year.readings)
    assert (115_205, 59_704) == (year.hourly.height, year.network.height)
    assert (10, 5_676) == (year.worst.height, year.carried.height)
    assert 328_521 == year.hourly["flights"].sum() == year.network["flights"].sum()


@pytest.mark.parametrize("how", ["wild", "backwards"])
def test_shuffles_keep_the_rows_and_the_disorder_and_no_more(runs: Runs, how: str) -> None:
    for origin in ORIGINS:
        before = departures(runs.data("year"), origin)
        after = departures(runs.data(how), origin)
        assert before.sort(before.columns).equals(after.sort(after.columns))
        times = pl.DataFrame({"at": seconds(after)})
        furthest: int = times.select((pl.col("at").cum_max() - pl.col("at")).max()).item()
        assert 0.9 * DAY < furthest <= DAY
        moved = sum(a != b for a, b in zip(before.rows(), after.rows(), strict=True))
        assert 0.9 < moved / before.height


# python -m examples.airports


def demo(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.airports", "--out", str(out), *options]
    return subprocess.run(
        command,
        cwd=EXAMPLES.parent,
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("demo")
    done = demo(out, "--workers", "2")
    assert (0, "") == (done.returncode, "" if done.returncode == 0 else done.stderr)
    return out, done.stdout


def test_demo_writes_what_the_flow_writes(runs: Runs, shown: tuple[Path, str]) -> None:
    reference = runs.out(Case("year", 65_536))
    for name in OUTPUTS:
        assert (reference / name).read_bytes() == (shown[0] / name).read_bytes(), name


def test_demo_shows_the_tables(runs: Runs, shown: tuple[Path, str]) -> None:
    year, text = runs.answer("year"), shown[1]
    carriers = re.findall(r"│ (\w\w)  .*│ +([\d,]+) │ +([\d.]+) │", text)
    worst = year.network.group_by("carrier").agg(pl.col("flights").sum(), delay=WEIGHTED)
    expected = worst.sort("delay", descending=True).head(5).iter_rows()
    assert [(c, f"{n:,}", f"{d:.1f}") for c, n, d in expected] == carriers
    hours = re.findall(r"│ \d\d \w{3} \d\d:00 +│ (\w+) +│ +(\d+) │ +([\d.]+) │", text)
    named = {"EWR": "Newark", "JFK": "Kennedy", "LGA": "LaGuardia"}
    expected = year.worst.select("origin", "flights", "delay").iter_rows()
    assert [(named[o], str(n), f"{d:.1f}") for o, n, d in expected] == hours


def test_demo_names_the_champion_and_the_rate(runs: Runs, shown: tuple[Path, str]) -> None:
    carried = runs.answer("year").carried
    assert f"{carried.height:,} delays were carried" in shown[1]
    times = carried["tail"].value_counts().sort("count", "tail", descending=[True, False])
    tail, most = times.row(0)
    assert f"champion is {tail}, with {most}" in shown[1]
    assert re.search(r"336,776 departures in [\d.]+ s \([\d,]+ departures/s\)", shown[1])


def test_demo_draws_a_line_for_each_airport(runs: Runs, shown: tuple[Path, str]) -> None:
    texts = [element.text for element in ElementTree.parse(shown[0] / "airports.svg").iter()]
    local = pl.col("start").dt.convert_time_zone("America/New_York").dt.hour()
    at_noon = runs.answer("year").hourly.filter(pl.col("origin") == "JFK", local == 12)
    mean: float = at_noon.select(WEIGHTED).item()
    assert f"Kennedy, 12:00: {mean:.1f} min" in texts
    assert {"Newark", "Kennedy", "LaGuardia", "mean delay, minutes"} <= set(texts)


def test_demo_lays_the_data_out_again_only_if_it_has_to(tmp_path: Path) -> None:
    file = tmp_path / "data" / "JFK" / "departures.csv"
    assert 0 == demo(tmp_path, "--rows", "1000").returncode
    first = file.stat().st_mtime_ns
    assert 0 == demo(tmp_path, "--rows", "1000").returncode
    assert first == file.stat().st_mtime_ns
    again = demo(tmp_path, "--rows", "1001")
    assert "1,001 departures in" in again.stdout
    assert first < file.stat().st_mtime_ns


def test_demo_says_what_is_wrong_with_its_options(tmp_path: Path) -> None:
    done = demo(tmp_path, "--workers", "0")
    assert 2 == done.returncode
    assert "at least 1" in done.stderr
