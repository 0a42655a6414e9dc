"""`headwater run` with functions of the user that misbehave, and sinks that cannot be written."""

from __future__ import annotations

import json
import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from .fed import (
    assert_nothing_left,
    assert_one_line,
    flow_file,
    inside,
    letters_of,
    lines_of,
    outside,
)


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
