"""Files as sources: the contract, and every kind of bad input."""

from __future__ import annotations

import csv as stdlib_csv
import gzip
import json
import random
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.connectors import files
from headwater.connectors.conformance import (
    Bell,
    check_source,
    drain,
    source_context,
)
from headwater.flows.connector import Chunk, Source
from headwater.flows.errors import ConnectorError
from headwater.flows.event import Event, Field


class Line(Event):
    text: str


class Placed(Event):
    text: str
    file: str
    line: int


class Pair(Event):
    a: int
    b: str


def pairs(count: int) -> pl.DataFrame:
    columns = {"a": list(range(count)), "b": [f"row {n}" for n in range(count)]}
    return pl.DataFrame(columns, schema={"a": pl.Int64, "b": pl.String})


def sources(tmp_path: Path, rows: pl.DataFrame) -> dict[str, Source[Any]]:
    rows.write_csv(tmp_path / "p.csv")
    rows.write_ndjson(tmp_path / "p.jsonl")
    rows.write_parquet(tmp_path / "p.parquet", row_group_size=13)
    rows.write_ipc(tmp_path / "p.arrow", record_batch_size=11)
    rows.write_ipc_stream(tmp_path / "p.arrows")
    (tmp_path / "p.csv.gz").write_bytes(gzip.compress((tmp_path / "p.csv").read_bytes()))
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.write(tmp_path / "p.csv", "inner/p.csv")
    return {
        "csv": files.csv(tmp_path / "p.csv"),
        "csv.gz": files.csv(tmp_path / "p.csv.gz"),
        "zip": files.csv(tmp_path / "p.zip"),
        "json": files.json_lines(tmp_path / "p.jsonl"),
        "parquet": files.parquet(tmp_path / "p.parquet"),
        "ipc": files.ipc(tmp_path / "p.arrow"),
        "ipc stream": files.ipc(tmp_path / "p.arrows"),
    }


KINDS = ["csv", "csv.gz", "zip", "json", "parquet", "ipc", "ipc stream"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 40])
def test_source_conforms(tmp_path: Path, kind: str, count: int) -> None:
    rows = pairs(count)
    check_source(sources(tmp_path, rows)[kind], Pair, rows)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("form", ["csv", "json", "text"])
def test_source_with_dead_letters_conforms(tmp_path: Path, form: str, follow: bool) -> None:
    path = tmp_path / "bad"
    good = {"csv": b"a,b\n1,x\nz,y\n3\n\n4,\xff\n5,ok\n", "json": b'{"a":1,"b":"x"}\n{\n\n{}\n'}
    path.write_bytes(good.get(form, b"one\n\xff\ntwo\n"))
    event = Line if form == "text" else Pair
    make = {"csv": files.csv, "json": files.json_lines, "text": files.text}[form]
    most = {"csv": 5, "json": 3, "text": 3}[form] if follow else None
    check_source(make(path, follow=follow), event, most=most)


def test_text_gives_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("é\r\n\nlast".encode())
    rows = pl.DataFrame({"text": ["é", "", "last"], "file": [str(path)] * 3, "line": [1, 2, 3]})
    check_source(files.text(path), Placed, rows)


def test_partitions_are_files_in_name_order(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.log"):
        (tmp_path / name).write_text(name)
    source = files.text([tmp_path / "*.txt", tmp_path / "a.txt", tmp_path / "c.log"])
    expected = [str(tmp_path / name) for name in ("a.txt", "b.txt", "c.log")]
    assert expected == source.partitions()
    check_source(source, Line, pl.DataFrame({"text": ["a.txt", "b.txt", "c.log"]}))


def test_placeholders_fill_fields(tmp_path: Path) -> None:
    for origin in ("rome", "oslo"):
        (tmp_path / origin).mkdir()
        (tmp_path / origin / "dep.csv").write_text("a\n1\n2\n")
        (tmp_path / origin / "dep.jsonl").write_text('{"a":1, "b":"other"}\n { } \n')
    rows = pl.DataFrame({"a": [1, 2, 1, 2], "b": ["oslo", "oslo", "rome", "rome"]})
    check_source(files.csv(f"{tmp_path}/{{b}}/dep.csv"), Pair, rows)
    check_source(files.csv(f"{tmp_path}/{{b}}/d*.csv"), Pair, rows)
    source = files.json_lines(f"{tmp_path}/{{b}}/dep.jsonl")
    found = drain(source, source.partitions()[0], Pair)
    assert [{"a": 1, "b": "oslo"}] == found.rows.to_dicts()
    assert [(2, b" { } ")] == [(one.offset, one.raw) for one in found.dead]


def test_nothing_matches_says_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "data.csv").touch()
    with pytest.raises(ConnectorError, match=r"no file matches '.*/\*\.txt'.*holds data\.csv"):
        files.text(tmp_path / "*.txt").partitions()
    with pytest.raises(ConnectorError, match="does not exist"):
        files.text(tmp_path / "none" / "{a}.txt").partitions()
    with pytest.raises(ConnectorError, match="is gone"):
        drain(files.text(tmp_path / "x"), str(tmp_path / "x"), Line)


def read(path: Path, source: Source[Any], event: type[Event]) -> tuple[list[Any], list[Any]]:
    found = drain(source, str(path), event)
    rows = list(zip(found.offsets.to_list(), found.rows.rows(), strict=True))
    return rows, [(one.offset, one.raw, one.reason) for one in found.dead]


def test_csv_bad_rows_are_dead_letters(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(
        b'\xef\xbb\xbfa,b\n1,"two\nlines"\n\nx,y\n1,2,3\n7\n8,\xff\n9,nul\0\n10,5" pipe\n11,"""q"""'
    )
    rows, dead = read(path, files.csv(path), Pair)
    assert [
        (2, (1, "two\nlines")),
        (9, (9, "nul\0")),
        (10, (10, '5" pipe')),
        (11, (11, '"q"')),
    ] == rows
    assert [(5, b"x,y"), (6, b"1,2,3"), (7, b"7"), (8, b"8,\xff")] == [one[:2] for one in dead]
    assert dead[1][2] == "the row has 3 fields, the header 2"
    assert dead[2][2] == "the row has 1 field, the header 2"
    assert dead[3][2] == "not UTF-8: byte 0xff at position 2"


def test_csv_stray_quote_costs_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "stray.csv"
    lines = ["a,b", '1,"never closed'] + [f"{n},x" for n in range(2, 1000)]
    path.write_text("\n".join(lines))
    rows, dead = read(path, files.csv(path, max_line=500), Pair)
    assert list(range(2, 1000)) == [row[0] for _, row in rows]
    assert list(range(3, 1001)) == [offset for offset, _ in rows]
    assert [(2, b'1,"never closed', "a quoted field is not closed")] == dead


def test_csv_lone_carriage_returns_are_dead(tmp_path: Path) -> None:
    path = tmp_path / "mac.csv"
    path.write_bytes(b"a,b\r\n1,x\r2,y\r\n3,z\r\n")
    rows, dead = read(path, files.csv(path), Pair)
    assert [(3, (3, "z"))] == rows
    assert [(2, b"1,x\r2,y")] == [one[:2] for one in dead]


def test_csv_null_and_empty_text(tmp_path: Path) -> None:
    class Texts(Event):
        must: str
        may: str | None
        n: int | None

    path = tmp_path / "n.csv"
    path.write_text('must,may,n\n,,\n"","",""\nNA,NA,NA\n')
    rows, dead = read(path, files.csv(path), Texts)
    assert [(2, ("", None, None)), (3, ("", "", None))] == rows
    assert [4] == [one[0] for one in dead]
    rows, dead = read(path, files.csv(path, null="NA"), Texts)
    assert (4, ("NA", None, None)) == rows[-1]


def test_columns_by_alias(tmp_path: Path) -> None:
    class Named(Event):
        a: int
        b: str = Field(default="none", validation_alias="The B")

    rows = pl.DataFrame({"a": [1], "b": ["x"]})
    found = rows.rename({"b": "The B"})
    found.write_csv(tmp_path / "x.csv")
    found.write_parquet(tmp_path / "x.parquet")
    found.write_ipc(tmp_path / "x.arrow")
    check_source(files.csv(tmp_path / "x.csv"), Named, rows)
    check_source(files.parquet(tmp_path / "x.parquet"), Named, rows)
    check_source(files.ipc(tmp_path / "x.arrow"), Named, rows)


def test_csv_without_header_and_other_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_text("1;x\n2;y\n")
    source = files.csv(path, header=False, delimiter=";")
    check_source(source, Pair, pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}))
    with pytest.raises(ValueError, match="is no delimiter"):
        files.csv(path, delimiter="::")


@given(
    st.lists(
        st.tuples(st.integers(-99, 99), st.text('ab"\n,\r é', max_size=8)), min_size=1, max_size=30
    ),
    st.sampled_from([1, 3, 17, 2**20]),
)
@settings(max_examples=60, deadline=None)
def test_csv_agrees_with_the_standard_library(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str]], block: int
) -> None:
    path = tmp_path_factory.mktemp("csv") / "x.csv"
    with path.open("w", newline="") as file:
        writer = stdlib_csv.writer(file, quoting=stdlib_csv.QUOTE_NONNUMERIC)
        writer.writerow(["a", "b"])
        writer.writerows(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.connectors.blocks.BLOCK", block)
        found = drain(files.csv(path), str(path), Pair)
    assert () == found.dead
    assert rows == found.rows.rows()


@given(st.binary(max_size=200), st.sampled_from([1, 7, 2**20]))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_rows_or_dead_letters(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, block: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes(b"a,b\n" + data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headwater.connectors.blocks.BLOCK", block)
        text = drain(files.text(path, max_line=50), str(path), Line)
        csv = drain(files.csv(path, max_line=50), str(path), Pair)
        jsons = drain(files.json_lines(path, max_line=50), str(path), Pair)
    lines = [line for line in (b"a,b\n" + data).split(b"\n")]
    lines = lines[:-1] if lines[-1] == b"" else lines
    assert len(lines) == len(text.rows) + len(text.dead)
    assert sum(bool(line.strip()) for line in lines) == len(jsons.rows) + len(jsons.dead)
    if b'"' not in data:
        blank = sum(not line.strip(b"\r") for line in lines)
        assert len(lines) - 1 - blank == len(csv.rows) + len(csv.dead)


@pytest.mark.parametrize("form", ["text", "csv", "json_lines"])
def test_a_long_line_is_not_held_in_memory(tmp_path: Path, form: str) -> None:
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.write({"csv": b"a,b\n", "text": b"x\n", "json_lines": b'{"a":1,"b":""}\n'}[form])
        for _ in range(100):
            file.write(b"z" * 2**20)
        file.write(
            {"csv": b"\n2,x\n", "text": b"\ny\n", "json_lines": b'\n{"a":2,"b":"x"}\n'}[form]
        )
    tracemalloc.start()
    event = Line if form == "text" else Pair
    found = drain(getattr(files, form)(path), str(path), event)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [2] == [one.offset for one in found.dead]
    assert b"z" * 2**16 == found.dead[0].raw
    assert "104857600 bytes" in found.dead[0].reason
    assert 3 == found.offsets.to_list()[-1]
    assert peak < 24 * 2**20


@pytest.mark.parametrize("cut", [30, 200, 399])
def test_truncated_gzip_gives_the_rows_before_and_a_dead_letter(tmp_path: Path, cut: int) -> None:
    numbers = random.Random(1)
    rows = [(numbers.randrange(10**6), f"{numbers.random()}") for _ in range(40)]
    text = "a,b\n" + "".join(f"{a},{b}\n" for a, b in rows)
    packed = gzip.compress(text.encode(), mtime=0)
    path = tmp_path / "p.csv.gz"
    path.write_bytes(packed[:cut])
    found = drain(files.csv(path), str(path), Pair)
    assert rows[: len(found.rows)] == found.rows.rows()
    assert len(rows) > len(found.rows)
    assert 1 == len(found.dead)
    assert "damaged or cut short" in found.dead[0].reason
    check_source(files.csv(path), Pair)


def test_gzip_of_several_members(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl.gz"
    lines = [json.dumps({"a": n, "b": "x"}).encode() + b"\n" for n in range(3)]
    path.write_bytes(b"".join(gzip.compress(line) for line in lines))
    check_source(files.json_lines(path), Pair, pl.DataFrame({"a": [0, 1, 2], "b": ["x"] * 3}))


def test_a_file_of_another_format_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_text("no columns here\n1\n")
    for make in (files.csv, files.parquet, files.ipc):
        with pytest.raises(ConnectorError, match=r"other: [^\n]*$"):
            drain(make(path), str(path), Pair)
    path.write_bytes("a,b\n".encode("utf-16"))
    with pytest.raises(ConnectorError, match="UTF-16"):
        drain(files.csv(path), str(path), Pair)
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(ConnectorError, match=r"other: .*'b'"):
        drain(files.parquet(path), str(path), Pair)
    (tmp_path / "x.zip").write_bytes(b"PK not a zip")
    with pytest.raises(ConnectorError, match=r"x\.zip: "):
        files.csv(tmp_path / "x.zip").partitions()


@pytest.mark.parametrize("kind", ["p.parquet", "p.arrow", "p.arrows"])
def test_truncated_columns_at_every_byte(tmp_path: Path, kind: str) -> None:
    rows = pairs(30)
    sources(tmp_path, rows)
    whole = (tmp_path / kind).read_bytes()
    path = tmp_path / "cut"
    make = files.parquet if kind == "p.parquet" else files.ipc
    refusals: list[str] = []
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        try:
            found = drain(make(path), str(path), Pair)
        except ConnectorError as error:
            refusals.append(str(error))
            continue
        assert rows.head(len(found.rows)).equals(found.rows)
        assert len(found.rows) == 30 or len(found.dead) == 1
    assert refusals
    assert all(text.startswith(f"{path}: ") for text in refusals)


@pytest.mark.parametrize("kind", ["p.parquet", "p.arrow", "p.arrows"])
def test_damaged_columns_are_no_crash(tmp_path: Path, kind: str) -> None:
    sources(tmp_path, pairs(50))
    whole = (tmp_path / kind).read_bytes()
    path = tmp_path / "damaged"
    make = files.parquet if kind == "p.parquet" else files.ipc
    numbers = random.Random(kind)
    refusals: list[str] = []
    for _ in range(300):
        data = bytearray(whole)
        data[numbers.randrange(len(data))] ^= 1 << numbers.randrange(8)
        path.write_bytes(data)
        try:
            drain(make(path), str(path), Pair)
        except ConnectorError as error:
            refusals.append(str(error))
    assert refusals
    assert all(text.startswith(f"{path}: ") and "\n" not in text for text in refusals)


def test_columns_with_bad_values_are_dead_letters(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    pl.DataFrame({"b": ["x", "y", None], "a": [1, None, 3], "more": [1, 2, 3]}).write_parquet(path)
    found = drain(files.parquet(path), str(path), Pair)
    assert [{"a": 1, "b": "x"}] == found.rows.to_dicts()
    assert [2, 3] == [one.offset for one in found.dead]
    assert {"a", "b"} <= json.loads(found.dead[0].raw).keys()


def test_follow_reads_what_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\nincompl")
    bell = Bell()
    source = files.text(path, follow=True)
    assert not source.bounded
    reader = source.open(str(path), source_context(Line, bell))
    seen: list[Any] = []

    def until(count: int) -> None:
        while len(seen) < count:
            answer = reader.read(10)
            if isinstance(answer, Chunk):
                seen.extend(answer.rows["text"].to_list())
                seen.extend(one.raw for one in answer.dead)
            else:
                assert bell.wait(10)

    until(1)
    with path.open("a") as file:
        file.write("ete\ntwo\n")
    until(3)
    old = path.rename(tmp_path / "log.1")
    with old.open("a") as file:
        file.write("late\nhalf")
    path.write_text("new\n")
    until(6)
    path.write_text("")
    until(6)
    path.write_text("x\n")
    until(7)
    reader.close()
    reader.close()
    assert ["one", "incomplete", "two", "late", b"half", "new", "x"] == seen
