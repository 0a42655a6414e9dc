"""Measures one job once, in a process of its own, and prints what it found as a line of JSON."""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from .onecore import stay_on_one_core
from .work import Inputs, Prepare, Work

# A first run of so many rows is not timed: it imports what the second one needs.
_WARM_UP_ROWS: Final = 2000


def _timed(work: Work) -> tuple[float, float]:
    """Return the seconds that a job takes, and those of them in which it had the core."""
    gc.collect()
    gc.freeze()  # what is handed in is not gone through again and again while the job runs
    used, begun = time.process_time(), time.perf_counter()
    work.run()
    return time.perf_counter() - begun, time.process_time() - used


def _prepare(job: str, engine: str) -> Prepare:
    """Return how an engine's job is made ready; `bytewax-arrow` is a variant of `bytewax`."""
    name, _, variant = engine.partition("-")
    module = importlib.import_module(f".engines.{name}", __package__)
    found: Prepare = module.PREPARE[f"{job}, {variant}" if variant else job]
    return found


def _main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.measure")
    parser.add_argument("job")
    parser.add_argument("engine")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    stay_on_one_core()
    prepare = _prepare(given.job, given.engine)
    with tempfile.TemporaryDirectory(dir=given.data) as out:
        inputs = Inputs(given.rows, given.data, Path(out))
        _timed(prepare(replace(inputs, rows=min(given.rows, _WARM_UP_ROWS))))
        work = prepare(inputs)
        seconds, core = _timed(work)
        print(json.dumps({"seconds": seconds, "core_seconds": core, "result": work.result()}))


if __name__ == "__main__":
    _main()
