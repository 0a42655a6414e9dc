"""How long a durable run that was killed needs until it is where it was.

``python -m benchmarks.restart FOLDER KEYS ROWS`` prints what it finds as JSON. A `headwater run
--state` of `restarted.py` reads a reading of each key and is stopped, which leaves an image. The
file grows by so many rows, the run reads them too, and is killed. It is started again, and has
done every step again once it takes an image.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

import polars as pl

from headwater.connectors.images import load_image
from headwater.connectors.journal import FileStorage, JournalReader, Written

from .onecore import stay_on_one_core
from .ratios import BY_CORE

__all__ = ["restart"]

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_BLOCK: Final = 250_000
"""Rows that are made at a time."""
_MOST_SECONDS: Final = 150
_LOOK_AGAIN: Final = 0.05
_SPREAD: Final = 7919
"""A prime: keys do not come in order."""


class _Case:
    """A folder with the file that is read, the state of the run and what it writes."""

    def __init__(self, folder: Path, keys: int) -> None:
        self._keys = keys
        self._rows = 0
        self._said = folder / "said.txt"
        self.source = folder / "readings.jsonl"
        self.state = folder / "state"
        self._command = [sys.executable, "-m", "headwater.edge.command", "run"]
        self._command += ["benchmarks/restarted.py", "--no-live", "--state", str(self.state)]
        self._command += ["--image-every", "86400", "--dead", str(folder / "dead.jsonl")]
        self._command += ["--set", f"readings={self.source}"]
        self._command += ["--set", f"marks={folder / 'marks.jsonl'}"]

    def grow(self, rows: int) -> None:
        """Add rows to the file."""
        with self.source.open("ab") as file:
            for first in range(0, rows, _BLOCK):
                self._put(file, self._rows + first, min(_BLOCK, rows - first))
        self._rows += rows

    def _put(self, file: IO[bytes], first: int, rows: int) -> None:
        number = pl.int_range(first, first + rows, dtype=pl.Int64)
        at = pl.lit(_START) + pl.duration(milliseconds=10 * number)
        pl.select(
            at=at.dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
            key=pl.format("key-{}", (number * _SPREAD % self._keys).cast(pl.String).str.zfill(7)),
            value=pl.lit(1),
        ).write_ndjson(file)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Have the run run; it is killed at the end, if it is still there."""
        with self._said.open("wb") as said:
            child = subprocess.Popen(self._command, stdout=said, stderr=subprocess.STDOUT)
        try:
            yield child
        finally:
            child.kill()
            child.wait()

    def until(self, child: subprocess.Popen[bytes], done: Callable[[], bool]) -> None:
        """Wait until something is so; raises RuntimeError if the run ends, and TimeoutError."""
        end = time.monotonic() + _MOST_SECONDS
        while not done():
            if child.poll() is not None:
                raise RuntimeError(f"the run ended: {self._said.read_text()[-2000:]}")
            if time.monotonic() > end:
                raise TimeoutError(f"the run is not done after {_MOST_SECONDS} s")
            time.sleep(_LOOK_AGAIN)

    def worked_off(self) -> bool:
        """Whether every row of the file was, by the journal."""
        if not any(self.state.glob("*.seg")):
            return False
        reader, last = JournalReader(FileStorage(self.state), 0), 0
        while found := reader.read():
            steps = [record.entry.step for record in found if isinstance(record, Written)]
            last = max([last, *(r.last + 1 for step in steps for r in step.ranges)])
        return last == self._rows

    def images(self) -> list[Path]:
        """Return the images that there are, the oldest first."""
        return sorted(self.state.glob("*.image"))

    def rows_of_image(self) -> int:
        """Return how many rows the newest image holds."""
        (channel,) = load_image(FileStorage(self.state), int(self.images()[-1].stem)).channels
        return channel.items


def restart(folder: Path, keys: int, rows: int) -> dict[str, float]:
    """Return the seconds of a restart with so many keys, and so many rows since the last image.

    They go from the start of the process to the image that it takes once every step was done again.
    """
    case = _Case(folder, keys)
    case.grow(keys)
    with case.running() as child:
        case.until(child, case.worked_off)
        child.send_signal(signal.SIGTERM)
        child.wait(_MOST_SECONDS)
    image, before = case.images()[-1].stat().st_size, case.source.stat().st_size
    case.grow(rows)
    with case.running() as child:
        begun = time.perf_counter()
        case.until(child, case.worked_off)
        first = time.perf_counter() - begun
    images = case.images()
    used = _core_seconds_of_children()
    with case.running() as child:
        begun = time.perf_counter()
        case.until(child, lambda: case.images()[-1] > images[-1])
        seconds = time.perf_counter() - begun
    core = _core_seconds_of_children() - used
    if case.rows_of_image() != keys + rows:
        raise RuntimeError("the run that was started again is not where it was")
    return {
        "s": seconds,
        f"s{BY_CORE}": core,
        "before it was killed, s": first,
        "keys": float(keys),
        "MB of input": (case.source.stat().st_size - before) / 1e6,
        "MB of image": image / 1e6,
    }


def _core_seconds_of_children() -> float:
    """Return what those that have ended used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _main() -> None:
    stay_on_one_core()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # the run is not left behind
    data, keys, rows = sys.argv[1:]
    folder = Path(tempfile.mkdtemp(dir=data))
    try:
        print(json.dumps(restart(folder, int(keys), int(rows))))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    _main()
