"""`headwater run` over input that is broken: every row comes out, or is a dead letter."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import random
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from headwater.edge.command import app

FLOW: Final = """
import sys
from collections.abc import Iterator

import headwater as hw
from headwater.connectors import files, stdio


class Reading(hw.Event):
    n: int
    name: str


class Line(hw.Event):
    text: str


flow = hw.Flow("fed")


@flow.source
def readings() -> hw.Source[{event}]:
    return {source}

{operator}
@flow.sink({last})
def out() -> hw.Sink:
    return {sink}
"""
SOURCES: Final = {
    "text": "files.text('in')",
    "csv": "files.csv('in')",
    "jsonl": "files.json_lines('in')",
    "gz": "files.csv('in')",
    "parquet": "files.parquet('in')",
    "file": "files.ipc('in')",
    "stream": "files.ipc('in')",
}
COLUMNAR: Final = ("parquet", "file", "stream")
DEADLINE: Final = 60
MEGABYTES: Final = 100


@dataclass(frozen=True)
class Ran:
    """How a run ended, and what it said."""

    code: int
    said: str


@dataclass(frozen=True)
class Case:
    """An input, and by hand what becomes of it."""

    name: str
    form: str
    content: bytes
    good: Sequence[Any] = ()
    """The rows of the output: (n, name), or a text."""
    dead: Sequence[tuple[str, bytes, str]] = ()
    """Of each dead letter the place, the bytes, and a part of the reason."""
    fails: str | None = None
    """A part of the one line that says why the file cannot be read at all."""

    def __str__(self) -> str:
        return f"{self.form}-{self.name.replace(' ', '-')}"


def flow_file(
    folder: Path,
    form: str,
    *,
    operator: str = "",
    source: str | None = None,
    sink: str = "files.to_json_lines('out.jsonl')",
    more: str = "",
) -> None:
    text = FLOW.format(
        event="Line" if form == "text" else "Reading",
        source=source or SOURCES[form],
        operator=operator,
        last="changed" if operator else "readings",
        sink=sink,
    )
    (folder / "flow.py").write_text(text + more)


def inside(folder: Path, *arguments: str) -> Ran:
    """Run the flow in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner().invoke(app, ["run", "flow.py", *arguments])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return Ran(result.exit_code, result.stderr)


def outside(folder: Path, *arguments: str, shell: str = 'exec "$@"') -> Ran:
    """Run the flow in a process of its own, as a user does."""
    command = [sys.executable, "-m", "headwater.edge.command", "run", "flow.py", *arguments]
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *command],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return Ran(done.returncode, done.stderr)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def letters_of(folder: Path) -> list[tuple[str, bytes, str]]:
    """Return the place, the bytes and the reason of each dead letter."""
    path = folder / "fed.dead.jsonl"
    return [
        (
            letter["origin"],
            base64.b64decode(letter["raw_base64"])
            if "raw_base64" in letter
            else letter["raw"].encode(),
            letter["reason"],
        )
        for letter in (lines_of(path) if path.exists() else [])
    ]


def assert_one_line(ran: Ran, told: str) -> None:
    assert 1 == ran.code, ran.said
    assert 1 == len(ran.said.splitlines()), ran.said
    assert ran.said.startswith("fed: failed: ")
    assert told in ran.said
    assert "--traceback" not in ran.said


def assert_nothing_left(folder: Path, *also: str) -> None:
    assert {path.name for path in folder.iterdir()} <= {"flow.py", "in", "__pycache__", *also}


def assert_as_told(case: Case, ran: Ran, folder: Path) -> None:
    """Check a run of which the report is in report.json against what the case foresees."""
    assert "Traceback" not in ran.said
    if case.fails is not None:
        assert_one_line(ran, case.fails)
        assert re.search(r"\bin\b", ran.said), "it names the file"
        assert_nothing_left(folder, "fed.dead.jsonl")
        return
    assert 0 == ran.code, ran.said
    assert_nothing_left(folder, "fed.dead.jsonl", "out.jsonl", "report.json")
    rows = [tuple(row.values()) for row in lines_of(folder / "out.jsonl")]
    assert [row if isinstance(row, tuple) else (row,) for row in case.good] == rows
    letters = letters_of(folder)
    assert [(f"in, {place}", raw) for place, raw, _ in case.dead] == [one[:2] for one in letters]
    for (_, _, part), (_, _, reason) in zip(case.dead, letters, strict=True):
        assert part in reason
    report = json.loads((folder / "report.json").read_text())
    assert len(case.good) + len(case.dead) == report["sources"]["readings"]["rows"]
    assert len(case.dead) == report["dead"]


# The inputs


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


# Functions of the user


def operator(body: str, returns: str = "Reading") -> str:
    return f"\n@flow.operator(readings)\ndef changed(row: Reading) -> {returns}:\n    {body}\n\n"


GIVEN: Final = "".join(f'{{"n":{n},"name":"{"abc"[n - 1]}"}}\n' for n in (1, 2, 3)).encode()


@pytest.mark.parametrize(
    ("body", "returns", "reason"),
    [
        ("return row if row.n != 2 else 1 // 0", "Reading", "ZeroDivisionError: "),
        ("return row if row.n != 2 else row.name", "Reading", "returned "),
        ("return row if row.n != 2 else Line(text='b')", "Reading", "returned "),
        ("return Reading(n=row.n if row.n != 2 else 'b', name=row.name)", "Reading", "returned "),
        ("return Reading(n=row.n if row.n != 2 else 2**70, name=row.name)", "Reading", "returned "),
        (
            "yield row\n    if row.n == 2:\n        1 // 0",
            "Iterator[Reading]",
            "ZeroDivisionError: ",
        ),
        ("yield row\n    if row.n == 2:\n        yield 'b'", "Iterator[Reading]", "returned "),
    ],
)
def test_a_call_that_fails_costs_its_row(
    tmp_path: Path, body: str, returns: str, reason: str
) -> None:
    flow_file(tmp_path, "jsonl", operator=operator(body, returns))
    (tmp_path / "in").write_bytes(GIVEN)
    ran = inside(tmp_path)
    assert 0 == ran.code, ran.said
    assert [{"n": 1, "name": "a"}, {"n": 3, "name": "c"}] == lines_of(tmp_path / "out.jsonl")
    ((place, raw, told),) = letters_of(tmp_path)
    assert ("in, line 2", {"n": 2, "name": "b"}) == (place, json.loads(raw))
    assert told.startswith(reason)
    assert "\n" not in told


@pytest.mark.parametrize("workers", [1, 2])
def test_a_call_that_ends_python_fails_the_run(tmp_path: Path, workers: int) -> None:
    body = operator("sys.exit(0) if row.n == 2 else None\n    return row")
    keyed = body.replace("(readings)", "(readings, key='n')").replace(
        "row: Reading", "row: Reading, seen: hw.State[int]"
    )
    flow_file(tmp_path, "jsonl", operator=body if workers == 1 else keyed)
    (tmp_path / "in").write_bytes(GIVEN)
    run = inside if workers == 1 else outside
    ran = run(tmp_path, "--workers", str(workers))
    assert 1 == ran.code, ran.said
    assert "Traceback" not in ran.said
    assert 1 == len(ran.said.splitlines()), ran.said
    if workers == 1:
        line = 1 + (tmp_path / "flow.py").read_text().splitlines().index(
            "    sys.exit(0) if row.n == 2 else None"
        )
        place = f"fed: failed: flow.py:{line}: "
        assert ran.said.startswith(f"{place}a function of the flow ends Python")
    assert_nothing_left(tmp_path)


# Sinks that cannot be written


SINKS: Final = ["out.csv", "out.jsonl", "out.jsonl.gz", "out.parquet", "out.arrow"]
MADE: Final = {".csv": "csv", ".jsonl": "json_lines", ".gz": "json_lines", ".parquet": "parquet",
               ".arrow": "ipc"}  # fmt: skip


def sink_to(path: str) -> str:
    return f"files.to_{MADE[Path(path).suffix]}({path!r})"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as a full disk would not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("rows", [2_000, 200_000])
@pytest.mark.parametrize("name", [*SINKS, "table"])
def test_a_full_disk_is_one_line_and_leaves_the_old_file(
    tmp_path: Path, name: str, rows: int
) -> None:
    path = "out.csv" if name == "table" else name
    sink = "files.to_table('out.csv')" if name == "table" else sink_to(path)
    flow_file(tmp_path, "csv", sink=sink)
    numbers = random.Random(5)
    text = "".join(f"{n},{numbers.getrandbits(128):032x}\n" for n in range(rows))
    (tmp_path / "in").write_text("n,name\n" + text)
    (tmp_path / path).write_text("old")
    with files_of_at_most(10_000):
        ran = inside(tmp_path)
    assert_one_line(ran, f"{path}: cannot be written: File too large")
    assert "old" == (tmp_path / path).read_text()
    assert_nothing_left(tmp_path, path)


@pytest.mark.parametrize("name", SINKS)
def test_a_sink_that_cannot_be_opened_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").write_bytes(b"n,name\n1,a\n")
    flow_file(tmp_path, "csv", sink=sink_to(f"no/{name}"))
    assert_one_line(inside(tmp_path), f"no/{name}: the folder 'no' does not exist; create it first")
    (tmp_path / "no").write_text("a file")
    assert_one_line(inside(tmp_path), f"no/{name}: cannot be written: Not a directory")
    (tmp_path / name).mkdir()
    flow_file(tmp_path, "csv", sink=sink_to(name))
    assert_one_line(inside(tmp_path), f"{name}: is a folder; give the name of a file")
    assert_nothing_left(tmp_path, "no", name)


@pytest.mark.parametrize(
    ("dead", "told"),
    [("/dev/full", "No space left on device"), ("no/dead.jsonl", "No such file or directory")],
)
def test_dead_letters_that_cannot_be_written_are_one_line(
    tmp_path: Path, dead: str, told: str
) -> None:
    flow_file(tmp_path, "csv")
    (tmp_path / "in").write_bytes(b"n,name\nx,a\n2,b\n")
    ran = inside(tmp_path, "--dead", dead)
    assert_one_line(ran, f"{dead}: dead letters cannot be written: {told}")
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize("sink", ["stdio.to_json_lines()", "stdio.terminal()"])
@pytest.mark.parametrize(
    ("target", "told"),
    [(">/dev/full", "stdout: cannot be written: No space left"), (">&-", "stdout: is closed")],
)
def test_an_output_that_takes_nothing_is_one_line(
    tmp_path: Path, sink: str, target: str, told: str
) -> None:
    flow_file(tmp_path, "csv", sink=sink)
    (tmp_path / "in").write_bytes(b"n,name\n1,a\n")
    assert_one_line(outside(tmp_path, shell=f'exec "$@" {target}'), told)
