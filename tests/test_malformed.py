"""`headwater run` over input that is broken: every row comes out, or is a dead letter."""

from __future__ import annotations

import gzip
import io
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet
import pytest

from headwater.connectors import files
from headwater.connectors.conformance import drain
from headwater.flows.event import Event, EventTime

from .fed import (
    SOURCES,
    Case,
    assert_as_told,
    assert_nothing_left,
    assert_one_line,
    flow_file,
    inside,
    letters_of,
    lines_of,
    outside,
)

COLUMNAR: Final = ("parquet", "file", "stream")
MEGABYTES: Final = 100


def columns(form: str, *tables: pa.Table) -> bytes:
    """Return a file of columns; each table is a batch, or a row group, of its own."""
    out = io.BytesIO()
    schema = tables[0].schema
    if form == "parquet":
        with pyarrow.parquet.ParquetWriter(out, schema) as parquet:
            for table in tables:
                parquet.write_table(table)
    else:
        new = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
        with new(out, schema) as ipc:
            for table in tables:
                ipc.write_table(table)
    return out.getvalue()


def table(n: Sequence[Any] | pa.Array, name: Sequence[Any] | pa.Array) -> pa.Table:
    return pa.table({"n": n, "name": name})


def no_utf8(*values: bytes) -> pa.Array:
    """Return a column that claims to be text."""
    return pa.array(values, pa.binary()).view(pa.string())


def stored(text: bytes) -> bytes:
    """Return a gzip file (RFC 1952) that holds the text as it is, after 15 bytes."""
    return gzip.compress(text, 0, mtime=0)


def line_cases() -> Iterator[Case]:
    yield Case("cut", "text", b"one\ntw", ["one", "tw"])
    yield Case("not UTF-8", "text", b"a\n\xff\xe9\nb\n", "ab", [("line 2", b"\xff\xe9", "UTF-8")])
    yield Case("NUL", "text", b"a\0b\n\0\n", ["a\0b", "\0"])
    yield Case("empty", "text", b"")
    yield Case("UTF-16", "text", "one\n".encode("utf-16"), fails="the text is UTF-16")
    yield Case("cut", "jsonl", b'{"n":1,"name":"a"}\n{"n":2,"na', [(1, "a")],
               [("line 2", b'{"n":2,"na', "Invalid JSON")])  # fmt: skip
    yield Case("wrong type", "jsonl", b'{"n":"x","name":"a"}\n{"n":2,"name":"b"}\n', [(2, "b")],
               [("line 1", b'{"n":"x","name":"a"}', "n: ")])  # fmt: skip
    yield Case("not UTF-8", "jsonl", b'{"n":1,"name":"\xff"}\n{"n":2,"name":"b"}', [(2, "b")],
               [("line 1", b'{"n":1,"name":"\xff"}', "Invalid JSON")])  # fmt: skip
    yield Case("NUL", "jsonl", b'{"n":1,"name":"\0"}\n\0\n{"n":2,"name":"\\u0000"}', [(2, "\0")],
               [("line 1", b'{"n":1,"name":"\0"}', "Invalid JSON"),
                ("line 2", b"\0", "Invalid JSON")])  # fmt: skip
    yield Case("missing", "jsonl", b'{"n":1}\n{"n":2,"name":"b"}\n', [(2, "b")],
               [("line 1", b'{"n":1}', "name: Field required")])  # fmt: skip
    yield Case("empty", "jsonl", b"")
    yield Case("other schema", "jsonl", b'[1]\n"x"\nnull\n{}\n',
               dead=[(f"line {n}", raw, "") for n, raw in
                     enumerate((b"[1]", b'"x"', b"null", b"{}"), 1)])  # fmt: skip
    deep = b"[" * 50_000
    yield Case("deep", "jsonl", deep + b'\n{"n":1e999,"name":"a"}\n{"n":2,"name":"b"}', [(2, "b")],
               [("line 1", deep, "Invalid JSON"),
                ("line 2", b'{"n":1e999,"name":"a"}', "n: ")])  # fmt: skip


def csv_cases() -> Iterator[Case]:
    """The same texts as they are, and compressed."""
    for form, packed in (("csv", bytes), ("gz", stored)):
        yield Case("cut", form, packed(b"n,name\n1,a\n2"), [(1, "a")],
                   [("line 3", b"2", "the row has 1 field, the header 2")])  # fmt: skip
        yield Case("cut in quotes", form, packed(b'n,name\n1,a\n2,"b\n3,c'), [(1, "a"), (3, "c")],
                   [("line 3", b'2,"b', "not closed")])  # fmt: skip
        yield Case("wrong type", form, packed(b"n,name\nx,a\n2,b\n"), [(2, "b")],
                   [("line 2", b"x,a", "n: ")])  # fmt: skip
        yield Case("not UTF-8", form, packed(b"n,name\n1,\xff\n2,b\n"), [(2, "b")],
                   [("line 2", b"1,\xff", "not UTF-8: byte 0xff at position 2")])  # fmt: skip
        yield Case("NUL", form, packed(b"n,name\n1,\0\n2\0,b\n"), [(1, "\0")],
                   [("line 3", b"2\0,b", "n: ")])  # fmt: skip
        yield Case("missing", form, packed(b"n,k\n1,2\n"), fails="column 'name' is missing")
        yield Case("other schema", form, packed(b"k\n1\n"), fails="the input has k")
        yield Case("twice", form, packed(b"n,n,name\n"), fails="two columns are called 'n'")
        head = b'"n,name\n1,a\n'
        yield Case("open header", form, packed(head), fails="is no CSV header: a quoted field")
        head = b"n,name" + b"," * 2**20 + b"\n1,a\n"
        yield Case("long header", form, packed(head), fails="is no CSV header: the line has")
        yield Case("empty", form, b"")
    whole = stored(b"n,name\n1,a\n2,b\n")
    cut = "the compressed data is damaged or cut short"
    yield Case("packed empty", "gz", stored(b""))
    yield Case("packed cut", "gz", whole[: 15 + 13], [(1, "a")], [("line 3", b"2,", cut)])
    yield Case("end missing", "gz", whole[:-4], [(1, "a"), (2, "b")], [("line 4", b"", cut)])
    wrong = whole[:-8] + bytes(8)
    yield Case("checksum", "gz", wrong, [(1, "a"), (2, "b")], [("line 4", b"", cut)])
    yield Case("no data", "gz", whole[:10], dead=[("line 1", b"", cut)])


def column_cases() -> Iterator[Case]:
    for form in COLUMNAR:

        def of(*tables: pa.Table, form: str = form) -> bytes:
            return columns(form, *tables)

        kind = "Parquet" if form == "parquet" else "Ipc"
        unread = f"in: cannot be read as {kind}"
        two = of(table([1, 2], ["a", "b"]), table([3], ["c"]))
        if form == "stream":
            broken = [("row 3", b"", "the file breaks off after row 2")]
            yield Case("cut", form, two[:-20], [(1, "a"), (2, "b")], broken)
        else:
            yield Case("cut", form, two[:-20], fails=unread)
        typed = of(table(["1", "x", "3"], ["a", "b", "c"]))
        yield Case("wrong type", form, typed, [(1, "a"), (3, "c")],
                   [("row 2", b'{"n":"x","name":"b"}', "n: ")])  # fmt: skip
        yield Case("null", form, of(table([1, 2], ["a", None])), [(1, "a")],
                   [("row 2", b'{"n":2,"name":null}', "name: ")])  # fmt: skip
        huge = pa.array([1], pa.decimal256(60, 0))
        yield Case("no such type", form, of(table(huge, ["a"])), fails="column 'n' is decimal256")
        text = no_utf8(b"a", b"\xff\xfe", b"c")
        yield Case("not UTF-8", form, of(table([1, 2, 3], text), table([4], no_utf8(b"\xe9"))),
                   [(1, "a"), (3, "c")],
                   [("row 2", b'{"n":2,"name":"__4="}', "name: not UTF-8: byte 0xff at position 0"),
                    ("row 4", b'{"n":4,"name":"6Q=="}', "name: not UTF-8")])  # fmt: skip
        yield Case("NUL", form, of(table([1], ["\0"])), [(1, "\0")])
        yield Case("missing", form, of(pa.table({"n": [1]})), fails="column 'name' is missing")
        yield Case("other schema", form, of(pa.table({"k": [1]})), fails="the input has k")
        twice = pa.table([[1], [2], ["a"]], ["n", "n", "name"])
        yield Case("twice", form, of(twice), fails="two columns are called 'n'")
        yield Case("no rows", form, of(table(pa.array([], pa.int64()), pa.array([], pa.string()))))
        yield Case("empty", form, b"", fails=unread)
        yield Case("other format", form, b"n,name\n1,a\n", fails=unread)


CASES: Final = [*line_cases(), *csv_cases(), *column_cases()]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_row_comes_out_or_is_a_dead_letter(tmp_path: Path, case: Case) -> None:
    flow_file(tmp_path, case.form)
    (tmp_path / "in").write_bytes(case.content)
    assert_as_told(case, inside(tmp_path, "--report", "report.json"), tmp_path)


OUTSIDE: Final = ["text-not-UTF-8", "jsonl-NUL", "csv-cut", "gz-packed-cut", "parquet-wrong-type",
                  "file-no-such-type", "stream-cut"]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_so_it_is_in_a_process_of_its_own(tmp_path: Path, name: str) -> None:
    case = next(case for case in CASES if name == str(case))
    flow_file(tmp_path, case.form)
    (tmp_path / "in").write_bytes(case.content)
    assert_as_told(case, outside(tmp_path, "--report", "report.json"), tmp_path)


@pytest.mark.parametrize("form", SOURCES)
def test_no_file_to_read_is_one_line(tmp_path: Path, form: str) -> None:
    flow_file(tmp_path, form)
    assert_one_line(inside(tmp_path), "no file matches 'in'")
    (tmp_path / "in").mkdir()
    assert_one_line(inside(tmp_path), "no file matches 'in'; the current folder holds flow.py, in/")
    flow_file(tmp_path, form, source=SOURCES[form].replace("'in'", "'in/*.x'"))
    assert_one_line(inside(tmp_path), "no file matches 'in/*.x'; the folder 'in' is empty")
    with open(os.fsencode(tmp_path) + b"/in/\xff.x", "wb"):  # noqa: PTH123 - no path of text has it
        pass
    assert_one_line(inside(tmp_path), r"\udcff.x': the file's name is not UTF-8; rename it")
    assert_nothing_left(tmp_path)


class Timed(Event):
    at: EventTime


@pytest.mark.parametrize("form", COLUMNAR)
@pytest.mark.parametrize("zone", ["+05:30", "Europe/Paris", "Nowhere/City"])
def test_an_instant_is_the_same_in_any_zone(tmp_path: Path, form: str, zone: str) -> None:
    path = tmp_path / "in"
    path.write_bytes(columns(form, pa.table({"at": pa.array([1], pa.timestamp("us", zone))})))
    make = files.parquet if form == "parquet" else files.ipc
    found = drain(make(path), str(path), Timed)
    assert [datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)] == found.rows["at"].to_list()


LONG: Final = {
    "text": (b"a\n", b"", b"\nb\n"),
    "csv": (b"n,name\n1,a\n", b"2,", b"\n3,c\n"),
    "jsonl": (b'{"n":1,"name":"a"}\n', b'{"n":2,"name":"', b'"}\n{"n":3,"name":"c"}\n'),
    "gz": (b"n,name\n1,a\n", b"2,", b"\n3,c\n"),
}
PEAK: Final = """
import atexit
from pathlib import Path

status = Path("/proc/self/status")
atexit.register(lambda: Path("peak").write_text(status.read_text()))
"""


@pytest.mark.parametrize("form", LONG)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says the peak there")
def test_a_long_line_costs_itself_and_no_memory(tmp_path: Path, form: str) -> None:
    before, begin, after = LONG[form]
    flow_file(tmp_path, form, more=PEAK)
    path = tmp_path / "in"
    plain = form != "gz"
    with path.open("wb") if plain else gzip.GzipFile(path, "wb", compresslevel=1) as file:
        file.write(before + begin)
        for _ in range(MEGABYTES):
            file.write(b"z" * 2**20)
        file.write(after)
    ran = outside(tmp_path)
    assert 0 == ran.code, ran.said
    rows = [tuple(row.values()) for row in lines_of(tmp_path / "out.jsonl")]
    assert ([("a",), ("b",)] if form == "text" else [(1, "a"), (3, "c")]) == rows
    ((place, raw, reason),) = letters_of(tmp_path)
    assert f"in, line {2 if form in ('text', 'jsonl') else 3}" == place
    assert (begin + b"z" * 2**16)[: 2**16] == raw
    # The quote and brace that end the JSON object belong to its line.
    size = MEGABYTES * 2**20 + len(begin) + (2 if form == "jsonl" else 0)
    assert f"the line has {size} bytes, more than max_line = {2**20}" == reason
    peak = re.search(r"VmHWM:\s+(\d+) kB", (tmp_path / "peak").read_text())
    assert peak is not None
    assert int(peak[1]) < 400_000
    assert_nothing_left(tmp_path, "out.jsonl", "fed.dead.jsonl", "peak")
