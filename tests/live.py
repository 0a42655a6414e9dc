"""A `headwater run` that goes on while a test does, and a web server for it to post to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, Final, Generic, TypeVar

__all__ = ["DEADLINE", "OUT", "Heard", "Live", "Receiver"]

T = TypeVar("T")

DEADLINE: Final = 30.0
FLOW: Final = """
import sys
import threading

import headwater as hw
import polars as pl
from headwater.connectors import files, http, stdio


class Reading(hw.Event):
    at: hw.EventTime
    n: int


class Counted(hw.Event):
    n: int
    rows: int


def listening(port: int) -> None:
    print("listening on", port, file=sys.stderr, flush=True)


flow = hw.Flow("live")


@flow.source
def readings() -> hw.Source[Reading]:
    return {source}


@flow.sink(readings)
def kept() -> hw.Sink:
    return files.to_json_lines("kept.jsonl")
"""
OUT: Final = """

@flow.sink(readings)
def out() -> hw.Sink:
    return {sink}
"""


class Heard(Generic[T]):
    """What another thread hears, in order; a test waits for it."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self._changed = threading.Condition()

    def add(self, item: T) -> None:
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def until(self, found: Callable[[Sequence[T]], bool]) -> list[T]:
        """Wait until it holds of all that was heard, and return that; fails after a while."""
        with self._changed:
            held = self._changed.wait_for(lambda: found(self._items), DEADLINE)
            assert held, f"not within {DEADLINE} s; heard {self._items}"
            return list(self._items)

    def first(self, count: int) -> list[T]:
        """Wait for so many items, and return all."""
        return self.until(lambda items: len(items) >= count)


class Live:
    """A `headwater run` that goes on while the test does.

    Threads read what it writes, if it `hears`.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        rest: str = "",
        *,
        hears: bool = True,
        options: Sequence[str] = (),
    ) -> None:
        (folder / "flow.py").write_text(FLOW.replace("{source}", source) + rest)
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headwater.edge.command", "run", "flow.py", *options],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.out: Heard[str] = Heard()
        self.said: Heard[str] = Heard()
        self._threads = [
            threading.Thread(target=_hear, args=(pipe, heard))
            for pipe, heard in (
                (self.process.stdout, self.out),
                (self.process.stderr, self.said),
            )
        ]
        if not hears:
            self._threads.clear()
        for thread in self._threads:
            thread.start()

    def rows(self, count: int) -> list[dict[str, Any]]:
        """Wait for so many rows on standard output."""
        return [json.loads(line) for line in self.out.first(count)]

    def port(self) -> int:
        """Wait until the flow listens."""
        (line, *_) = self.said.first(1)
        assert line.startswith("listening on "), line
        return int(line.split()[-1])

    def type(self, text: str) -> None:
        """Write to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end_of_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stopping(self) -> None:
        """Wait until the flow says that it has the first signal."""
        self.said.until(lambda lines: any(line.startswith("stopping: ") for line in lines))

    def ended(self) -> tuple[int, list[str]]:
        """Wait for the end; return the exit code and all that it said."""
        code = self.process.wait(DEADLINE)
        for thread in self._threads:
            thread.join(DEADLINE)
        said = self.said.first(0)
        assert not any("Traceback" in line or "Exception" in line for line in said), said
        return code, said

    def kept(self) -> list[int]:
        """Return the numbers in the file that it has written."""
        lines = (self.folder / "kept.jsonl").read_text().splitlines()
        return [json.loads(line)["n"] for line in lines]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


def _hear(pipe: IO[str], heard: Heard[str]) -> None:
    for line in pipe:
        heard.add(line.rstrip("\n"))


class Receiver:
    """A web server that answers as it is told, then 200, and hears every body with its answer."""

    def __init__(self, *answers: int, always: int = 200) -> None:
        self.heard: Heard[tuple[int, str, str]] = Heard()
        waiting = list(answers)
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status = waiting.pop(0) if waiting else always
                # Before the answer: after it, the next request's thread could be first.
                heard.add((status, self.headers["X-Headwater-Batch"], body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def taken(self, count: int) -> list[int]:
        """Wait for so many rows in bodies that were answered with 200; return their numbers."""

        def rows(heard: Sequence[tuple[int, str, str]]) -> list[int]:
            bodies = [json.loads(body) for status, _, body in heard if status == 200]
            return [one["n"] for body in bodies for one in body]

        return rows(self.heard.until(lambda heard: len(rows(heard)) >= count))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
