"""A disk that is really full: what a run and its sinks do, as files and as processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import headwater as hw
from headwater.connectors import files
from headwater.edge.deadletters import DeadLetters
from headwater.flows.clock import ManualClock
from headwater.flows.connector import Sink, SinkContext
from headwater.flows.schema import schema_of

from . import components
from .live import Live
from .test_live_durable import EVENTS, post, row

SIZE = 16 << 20
ROWS = 20_000
"""Rows of a body that does not fit into what is left of a page."""


class Disk:
    """A small disk, which a test fills and makes room on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        handle = os.open(self._ballast, os.O_WRONLY | os.O_CREAT)
        try:
            for size in (1 << 20, 4096, 1):
                while _wrote(handle, size):
                    pass
        finally:
            os.close(handle)

    def free(self) -> None:
        self._ballast.unlink()


def _wrote(handle: int, size: int) -> bool:
    try:
        return os.write(handle, os.urandom(size)) > 0
    except OSError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        components.lack("a small disk", "mounting a tmpfs takes root")
    yield Disk(folder)
    subprocess.run(["umount", "-l", str(folder)], check=True)


# Sinks


class Text(hw.Event):
    text: str
    n: int


CONTEXT = SinkContext("out", schema_of(Text), ManualClock(), 0)


def rows(first: int, count: int = 5000) -> pl.DataFrame:
    numbers = range(first, first + count)
    texts = [f"{n * 2654435761 % 2**64:016x}" * 8 for n in numbers]
    return pl.DataFrame({"text": texts, "n": numbers}, schema=schema_of(Text).polars())


SINKS: dict[str, tuple[Callable[[str], Sink], Callable[[Path], pl.DataFrame]]] = {
    "out.csv": (files.to_csv, pl.read_csv),
    "out.jsonl": (files.to_json_lines, pl.read_ndjson),
    "out.parquet": (files.to_parquet, pl.read_parquet),
    "out.csv.gz": (files.to_csv, pl.read_csv),
}


@pytest.mark.parametrize("name", SINKS)
def test_a_write_that_finds_no_room_can_be_made_again(disk: Disk, name: str) -> None:
    make, read = SINKS[name]
    writer = make(str(disk.folder / name)).resume(CONTEXT, None)
    writer.write(rows(0, 100))
    position = writer.position()
    disk.fill()
    for _ in range(2):
        with pytest.raises(hw.NoRoomError, match="there is no room"):
            writer.write(rows(100))
    assert position == writer.position()
    disk.free()
    writer.write(rows(100))
    writer.close()
    assert rows(0, 5100).equals(read(disk.folder / name))
    assert [name] == [path.name for path in disk.folder.iterdir()]


@pytest.mark.parametrize("name", ["out.parquet", "out.csv.gz"])
def test_a_file_that_is_made_at_the_end_can_be_made_again(disk: Disk, name: str) -> None:
    make, read = SINKS[name]
    writer = make(str(disk.folder / name)).resume(CONTEXT, None)
    writer.write(rows(0))
    disk.fill()
    for _ in range(2):
        with pytest.raises(hw.NoRoomError, match="there is no room"):
            writer.close()
    disk.free()
    writer.close()
    assert rows(0).equals(read(disk.folder / name))
    assert [name] == [path.name for path in disk.folder.iterdir()]


def test_a_file_that_finds_no_room_for_its_header_can_be_opened_again(disk: Disk) -> None:
    sink = files.to_csv(str(disk.folder / "out.csv"))
    disk.fill()
    with pytest.raises(hw.NoRoomError, match="there is no room"):
        sink.resume(CONTEXT, None)
    disk.free()
    sink.resume(CONTEXT, None).close()
    assert "text,n\n" == (disk.folder / "out.csv").read_text()


def test_dead_letters_that_find_no_room_can_be_given_again(disk: Disk) -> None:
    path = disk.folder / "dead.jsonl"
    letters = DeadLetters(path)
    given = {"operator": "o", "origin": "p", "reason": "r", "raw": b"x" * 9000}
    buried = pl.DataFrame([given])
    letters.bury(buried)
    size = path.stat().st_size
    disk.fill()
    for _ in range(2):
        with pytest.raises(hw.NoRoomError, match="dead letters cannot be written"):
            letters.bury(buried)
        assert size == path.stat().st_size
    disk.free()
    letters.bury(buried)
    assert b"%d" % (2 * size) == letters.position()
    assert 2 == letters.count
    letters.close()


# Runs


class Runs:
    """Runs on the disk, whose state is on it or beside it; a client posts while a test goes on."""

    def __init__(self, disk: Disk, state: Path) -> None:
        self.disk = disk
        self._state = state
        self._made: list[Live] = []
        self._pool = ThreadPoolExecutor(1)

    def start(self) -> Live:
        live = Live(self.disk.folder, EVENTS, options=["--state", str(self._state)])
        self._made.append(live)
        return live

    def post(self, port: int, body: str) -> Future[dict[str, Any]]:
        return self._pool.submit(post, port, body)

    def close(self) -> None:
        for live in self._made:
            live.close()
        self._pool.shutdown()


@pytest.fixture(params=["beside", "on it"])
def runs(request: pytest.FixtureRequest, disk: Disk, tmp_path: Path) -> Iterator[Runs]:
    state = tmp_path / "run" if request.param == "beside" else disk.folder / "run"
    made = Runs(disk, state)
    yield made
    made.close()


def no_room(live: Live) -> list[str]:
    return live.said.until(lambda said: any("it goes on when there is room" in s for s in said))


@pytest.mark.parametrize("line", ["rows", "dead letters"])
def test_a_run_waits_for_room_says_so_once_and_goes_on(runs: Runs, line: str) -> None:
    live = runs.start()
    port = live.port()
    assert {"accepted": 1, "dead": 0} == post(port, row(-1))
    runs.disk.fill()
    count, dead = (ROWS, 0) if line == "rows" else (1, ROWS)
    answer = runs.post(port, "".join(map(row, range(count))) + "no row\n" * dead)
    no_room(live)
    runs.disk.free()
    assert {"accepted": count, "dead": dead} == answer.result()
    assert {"accepted": 1, "dead": 0} == post(port, row(ROWS))
    post(port, "", "/end")
    code, said = live.ended()
    assert 0 == code, said
    assert 1 == sum("it goes on when there is room" in text for text in said), said
    assert 1 == sum("room again" in text for text in said), said
    assert [-1, *range(count), ROWS] == live.kept()
    if dead:
        assert dead == len((live.folder / "live.dead.jsonl").read_text().splitlines())


def test_a_run_that_is_stopped_while_it_waits_for_room_loses_nothing(runs: Runs) -> None:
    live = runs.start()
    port = live.port()
    assert {"accepted": 1, "dead": 0} == post(port, row(-1))
    runs.disk.fill()
    answer = runs.post(port, "".join(map(row, range(ROWS))))
    no_room(live)
    live.signal(signal.SIGTERM)
    code, said = live.ended()
    assert 1 == code, said
    assert said[-1].startswith("live: failed: stopped while it waited for room"), said
    assert answer.exception() is not None
    runs.disk.free()
    again = runs.start()
    port = again.port()
    assert {"accepted": 1, "dead": 0} == post(port, row(ROWS))
    post(port, "", "/end")
    code, said = again.ended()
    assert 0 == code, said
    kept = again.kept()
    # Of what was not answered, some first part is kept.
    assert [-1, *range(len(kept) - 2), ROWS] == kept
