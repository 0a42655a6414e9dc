"""Parts, rounds and mixtures of recordings, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from .replays import called

FLOW = """
from datetime import datetime

import polars as pl

import headwater as hw
from headwater.connectors import files


class Sale(hw.Event):
    at: hw.EventTime
    shop: str
    cents: int


class Total(hw.Event):
    shop: str
    cents: int
    at: hw.EventTime


class Shop(hw.Event):
    at: hw.EventTime
    shop: str
    city: str


class Letter(hw.Event):
    origin: str
    reason: str
    raw: str


class Placed(hw.Event):
    at: hw.EventTime
    shop: str
    cents: int
    city: str | None


flow = hw.Flow("sales")


@flow.source(disorder="5s")
def sales() -> hw.Source[Sale]:
    return files.csv("sales/*.csv")


@flow.source
def shops() -> hw.Source[Shop]:
    return files.csv("shops.csv")


@flow.operator(sales)
def large(rows: hw.Stream[Sale]) -> hw.Stream[Sale]:
    return rows.filter(pl.col("cents") >= 100)


@flow.operator(large)
def totals(rows: hw.Stream[Sale]) -> hw.Stream[Total]:
    return rows.key_by("shop").window(hw.tumbling("10s")).agg(cents=pl.col("cents").sum())


@flow.operator(totals.late)
def late(rows: hw.Stream[Sale]) -> hw.Stream[Sale]:
    return rows


@flow.operator(large, shops)
def placed(left: hw.Stream[Sale], right: hw.Stream[Shop]) -> hw.Stream[Placed]:
    return left.lookup(right, by="shop")


@flow.operator(sales.dead)
def letters(letter: hw.DeadLetter) -> Letter:
    return Letter(origin=letter.origin, reason=letter.reason, raw=letter.raw.decode())


@flow.sink(totals)
def totals_file() -> hw.Sink:
    return files.to_csv("totals.csv")


@flow.sink(late)
def late_file() -> hw.Sink:
    return files.to_csv("late.csv")


@flow.sink(placed)
def placed_file() -> hw.Sink:
    return files.to_json_lines("placed.jsonl")


@flow.sink(letters)
def letters_file() -> hw.Sink:
    return files.to_json_lines("letters.jsonl")
"""
SHOPS = "at,shop,city\n2026-01-01T09:00:00Z,{}\n2026-01-01T09:00:00Z,{}\n"
FILES = ("totals.csv", "late.csv", "placed.jsonl", "letters.jsonl")


def sale(second: int, shop: str, cents: int | str) -> str:
    return f"2026-01-01T10:{second // 60:02}:{second % 60:02}Z,{shop},{cents}\n"


def lay_out(folder: Path, north: list[str], south: list[str]) -> None:
    (folder / "sales").mkdir(parents=True)
    for name, lines in (("north", north), ("south", south)):
        (folder / "sales" / f"{name}.csv").write_text("at,shop,cents\n" + "".join(lines))
    (folder / "shops.csv").write_text(SHOPS.format("a,Como", "b,Pavia"))
    (folder / "flow.py").write_text(FLOW)


NORTH = [
    *(sale(i, "ab"[i % 2], 90 + i) for i in range(50)),
    sale(20, "a", 500),  # late
    sale(51, "b", "much"),
    sale(52, "b", 700),
]
SOUTH = [sale(i, "c", 200 + i) for i in range(0, 60, 3)]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lay_out(tmp_path, NORTH, SOUTH)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(folder: Path) -> dict[str, bytes]:
    """Move the sinks' files out of the way, and return what they held."""
    found = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
    for name in found:
        (folder / name).unlink()
    return found


def alone(folder: Path, north: list[str], south: list[str], monkeypatch: Any) -> dict[str, bytes]:
    """Return what the flow makes of other files, without a recording."""
    lay_out(folder, north, south)
    monkeypatch.chdir(folder)
    called("run", folder / "flow.py", "--no-live", "--batch-rows", "7")
    monkeypatch.chdir(folder.parent)
    return ran(folder)


def test_late_rows_dead_letters_and_tables_are_replayed(shop: Path) -> None:
    called("record", "flow.py", "--to", "recording", "--batch-rows", "7", "--no-live")
    expected = ran(shop)
    assert set(FILES) == set(expected)
    assert b"500" in expected["late.csv"]
    shutil.rmtree("sales")
    for speed in ("max", "1000x"):
        called("replay", "flow.py", "recording", "--speed", speed, "--no-live")
        found = ran(shop)
        letters = [json.loads(data["letters.jsonl"]) for data in (expected, found)]
        assert "north" in letters[1].pop("origin")
        letters[0].pop("origin")
        assert letters[0] == letters[1]
        for name in FILES[:3]:
            assert expected[name] == found[name]


def test_sources_that_were_not_recorded_are_read(shop: Path) -> None:
    called("record", "flow.py", "--to", "recording", "--at", "sales", "--no-live")
    expected = ran(shop)
    shutil.rmtree("sales")
    assert (
        "shops is not in the recording"
        in called("replay", "flow.py", "recording", "--no-live").output
    )
    found = ran(shop)
    assert {n: expected[n] for n in FILES[:3]} == {n: found[n] for n in FILES[:3]}


def test_side_outputs_of_a_recorded_operator_are_empty(shop: Path) -> None:
    called("record", "flow.py", "--to", "recording", "--at", "totals", "--no-live")
    expected = ran(shop)
    called("replay", "flow.py", "recording", "--no-live")
    assert {"totals.csv": expected["totals.csv"]} == ran(shop)


def test_several_operators_are_recorded_side_by_side(shop: Path) -> None:
    at = ("--at", "large", "--at", "sales", "--at", "shops")
    called("record", "flow.py", "--to", "recording", *at, "--batch-rows", "7", "--no-live")
    expected = ran(shop)
    shutil.rmtree("sales")
    called("replay", "flow.py", "recording", "--at", "large", "--at", "shops", "--no-live")
    found = ran(shop)
    assert {n: expected[n] for n in FILES[:3]} == found
    called("replay", "flow.py", "recording", "--no-live")
    assert {n: expected[n] for n in FILES[:3]} == {
        n: ran_ for n, ran_ in ran(shop).items() if n != "letters.jsonl"
    }


def test_a_span_of_time_is_replayed(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called(
        "record", "flow.py", "--to", "recording", "--at", "sales", "--batch-rows", "7", "--no-live"
    )
    ran(shop)
    span = ("--from", "2026-01-01T10:00:12Z", "--to", "2026-01-01T10:00:51")
    called("replay", "flow.py", "recording", *span, "--no-live")
    found = ran(shop)
    north = [line for line in NORTH[:51] if "10:00:12" <= line[11:19] < "10:00:51"]
    south = [line for line in SOUTH if "10:00:12" <= line[11:19] < "10:00:51"]
    expected = alone(shop / "cut", north, south, monkeypatch)
    assert {n: expected[n] for n in FILES[:3]} == {n: found[n] for n in FILES[:3]}
    assert b"much" in found["letters.jsonl"]  # the row before it is of 10:00:20
    called("replay", "flow.py", "recording", "--from", "2026-01-01T10:00:21Z", "--no-live")
    assert b"" == ran(shop)["letters.jsonl"]


def test_some_partitions_are_replayed(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called("record", "flow.py", "--to", "recording", "--at", "sales", "--no-live")
    ran(shop)
    called("replay", "flow.py", "recording", "--partition", "*south*", "--no-live")
    found = ran(shop)
    expected = alone(shop / "south", [], SOUTH, monkeypatch)
    assert expected == found
    wrong = called("replay", "flow.py", "recording", "--partition", "east", code=2)
    assert "there is none" in wrong.output


@pytest.mark.parametrize("at", ["sales", "large"])
def test_rounds_follow_each_other_in_event_time(
    shop: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    north, south = [line for line in NORTH if "much" not in line], SOUTH
    (shop / "sales" / "north.csv").write_text("at,shop,cents\n" + "".join(north))
    called("record", "flow.py", "--to", "recording", "--at", at, "--no-live")
    ran(shop)
    called("replay", "flow.py", "recording", "--loop", "3", "--no-live")
    found = ran(shop)
    cents = pl.read_csv(found["totals.csv"])["cents"].sum()
    once = pl.DataFrame({"line": [*north, *south]})["line"].str.extract(r",(\d+)\n$").cast(int)
    late = len(found["late.csv"].splitlines()) - 1
    if at == "sales":
        assert 3 == late
        assert 3 * (once.filter(once >= 100).sum() - 500) == cents
    expected = alone(shop / "once", north, south, monkeypatch)
    names = pl.read_ndjson(found["placed.jsonl"])
    assert 3 * len(expected["placed.jsonl"].splitlines()) == names.height
    assert 3 * names["at"].n_unique() >= names["at"].n_unique()
    moved = names["at"].str.to_datetime(time_zone="UTC")
    assert (moved.max() - moved.min()).total_seconds() > 120  # type: ignore[union-attr, operator]


def test_a_stream_is_replaced_by_that_of_another_recording(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called("record", "flow.py", "--to", "recording", "--batch-rows", "7", "--no-live")
    (shop / "shops.csv").write_text(SHOPS.format("a,Rome", "c,Turin"))
    called("record", "flow.py", "--to", "other", "--batch-rows", "7", "--no-live")
    expected = ran(shop)
    called("replay", "flow.py", "recording", "--replace", "shops=other", "--no-live")
    found = ran(shop)
    assert b"Rome" in found["placed.jsonl"]
    assert {n: expected[n] for n in FILES[:3]} == {n: found[n] for n in FILES[:3]}


def test_what_does_not_fit_is_refused(shop: Path) -> None:
    called("record", "flow.py", "--to", "recording", "--no-live")
    assert "not empty" in called("record", "flow.py", "--to", "recording", code=2).output
    assert "holds no recording" in called("replay", "flow.py", "sales", code=2).output
    wrong = called("record", "flow.py", "--to", "more", "--at", "sale", code=2).output
    assert "no operator of sales" in wrong
    for option, value, told in (
        ("--speed", "fast", "1x, 10x"),
        ("--from", "noon", "write a time"),
        ("--at", "totals", "not in it"),
        ("--replace", "sales", "OPERATOR=RECORDING"),
    ):
        assert told in called("replay", "flow.py", "recording", option, value, code=2).output
    text = (shop / "flow.py").read_text()
    (shop / "typed.py").write_text(text.replace("cents: int\n", "cents: float\n"))
    odd = called("replay", "typed.py", "recording", code=2).output
    assert "cents was Int64 and is Float64" in " ".join(odd.split())
    assert 2 == called("diff", "flow.py", "typed.py", "recording", code=2).exit_code
    (shop / "renamed.py").write_text(text.replace("sales", "sold").replace("shops", "places"))
    assert "has no such operator" in called("replay", "renamed.py", "recording", code=2).output


def test_a_recording_that_is_damaged_is_told(shop: Path) -> None:
    called("record", "flow.py", "--to", "recording", "--no-live")
    segment = next((shop / "recording").glob("*.seg"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    ran(shop)
    called("replay", "flow.py", "recording", "--no-live", code=1)
    assert {} == ran(shop)
