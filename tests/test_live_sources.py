"""`headwater run` over input that is still coming: files that grow, pipes, HTTP; and signals."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from .live import DEADLINE, OUT, Live, Receiver

Start = Callable[..., Live]

COUNTED: Final = """

@flow.operator(readings)
def counted(rows: hw.Stream[Reading]) -> hw.Stream[Counted]:
    return rows.key_by("n").window(hw.tumbling("1m")).agg(rows=pl.len())


@flow.sink(counted)
def out() -> hw.Sink:
    return stdio.to_json_lines()
"""
STUCK: Final = """

@flow.operator(readings)
def stuck(row: Reading) -> Reading:
    print("stuck", file=sys.stderr, flush=True)
    threading.Event().wait(300)
    return row


@flow.sink(stuck)
def out() -> hw.Sink:
    return files.to_csv("out.csv")
"""

LATE: Final = """

import os
import signal

from headwater.flows.connector import Reader, Signal


class Late(hw.Source[Reading], Reader):
    def partitions(self) -> list[str]:
        return ["nothing"]

    def open(self, partition: str, context: object) -> Reader:
        return self

    def read(self, limit: int) -> Signal:
        return Signal.END

    def close(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made: list[Live] = []

    def begin(
        source: str,
        rest: str = OUT,
        *,
        sink: str = "stdio.to_json_lines()",
        hears: bool = True,
    ) -> Live:
        made.append(Live(tmp_path, source, rest.replace("{sink}", sink), hears=hears))
        return made[-1]

    yield begin
    for live in made:
        live.close()


def row(n: int, second: int = 0) -> str:
    at = f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z"
    return f'{{"at":"{at}","n":{n}}}\n'


def numbers(rows: Sequence[dict[str, Any]]) -> list[int]:
    return [one["n"] for one in rows]


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"flow.py", "__pycache__"}


# Files that grow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_file_that_grows(tmp_path: Path, start: Start, number: signal.Signals) -> None:
    log = tmp_path / "log"
    log.write_text(row(1) + row(2))
    live = start("files.json_lines('log', follow=True)")
    assert [1, 2] == numbers(live.rows(2))
    with log.open("a") as file:
        file.write(row(3) + "no row\n" + row(4)[:9])
        file.flush()
        assert [1, 2, 3] == numbers(live.rows(3))
        file.write(row(4)[9:])
    assert [1, 2, 3, 4] == numbers(live.rows(4))
    log.rename(tmp_path / "log.1")
    log.write_text(row(5))
    assert [1, 2, 3, 4, 5] == numbers(live.rows(5))
    assert {"log", "log.1", ".kept.jsonl.partial", "live.dead.jsonl"} == left(tmp_path)
    live.signal(number)
    code, said = live.ended()
    assert 0 == code, said
    assert said[0].startswith("stopping: ")
    assert said[1].startswith("live: stopped and drained in ")
    assert "  1 dead letter in live.dead.jsonl" in said
    assert [1, 2, 3, 4, 5] == numbers(live.rows(0)) == live.kept()
    assert {"log", "log.1", "kept.jsonl", "live.dead.jsonl"} == left(tmp_path)
    letter = json.loads((tmp_path / "live.dead.jsonl").read_text())
    assert ("log, line 4", "no row") == (letter["origin"], letter["raw"])


def test_a_window_comes_out_once_time_has_passed_it_and_the_rest_when_drained(
    tmp_path: Path, start: Start
) -> None:
    log = tmp_path / "log"
    log.write_text(row(7, 1) + row(7, 59))
    live = start("files.json_lines('log', follow=True)", COUNTED)
    with log.open("a") as file:
        file.write(row(7, 61))
    assert [{"n": 7, "rows": 2}] == live.rows(1)
    with log.open("a") as file:
        file.write(row(7, 121))
    assert [{"n": 7, "rows": 2}, {"n": 7, "rows": 1}] == live.rows(2)
    live.signal(signal.SIGINT)
    code, said = live.ended()
    assert 0 == code, said
    assert [2, 1, 1] == [one["rows"] for one in live.rows(0)]


# Pipes


@pytest.mark.parametrize(
    ("form", "head", "line"),
    [("json_lines", "", row), ("csv", "n,at\n", lambda n: f"{n},2026-01-01T00:00:00Z\n")],
)
def test_each_row_of_a_pipe_comes_out_before_the_next_goes_in(
    start: Start, form: str, head: str, line: Callable[[int], str]
) -> None:
    live = start(f"stdio.{form}()")
    live.type(head)
    for n in range(5):
        live.type(line(n))
        assert n == live.rows(n + 1)[n]["n"]
    live.type(line(5).rstrip("\n"))
    live.end_of_input()
    code, said = live.ended()
    assert 0 == code, said
    assert said[0].startswith("live: done in ")
    assert [*range(6)] == numbers(live.rows(0)) == live.kept()


def test_a_signal_ends_a_flow_whose_input_stays_open(start: Start) -> None:
    live = start("stdio.json_lines()")
    live.type(row(1))
    assert [1] == numbers(live.rows(1))
    live.signal(signal.SIGTERM)
    code, said = live.ended()
    assert 0 == code, said
    assert [1] == live.kept()


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, start: Start) -> None:
    (tmp_path / "log").write_text("".join(row(n) for n in range(50_000)))
    live = start("files.json_lines('log')", hears=False)
    assert live.process.stdout is not None
    assert live.process.stderr is not None
    assert 0 == json.loads(live.process.stdout.readline())["n"]
    live.process.stdout.close()
    said = live.process.stderr.read()
    assert 0 == live.process.wait(DEADLINE), said
    assert said.startswith("live: done in ")
    assert "Exception" not in said
    assert [*range(50_000)] == live.kept()


# HTTP


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def make(*answers: int, always: int = 200) -> Receiver:
        made.append(Receiver(*answers, always=always))
        return made[-1]

    yield make
    for one in made:
        one.close()


def post(port: int, body: str) -> dict[str, Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", body.encode(), method="POST")
    with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


EVENTS: Final = "http.events(0, on_listen=listening)"


def test_posted_events_reach_a_webhook_that_fails_at_first(
    start: Start, receive: Callable[..., Receiver]
) -> None:
    receiver = receive(500, 503)
    live = start(EVENTS, sink=f"http.webhook({receiver.url!r}, batch=2)")
    port = live.port()
    assert {"accepted": 2, "dead": 1} == post(port, row(1) + "{}\n" + row(2))
    assert [1, 2] == receiver.taken(2)
    assert {"accepted": 3, "dead": 0} == post(port, row(3) + row(4) + row(5))
    assert [1, 2, 3, 4, 5] == receiver.taken(5)
    heard = receiver.heard.first(0)
    assert [(500, "0"), (503, "0"), (200, "0")] == [one[:2] for one in heard[:3]]
    assert 1 == len({body for _, _, body in heard[:3]}), "the same body is sent again"
    live.signal(signal.SIGTERM)
    code, said = live.ended()
    assert 0 == code, said
    assert [1, 2, 3, 4, 5] == receiver.taken(0) == live.kept()
    letter = json.loads((live.folder / "live.dead.jsonl").read_text())
    assert (f"row 2 posted to port {port}", "{}") == (letter["origin"], letter["raw"])


@pytest.mark.parametrize("down", ["answers 500", "refuses", "is not there"])
def test_a_webhook_that_stays_down_fails_the_run(
    start: Start, receive: Callable[..., Receiver], down: str
) -> None:
    if down == "is not there":
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    else:
        url = receive(always=500 if down == "answers 500" else 403).url
    live = start(EVENTS, sink=f"http.webhook({url!r}, retries=1)")
    post(live.port(), row(1))
    code, said = live.ended()
    assert 1 == code, said
    assert 2 == len(said), said
    told = {
        "answers 500": f"{url}: answered 500 Internal Server Error (2 tries)",
        "refuses": f"{url}: refused with 403 Forbidden; not tried again",
        "is not there": f"{url}: cannot be reached: ",
    }
    assert said[1].startswith(f"live: failed: {told[down]}")
    assert set() == left(live.folder)


def test_a_port_that_is_taken_is_one_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        live = start(f"http.events({port})")
        code, said = live.ended()
    assert 1 == code
    assert [f"live: failed: cannot listen on 127.0.0.1:{port}: "] == [
        line.partition("[Errno")[0] for line in said
    ]
    assert set() == left(live.folder)


# The second signal


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_aborts_a_function_that_hangs(
    tmp_path: Path, start: Start, second: signal.Signals
) -> None:
    (tmp_path / "log").write_text(row(1))
    live = start("files.json_lines('log', follow=True)", STUCK)
    live.said.until(lambda lines: "stuck" in lines)
    assert {"log", ".kept.jsonl.partial", ".out.csv.partial"} == left(tmp_path)
    live.signal(signal.SIGINT)
    live.stopping()
    live.signal(second)
    code, said = live.ended()
    assert 130 == code, said
    assert said[-1].startswith("live: aborted")
    assert {"log"} == left(tmp_path)


def test_a_second_signal_aborts_a_webhook_that_is_tried_again(
    start: Start, receive: Callable[..., Receiver]
) -> None:
    receiver = receive(always=503)
    live = start(EVENTS, sink=f"http.webhook({receiver.url!r}, retries=1000)")
    post(live.port(), row(1))
    receiver.heard.first(1)
    live.signal(signal.SIGINT)
    live.stopping()
    live.signal(signal.SIGINT)
    code, said = live.ended()
    assert 130 == code, said
    assert said[-1].startswith("live: aborted")
    assert set() == left(live.folder)


def test_signals_that_come_once_the_sinks_are_complete_are_too_late(start: Start) -> None:
    live = start("Late()", LATE)
    code, said = live.ended()
    assert 0 == code, said
    assert said[0].startswith("live: done in ")
    assert [] == live.kept()
