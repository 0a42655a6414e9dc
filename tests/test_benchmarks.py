"""The benchmarks: every job runs, and its engines agree."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).parent.parent
ROWS = 20_000
RIVALS = {
    "A-memory": {"headwater", "polars"},
    "A-parquet": {"headwater", "polars"},
    "B": {"headwater", "polars"},
    "C-rows": {"headwater", "polars", "python"},
    "C-columns": {"headwater", "polars"},
    "D": {"headwater", "polars", "python"},
}

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
    done = bench(data, "--rounds", "1", ROWS=str(ROWS))
    assert (0, "") == (done.returncode, "" if done.returncode == 0 else done.stderr)
    return data, done.stdout, json.loads((data / "results.json").read_text())


def lines(run: Run, job: str) -> list[dict[str, Any]]:
    return [line for line in run[2]["results"] if line["job"] == job]


@pytest.mark.parametrize("job", RIVALS)
def test_engines_of_a_job_agree(run: Run, job: str) -> None:
    found = {line["engine"]: line["result"] for line in lines(run, job)}
    assert RIVALS[job] == found.keys()
    expected = found["polars"]
    for engine, result in found.items():
        assert expected.keys() == result.keys(), engine
        for name, value in expected.items():
            assert math.isclose(value, result[name], rel_tol=1e-9), (engine, name)


def test_results_are_those_of_the_rows_counted_by_hand(run: Run) -> None:
    rows = pl.read_parquet(run[0] / f"sensors-{ROWS}.parquet").to_dicts()
    warm = [row["temp"] * 9 / 5 + 32 for row in rows if row["temp"] > 25]
    for job in ("A-memory", "A-parquet", "C-rows", "C-columns"):
        result = lines(run, job)[0]["result"]
        assert len(warm) == result["rows"], job
        assert math.isclose(math.fsum(warm), result["sum of f"], rel_tol=1e-9), job
    windows = {(row["device"], int(row["ts"].timestamp()) // 10) for row in rows}
    assert len(windows) == lines(run, "B")[0]["result"]["rows"]
    assert len(windows) == lines(run, "memory-csv")[0]["result"]["windows"]


def test_speeds_and_ratios_fit_together(run: Run) -> None:
    for line in run[2]["results"]:
        assert line["min"] <= line["median_rows_per_s"] <= line["max"]
        assert line["peak_rss_mb"] > 0
    by_engine = {line["engine"]: line["median_rows_per_s"] for line in lines(run, "A-memory")}
    expected = by_engine["headwater"] / by_engine["polars"]
    assert expected == run[2]["ratios"]["A-memory: headwater / polars"]


@pytest.mark.parametrize("job", ["memory-csv", "memory-parquet"])
def test_memory_is_measured_at_ten_times_the_rows_as_well(run: Run, job: str) -> None:
    few, many = lines(run, job)
    assert (ROWS, 10 * ROWS) == (few["rows"], many["rows"])
    assert (0.0, 0.0) == (few["result"]["dead"], many["result"]["dead"])
    expected = many["peak_rss_mb"] / few["peak_rss_mb"]
    assert expected == run[2]["ratios"][f"{job}: peak at ten times the rows"]


def test_large_files_do_not_stay(run: Run) -> None:
    assert [] == list(run[0].glob(f"sensors-{10 * ROWS}.*"))


def test_the_table_names_the_machine_and_every_job(run: Run) -> None:
    _, text, found = run
    for value in found["machine"].values():
        assert value in text
    for job in (*RIVALS, "memory-csv", "memory-parquet"):
        assert f"| {job} " in text
    assert any("filter, 256 rows" in line for line in text.splitlines())


def test_an_unknown_job_is_named(tmp_path: Path) -> None:
    done = bench(tmp_path, JOBS="A Z")
    assert 2 == done.returncode
    assert "there is no job 'Z'; the jobs are A-memory" in done.stderr


def test_files_of_fewer_rows_are_a_prefix_and_equal_in_every_format(tmp_path: Path) -> None:
    for form, rows in (("parquet", 3000), ("parquet", 500), ("csv", 500), ("jsonl", 500)):
        command = [sys.executable, "-m", "benchmarks.sensors", str(tmp_path), form, str(rows)]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    expected = pl.read_parquet(tmp_path / "sensors-3000.parquet").head(500)
    assert expected.equals(pl.read_parquet(tmp_path / "sensors-500.parquet"))
    ms = expected.with_columns(pl.col("ts").dt.epoch("ms"))
    assert ms.equals(pl.read_csv(tmp_path / "sensors-500.csv"))
    assert ms.equals(pl.read_ndjson(tmp_path / "sensors-500.jsonl"))
