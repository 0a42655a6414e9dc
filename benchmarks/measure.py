"""Measures one job once, in a process of its own, and prints what it found as a line of JSON."""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from .jobs import PREPARE, Inputs, Work
from .overhead import overhead

# A first run of so many rows is not timed: it imports what the second one needs.
_WARM_UP_ROWS: Final = 2000


def _stay_on_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _timed(work: Work) -> float:
    gc.collect()
    begun = time.perf_counter()
    work.run()
    return time.perf_counter() - begun


def _main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.measure")
    parser.add_argument("job")
    parser.add_argument("engine")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    _stay_on_one_core()
    if given.job == "overhead":
        print(json.dumps({"result": overhead(given.rows)}))
        return
    prepare = PREPARE[given.job, given.engine]
    with tempfile.TemporaryDirectory(dir=given.data) as out:
        inputs = Inputs(given.rows, given.data, Path(out))
        _timed(prepare(replace(inputs, rows=min(given.rows, _WARM_UP_ROWS))))
        work = prepare(inputs)
        seconds = _timed(work)
        print(json.dumps({"seconds": seconds, "result": work.result()}))


if __name__ == "__main__":
    _main()
