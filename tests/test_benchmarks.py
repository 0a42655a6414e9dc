"""The benchmarks: every job runs, engines agree, and what is told fits what was measured.

Engines of the peers' environment run in `make bench` only; it is not there for the tests.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import polars as pl
import pytest

from headwater.flows.engine.runner import BATCH_ROWS

ROOT = Path(__file__).parent.parent
ROWS = 12_000
JOBS = ("A", "A-parquet", "B", "C", "C-columns", "D-vector", "D-python", "E", "F", "G")
LOOPS = ("A", "B", "D-vector", "D-python", "E", "G")
RUN = (*JOBS, "latency-10k", "import", "idle", "overhead", "memory", "journal", "restart")

# The fixture runs some forty processes.
pytestmark = pytest.mark.timeout(300)

Run = tuple[Path, str, dict[str, Any]]


def bench(data: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/run.py", "--data", str(data), *arguments]
    settings = {**os.environ, **env}
    return subprocess.run(
        command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    data = tmp_path_factory.mktemp("bench")
    few = ("--rounds", "1", "--seconds", "1")
    done = bench(data, *RUN, *few, "--engines", "polars", ROWS=str(ROWS))
    assert (0, "") == (done.returncode, "" if done.returncode == 0 else done.stderr)
    return data, done.stdout, json.loads((data / "results.json").read_text())


@pytest.fixture(scope="module")
def rows(run: Run) -> list[dict[str, Any]]:
    return pl.read_parquet(run[0] / f"sensors-{ROWS}.parquet").to_dicts()


def lines(run: Run, job: str) -> list[dict[str, Any]]:
    return [line for line in run[2]["results"] if line["job"] == job]


def result(run: Run, job: str) -> dict[str, float]:
    found: dict[str, float] = lines(run, job)[0]["result"]
    return found


def assert_close(expected: dict[str, float], actual: dict[str, float]) -> None:
    assert expected.keys() == actual.keys()
    for name, value in expected.items():
        assert math.isclose(value, actual[name], rel_tol=1e-9), (name, value, actual[name])


def of_windows(rows: list[dict[str, Any]], panes: int) -> dict[str, float]:
    """The result of windows of so many times 10 s, every 10 s, row by row."""
    temps: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        pane = int(row["ts"].timestamp()) // 10
        for start in range(pane - panes + 1, pane + 1):
            temps.setdefault((row["device"], start), []).append(row["temp"])
    return {
        "rows": len(temps),
        "sum of n": sum(len(those) for those in temps.values()),
        "sum of mean": math.fsum(math.fsum(those) / len(those) for those in temps.values()),
        "sum of peak": math.fsum(max(those) for those in temps.values()),
    }


# What comes out


@pytest.mark.parametrize("job", JOBS)
def test_engines_of_a_job_agree(run: Run, job: str) -> None:
    found = {line["engine"]: line["result"] for line in lines(run, job)}
    assert {"headwater", "polars"} == found.keys()
    assert_close(found["polars"], found["headwater"])


@pytest.mark.parametrize("job", LOOPS)
def test_the_plain_loop_agrees(run: Run, job: str) -> None:
    command = [sys.executable, "-m", "benchmarks.measure", job, "python"]
    command += ["--rows", str(ROWS), "--data", str(run[0])]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert_close(result(run, job), json.loads(done.stdout)["result"])


def test_rows_of_their_own(run: Run, rows: list[dict[str, Any]]) -> None:
    warm = [row["temp"] * 9 / 5 + 32 for row in rows if row["temp"] > 25]
    for job in ("A", "A-parquet", "C", "C-columns"):
        assert_close({"rows": len(warm), "sum of f": math.fsum(warm)}, result(run, job))
    every = math.fsum(row["temp"] * 9 / 5 + 32 for row in rows)
    assert_close({"rows": len(rows), "sum of f": every}, result(run, "D-vector"))
    offsets = math.fsum(int(row["site"][-2:]) / 100 for row in rows)
    odd = 0.1 * sum(int(row["device"][-1]) % 2 for row in rows)
    assert_close({"rows": len(rows), "sum of f": every + offsets + odd}, result(run, "D-python"))


def test_windows(run: Run, rows: list[dict[str, Any]]) -> None:
    assert_close(of_windows(rows, 1), result(run, "B"))
    assert_close(of_windows(rows, 6), result(run, "E"))
    keys = pl.read_parquet(run[0] / f"keys-{ROWS}.parquet").to_dicts()
    assert len({row["device"] for row in keys}) > 0.9 * ROWS
    assert_close(of_windows(keys, 1), result(run, "G"))
    assert of_windows(rows, 1)["rows"] == result(run, "memory-csv")["windows"]


def test_pairs(run: Run) -> None:
    left = pl.read_parquet(run[0] / f"left-{ROWS}.parquet").to_dicts()
    right = pl.read_parquet(run[0] / f"right-{ROWS}.parquet").to_dicts()
    by_device: dict[str, list[dict[str, Any]]] = {}
    for row in right:
        by_device.setdefault(row["device"], []).append(row)
    pairs = [
        (row["temp"], other["hum"])
        for row in left
        for other in by_device.get(row["device"], [])
        if 0 <= (other["ts"] - row["ts"]).total_seconds() <= 5
    ]
    assert 1.5 < len(pairs) / ROWS < 2.5
    expected = {
        "rows": len(pairs),
        "sum of temp": math.fsum(temp for temp, _ in pairs),
        "sum of hum": math.fsum(hum for _, hum in pairs),
    }
    assert_close(expected, result(run, "F"))
    assert [2 * ROWS] * 2 == [line["rows"] for line in lines(run, "F")]


def test_latency_is_that_of_every_row(run: Run) -> None:
    (line,) = lines(run, "latency-10k")
    made = pl.read_parquet(run[0] / f"sensors-{line['rows']}.parquet")
    assert made.filter(pl.col("temp") > 25).height == line["result"]["rows"]
    low, high, highest = (line["result"][name] for name in ("p50 ms", "p99 ms", "p99.9 ms"))
    assert 0 < low <= high <= highest


def test_what_a_start_costs_is_measured(run: Run) -> None:
    assert result(run, "import")["seconds"] < result(run, "import")["seconds, used"]
    assert 20 < result(run, "idle")["MiB"] == lines(run, "idle")[0]["peak_rss_mb"]


@pytest.mark.parametrize("job", ["memory-csv", "memory-parquet"])
def test_memory_is_measured_at_ten_times_the_rows_as_well(run: Run, job: str) -> None:
    few, many = lines(run, job)
    assert (ROWS, 10 * ROWS) == (few["rows"], many["rows"])
    assert (0.0, 0.0) == (few["result"]["dead"], many["result"]["dead"])
    expected = many["peak_rss_mb"] / few["peak_rss_mb"]
    assert expected == run[2]["ratios"][f"{job}: peak at ten times the rows"]


def test_large_files_do_not_stay(run: Run) -> None:
    assert [] == list(run[0].glob(f"sensors-{10 * ROWS}.csv"))


def test_what_a_journal_costs_is_measured(run: Run) -> None:
    found = result(run, "journal")
    for job in ("A", "B"):
        assert 0 < found[f"{job}: with its rows/without"]
        assert 0 < found[f"{job}: with/without, by the core"]
        assert 0 < found[f"{job}: disk, MB/s"]
        assert found[f"{job}: with/without"] == run[2]["ratios"][f"journal, {job}: with/without"]
    assert 0 < found["append p50 ms"] <= found["append p99 ms"]
    assert found["append p99 ms"] == run[2]["ratios"]["journal, append p99 ms"]


def test_a_run_that_was_killed_is_started_again(run: Run) -> None:
    found = result(run, "restart")
    assert ROWS / 5 == found["keys"]
    assert found["s"] == run[2]["ratios"]["restart, s"] > 0
    assert 0 < found["s, by the core"]
    assert 0.64 * ROWS * 64 == round(found["MB of input"] * 1e6)
    assert 0 < found["MB of image"] < 1
    assert [] == [path for path in run[0].iterdir() if path.is_dir()]


# What is told of it


def test_speeds_and_ratios_fit_together(run: Run) -> None:
    for line in run[2]["results"]:
        assert line["min"] <= line["median_rows_per_s"] <= line["max"]
        assert line["peak_rss_mb"] > 0 or line["job"] in ("import", "journal", "restart")
    by_engine = {line["engine"]: line["median_rows_per_s"] for line in lines(run, "A")}
    expected = by_engine["headwater"] / by_engine["polars"]
    assert expected == run[2]["ratios"]["A: headwater/polars"]


def test_the_table_names_the_machine_and_every_job(run: Run) -> None:
    data, text, found = run
    durable = ("journal, A: with/without", "restart, s")
    for value in (*found["machine"].values(), *found["versions"].values(), *durable):
        assert value in text
    for job in (*JOBS, "memory-csv", "memory-parquet"):
        assert f"| {job} " in text
    for said in ("A: headwater/polars", "| 10,000 ", "idle `headwater run`", "filter, 256 rows"):
        assert said in text
    assert text.strip() == (data / "results.md").read_text().strip()


def test_the_picture_has_a_bar_for_every_speed(run: Run) -> None:
    drawing = ET.fromstring((run[0] / "results.svg").read_text())
    bars = drawing.findall("{*}rect")
    assert 2 * len(JOBS) == len(bars)
    assert all(float(bar.attrib["width"]) > 0 for bar in bars)


def test_an_unknown_job_is_named(tmp_path: Path) -> None:
    done = bench(tmp_path, JOBS="A Z")
    assert 2 == done.returncode
    assert "there is no job 'Z'; the jobs are A, A-parquet" in done.stderr


def test_files_of_fewer_rows_are_a_prefix_and_equal_in_every_format(tmp_path: Path) -> None:
    for form, rows in (("parquet", 3000), ("parquet", 500), ("csv", 500), ("jsonl", 500)):
        command = [sys.executable, "-m", "benchmarks.sensors", str(tmp_path), form, str(rows)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    expected = pl.read_parquet(tmp_path / "sensors-3000.parquet").head(500)
    assert expected.equals(pl.read_parquet(tmp_path / "sensors-500.parquet"))
    ms = expected.with_columns(pl.col("ts").dt.epoch("ms"))
    assert ms.equals(pl.read_csv(tmp_path / "sensors-500.csv"))
    assert ms.equals(pl.read_ndjson(tmp_path / "sensors-500.jsonl"))


# The parts, on figures that are made up


@pytest.fixture(scope="module")
def parts() -> SimpleNamespace:
    """The modules, which are importable from the checkout only."""
    names = ("catalogue", "paced", "peers", "picture", "processes", "ratios", "report", "saving")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        modules: dict[str, ModuleType] = {
            name: import_module(f"benchmarks.{name}") for name in (*names, "tables", "work")
        }
    return SimpleNamespace(**modules)


DURABLE = {"s": 9.0, "s, by the core": 8.0, "A: with/without": 0.8, "B: with/without": 0.7}
DURABLE |= {"append p99 ms": 0.9, **{f"{job}: with its rows/without": 0.8 for job in "AB"}}


def made_up(parts: SimpleNamespace) -> Any:
    """A report in which each engine of a job is half as fast as the one before it."""
    report = parts.report.Report({"cpu": "one"}, {"polars": "2"}, 5)
    for job in parts.catalogue.CATALOGUE.values():
        for number, contender in enumerate(job.contenders):
            speed = 1e6 / 2**number
            found = {"p99 ms": 4.0, "seconds": 0.3, "MiB": 120.0, "rows": 7.0, **DURABLE}
            args = (job.name, contender.engine, 1000, speed, speed, speed, 10.0, found, speed / 2)
            report.lines += [parts.report.Line(*args)] * (2 if job.kind == "memory" else 1)
    return report


def test_every_goal_belongs_to_a_ratio(parts: SimpleNamespace) -> None:
    found = {ratio.name: ratio for ratio in parts.ratios.ratios(made_up(parts))}
    assert parts.ratios.GOALS.keys() <= found.keys()
    for name, expected in {
        "A: headwater/polars": (2.0, True),
        "B: headwater/bytewax": (8.0, False),
        "C: headwater/fastest peer": (4.0, True),
        "F: headwater/fastest peer": (4.0, False),
        "G/B": (1.0, True),
        "E/B, time": (1.0, True),
        "latency-10k, p99 ms": (4.0, True),
        "import, s": (0.3, False),
        "idle, MB": (120.0, True),
        "journal, A: with/without": (0.8, True),
        "journal, B: with/without": (0.7, False),
        "journal, append p99 ms": (0.9, True),
        "restart, s": (9.0, True),
        "A: headwater/faust": (128.0, None),
    }.items():
        assert expected == (found[name].value, found[name].met), name


def test_a_table_says_which_goals_are_met(parts: SimpleNamespace) -> None:
    report = made_up(parts)
    text = parts.tables.shown(report, parts.ratios.ratios(report))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["A: headwater/polars", "2", "2", "at least 0.8", "yes"] in cells
    assert ["B: headwater/bytewax", "8", "8", "at least 300", "**no**"] in cells
    assert ["A: headwater/faust", "128", "128", "", ""] in cells
    assert ["restart, s", "9", "8", "at most 10", "yes"] in cells
    assert ["idle, MB", "120", "", "at most 130", "yes"] in cells
    assert "the core for only a part of their time" not in text


def test_results_are_compared_over_the_same_rows(parts: SimpleNamespace) -> None:
    def line(engine: str, rows: int, total: float) -> Any:
        found = {"rows": 7.0, "sum of n": total}
        return parts.report.Line("B", engine, rows, 1.0, 1.0, 1.0, 1.0, found)

    report = parts.report.Report({}, {}, 5)
    report.lines = [line("headwater", 1000, 9.0), line("polars", 1000, 9.0 * (1 + 1e-12))]
    assert [] == report.differences()
    report.lines.append(line("quix", 500, 4.0))
    assert ["B: headwater gives rows = None, quix 7.0"] == report.differences()[:1]
    report.references["B", 500] = {"rows": 7.0, "sum of n": 4.0}
    assert [] == report.differences()
    report.lines.append(line("faust", 1000, 9.0 * (1 + 1e-8)))
    report.lines.append(line("bytewax", 1000, 9.05))  # may be a little off, as the catalogue says
    (problem,) = report.differences()
    assert problem.startswith("B: headwater gives sum of n = 9.0, faust 9.0000000")


def test_a_line_is_the_median_of_its_rounds(parts: SimpleNamespace) -> None:
    rounds = [
        parts.processes.Measured(seconds, peak, {"p99 ms": seconds}, core)
        for seconds, peak, core in ((1.0, 5.0, 1.0), (4.0, 9.0, 1.25), (2.0, 7.0, 1.5))
    ]
    line = parts.report.Line.of("A", "polars", 100, rounds)
    assert (50.0, 25.0, 100.0) == (line.median_rows_per_s, line.min, line.max)
    assert (9.0, {"p99 ms": 2.0}) == (line.peak_rss_mb, line.result)
    assert (80.0, 0.625) == (line.median_rows_per_core_s, line.core_share)
    report = parts.report.Report({}, {}, 3, lines=[line])
    assert "makes their figures too low: A polars 62%." in parts.tables.shown(report, [])


def test_what_is_not_there_is_named(parts: SimpleNamespace, tmp_path: Path) -> None:
    missing = parts.peers.Peers.found(tmp_path).missing
    engines = {one.engine for job in parts.catalogue.CATALOGUE.values() for one in job.contenders}
    names = {engine.partition("-")[0] for engine in engines}
    assert names - set(parts.processes.OURS) <= missing.keys()
    report = parts.report.Report({}, {}, 5, missing={"faust": missing["faust"]})
    assert "| faust   | there is no environment of the peers" in parts.tables.shown(report, [])


def test_a_decade_is_as_long_as_another(parts: SimpleNamespace) -> None:
    report = parts.report.Report({}, {}, 5)
    report.lines = [
        parts.report.Line("A", engine, 1, speed, speed, speed, 1.0, {})
        for engine, speed in (("headwater", 1e7), ("polars", 1e6), ("faust", 1e5))
    ]
    drawing = ET.fromstring(parts.picture.picture(report))
    longest, middle, shortest = (float(r.attrib["width"]) for r in drawing.findall("{*}rect"))
    assert math.isclose(longest - middle, middle - shortest, abs_tol=0.2)
    assert "" == parts.picture.picture(parts.report.Report({}, {}, 5))


def test_results_take_their_place_in_a_page(parts: SimpleNamespace) -> None:
    begin, end = parts.saving.BEGIN, parts.saving.END
    page = parts.saving.between(f"before\n{begin}\nold\n{end}\nafter\n", "new")
    assert f"before\n{begin}\n\nnew\n\n{end}\nafter\n" == page
    assert page == parts.saving.between(page, "new")
    with pytest.raises(ValueError, match="the page has no"):
        parts.saving.between("no markers", "new")
    assert parts.saving.between((ROOT / "docs" / "benchmarks.md").read_text(), "new")


def test_a_row_is_as_late_as_it_waited(parts: SimpleNamespace) -> None:
    """Latency counts from when a row was due, not from when it was read."""
    pacer = parts.paced._Pacer(rate=10)
    pacer.begun = time.monotonic_ns() - 1_000_000_000
    assert 11 <= pacer.due()
    pacer.arrived(pl.DataFrame({"due": [0, 900_000_000], "f": [1.0, 2.0]}))
    found = pacer.result()
    assert (2.0, 3.0) == (found["rows"], found["sum of f"])
    assert 1000 <= found["p99.9 ms"]
    assert 900 <= found["p99.9 ms"] - (pacer.late[0].min() or 0) / 1e6 < 900.001


def test_batches_are_those_of_the_engine(parts: SimpleNamespace) -> None:
    """The batches that an engine for Arrow is handed are as large as Headwater's own."""
    assert BATCH_ROWS == parts.work.BATCH


def test_every_engine_of_the_catalogue_has_its_jobs(parts: SimpleNamespace) -> None:
    """Of the peers, by the text of their modules, as they cannot be imported here."""
    wanted: Counter[str] = Counter()
    for job in parts.catalogue.CATALOGUE.values():
        for contender in job.contenders if job.kind in ("timed", "latency") else ():
            module, _, variant = contender.engine.partition("-")
            text = (ROOT / "benchmarks" / "engines" / f"{module}.py").read_text()
            key = f"{job.name}, {variant}" if variant else job.name
            assert f'    "{key}": ' in text.partition("PREPARE: Final")[2], (module, key)
            wanted[module] += 1
    assert {"headwater", "polars", "python", "bytewax", "quix", "pathway", "faust"} == set(wanted)
