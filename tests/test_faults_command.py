"""``headwater test --faults``: what comes of a flow is the same however often it dies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.edge.command import app

HEAD = """
import headwater as hw
import polars as pl
from headwater.connectors import files


class Sale(hw.Event):
    at: hw.EventTime
    shop: str
    cents: int


class Total(hw.Event):
    at: hw.EventTime
    shop: str
    sum: int


flow = hw.Flow("sales")


@flow.source(disorder="5s")
def sales() -> hw.Source[Sale]:
    return files.csv("sales.csv")
"""
SINK = """

@flow.sink(totals)
def report() -> hw.Sink:
    return files.to_csv("totals.csv")
"""
RIGHT = f"""{HEAD}

@flow.operator(sales, key="shop")
def totals(sale: Sale, sum: hw.State[int]) -> Total:
    sum.value += sale.cents
    return Total(at=sale.at, shop=sale.shop, sum=sum.value)


@flow.operator(sales)
def minutes(rows: hw.Stream[Sale]) -> hw.Stream[Sale]:
    return rows.key_by("shop").window(hw.tumbling("1m")).agg(cents=pl.col("cents").sum())


@flow.sink(minutes)
def by_minute() -> hw.Sink:
    return files.to_csv("minutes.csv")
{SINK}"""
GLOBAL = f"""{HEAD}
SEEN: dict[str, int] = {{}}


@flow.operator(sales)
def totals(sale: Sale) -> Total:
    SEEN[sale.shop] = SEEN.get(sale.shop, 0) + sale.cents
    return Total(at=sale.at, shop=sale.shop, sum=SEEN[sale.shop])
{SINK}"""
BESIDE = f"""{HEAD}
from counting import SEEN


@flow.operator(sales)
def totals(sale: Sale) -> Total:
    SEEN.append(sale.shop)
    return Total(at=sale.at, shop=sale.shop, sum=len(SEEN))
{SINK}"""
RANDOM = f"""{HEAD}
import random


@flow.operator(sales)
def totals(sale: Sale) -> Total:
    return Total(at=sale.at, shop=sale.shop, sum=random.getrandbits(60))
{SINK}"""
UNKEPT = f"""{HEAD}

class Thing:
    def __init__(self) -> None:
        self.held = 1


@flow.operator(sales, key="shop")
def totals(sale: Sale, thing: hw.State[Thing | None]) -> Total:
    return Total(at=sale.at, shop=sale.shop, sum=1)
{SINK}"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with sales, some of them late and some nonsense."""
    monkeypatch.chdir(tmp_path)
    lines = ["at,shop,cents"]
    for n in range(120):
        second = 3 * n + (n * 7 % 5) - (30 if n % 17 == 3 else 0)
        at = f"2026-01-01T10:{second // 60 + 1:02}:{second % 60:02}Z"
        lines.append(f"{at},{'abc'[n % 3]},{'x' if n % 13 == 5 else n * 31 % 101}")
    (tmp_path / "sales.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def ran(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, words)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout + result.stderr


def recorded(folder: Path, code: str, *options: str) -> None:
    (folder / "flow.py").write_text(code)
    assert ran("record", "flow.py", "--to", "monday", *options)[0] == 0


def test_a_flow_that_keeps_its_state_where_it_belongs_survives(folder: Path) -> None:
    recorded(folder, RIGHT)
    code, told = ran("test", "flow.py", "monday", "--faults", "--seeds", "15")
    assert code == 0, told
    found = re.search(r"as without faults, (\d+) rows; 15 seeds, (\d+) deaths", told)
    assert found is not None
    assert int(found[1]) > 120
    assert int(found[2]) > 15


@pytest.mark.parametrize("batch_rows", ["1", "7"])
def test_steps_are_as_they_were_recorded(folder: Path, batch_rows: str) -> None:
    recorded(folder, RIGHT, "--batch-rows", batch_rows)
    assert ran("test", "flow.py", "monday", "--faults", "--seeds", "5")[0] == 0


def test_a_part_of_a_recording_can_be_tried(folder: Path) -> None:
    recorded(folder, RIGHT)
    words = ["--from", "2026-01-01T10:02:00Z", "--to", "2026-01-01T10:04:00Z"]
    code, told = ran("test", "flow.py", "monday", "--faults", "3", *words)
    assert code == 0
    assert "1 seed, " in told


def test_state_in_a_global_is_lost_with_the_process(folder: Path) -> None:
    recorded(folder, GLOBAL)
    code, told = ran("test", "flow.py", "monday", "--faults")
    assert code == 1
    assert "report: " in told
    again = re.search(r"headwater (test flow\.py monday --faults \d+) shows it again", told)
    assert again is not None
    assert (1, told) == ran(*again[1].split())


def test_state_in_a_module_beside_the_flow_is_lost_too(folder: Path) -> None:
    (folder / "counting.py").write_text("SEEN: list[str] = []\n")
    recorded(folder, BESIDE)
    assert ran("test", "flow.py", "monday", "--faults")[0] == 1


def test_what_is_random_is_told_from_what_is_lost(folder: Path) -> None:
    recorded(folder, RANDOM)
    code, told = ran("test", "flow.py", "monday", "--faults")
    assert code == 1
    assert "gives something else each time, without a fault" in told


@pytest.mark.parametrize(
    ("code", "at", "why"),
    [(UNKEPT, (), "totals"), (RIGHT, ("--at", "totals"), "record the sources")],
)
def test_what_cannot_be_tried_is_refused(
    folder: Path, code: str, at: tuple[str, ...], why: str
) -> None:
    recorded(folder, code, *at)
    ended, told = ran("test", "flow.py", "monday", "--faults")
    assert ended == 2
    assert why in told


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["7"],
        ["--faults", "--expect", "totals.csv"],
        ["--expect", "totals.csv", "--seeds", "3"],
        ["--faults", "--workers", "2"],
    ],
)
def test_a_command_that_makes_no_sense_is_refused(folder: Path, words: list[str]) -> None:
    recorded(folder, RIGHT)
    code, told = ran("test", "flow.py", "monday", *words)
    assert code == 2
    assert "say one of --expect FILE and --faults" in told


def test_a_source_that_was_not_recorded_is_named(folder: Path) -> None:
    more = """

@flow.source()
def others() -> hw.Source[Sale]:
    return files.csv("sales.csv")


@flow.sink(others)
def copies() -> hw.Sink:
    return files.to_csv("copies.csv")
"""
    both = RIGHT + more.replace("@flow.sink(others)", "@flow.sink(sales, others)")
    recorded(folder, both, "--at", "sales")
    code, told = ran("test", "flow.py", "monday", "--faults")
    assert code == 2
    assert "has nothing of others" in told
