"""Kills runs with SIGKILL and compares what they leave with what an undisturbed run leaves.

    make crash              200 kills, half of them of each flow
    make crash KILLS=20
    make crash SEED=7 SYNC=always

Half of the kills come at a random moment, the others at a named point: before or after an append
to the journal, a sync, the beginning of a segment, the writing and the renaming of an image, a
trim, an acknowledgement; or within an append. A run that is killed is started again with the same
command, until it ends by itself; then another begins in an empty folder. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from benchmarks.crashes.points import POINTS
from benchmarks.sensors import written
from examples.airports import __main__ as airports

__all__ = ["main"]

ROOT: Final = Path(__file__).parent.parent
WORK: Final = ROOT / "build" / "crash"
ROWS: Final = 5_000_000
IMAGES: Final = "0.3"
"""Seconds between images: short, so that kills fall into the writing of many."""


@dataclass(slots=True)
class Difference:
    """Rows of all sinks, and how they differ from the undisturbed run's."""

    rows: int = 0
    lost: int = 0
    doubled: int = 0
    changed: int = 0


@dataclass(slots=True)
class Flow:
    """A flow that is run, and what an undisturbed run of it left."""

    name: str
    file: Path
    data: Path
    expected: Path = field(init=False)
    seconds: float = 0.0

    def command(self, out: Path, state: Path | None) -> list[str]:
        """Return the command line that runs it."""
        run = ["run", str(self.file), "--no-live", "--set", f"data={self.data}"]
        run += ["--set", f"out={out}", "--dead", str(out / "dead.jsonl")]
        if state is not None:
            run += ["--state", str(state), "--image-every", IMAGES]
            run += ["--sync", os.environ.get("SYNC", "interval")]
        return run


def main() -> int:
    """Run the trials; return 0 if nothing was lost, doubled or changed."""
    kills = int(os.environ.get("KILLS", "200"))
    rng = random.Random(int(os.environ.get("SEED", "1")))
    begun = time.monotonic()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    total, done = Difference(), 0
    flows = [_airports(), _windows()]
    for number, flow in enumerate(flows):
        flow.expected = WORK / f"{flow.name}-expected"
        flow.expected.mkdir()
        started = time.monotonic()
        _must_end(_started(flow.command(flow.expected, None)))
        flow.seconds = time.monotonic() - started
        share = kills * (number + 1) // len(flows)
        print(f"{flow.name}: {flow.seconds:.1f} s undisturbed", flush=True)
        while done < share:
            done += _trial(flow, share - done, rng, total)
    told = {
        "kills": done,
        "rows": total.rows,
        "lost": total.lost,
        "doubled": total.doubled,
        "changed": total.changed,
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(told))
    return int(bool(total.lost or total.doubled or total.changed))


def _airports() -> Flow:
    data = WORK / "airports-data"
    airports.laid_out(data, None)
    return Flow("airports", ROOT / "examples" / "airports" / "flow.py", data)


def _windows() -> Flow:
    rows = int(os.environ.get("ROWS", ROWS))
    data = written(ROOT / "build" / "bench", "parquet", rows)
    return Flow("windows", ROOT / "benchmarks" / "crashes" / "windows.py", data)


def _trial(flow: Flow, kills: int, rng: random.Random, total: Difference) -> int:
    """Kill one run at most so often, let it end, and compare; return how often it was killed."""
    out, state = WORK / f"{flow.name}-out", WORK / f"{flow.name}-state"
    for folder in (out, state):
        shutil.rmtree(folder, ignore_errors=True)
    out.mkdir()
    done = 0
    most = min(kills, rng.randint(1, 12))
    command = flow.command(out, state)
    while done < most:
        how = _killed(flow, command, rng)
        if how is None:
            break
        done += 1
        print(f"  {flow.name}: killed {how}", flush=True)
    else:
        _must_end(_started(command))
    found = compared(flow.expected, out)
    print(f"{flow.name}: {done} kills, {found}", flush=True)
    total.rows += found.rows
    total.lost += found.lost
    total.doubled += found.doubled
    total.changed += found.changed
    return done


def _killed(flow: Flow, command: Sequence[str], rng: random.Random) -> str | None:
    """Start a run and kill it; return where, or None if it ended before."""
    if rng.random() < 0.5:
        delay = rng.uniform(0.4, flow.seconds + 0.5)
        process = _started(command)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return f"after {delay:.2f} s"
    else:
        point = rng.choice((*POINTS, "within append"))
        nth = rng.randint(1, 3 if "append" not in point else 25)
        process = _started([point, str(nth), *command], "benchmarks.crashes.points")
        process.wait()
        if process.returncode == -9:
            process.communicate()
            return f"{point}, number {nth}"
    _must_end(process)
    return None


def _started(arguments: Sequence[str], module: str | None = None) -> subprocess.Popen[str]:
    program = [str(Path(sys.executable).with_name("headwater"))]
    return subprocess.Popen(
        [*(program if module is None else [sys.executable, "-m", module]), *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _must_end(process: subprocess.Popen[str]) -> None:
    errors = process.communicate()[1]
    if process.returncode:
        sys.exit(f"a run failed with exit code {process.returncode}:\n{errors}")


READ: Final[dict[str, Callable[[Path], pl.DataFrame]]] = {
    ".csv": lambda path: pl.read_csv(path, infer_schema=False),
    ".jsonl": lambda path: pl.DataFrame({"line": path.read_text().splitlines()}),
    ".parquet": pl.read_parquet,
}


def compared(expected: Path, found: Path) -> Difference:
    """Compare the files of two folders as bags of rows."""
    result = Difference()
    for path in sorted(expected.iterdir()):
        if path.suffix not in READ:
            continue
        wanted = READ[path.suffix](path)
        there = found / path.name
        rows = READ[path.suffix](there) if there.exists() else wanted.clear()
        result.rows += rows.height
        _count(wanted, rows, result)
    return result


def _count(wanted: pl.DataFrame, rows: pl.DataFrame, result: Difference) -> None:
    """Add what rows of one sink lack or have too often; one gone and one new is one changed."""
    columns = wanted.columns
    counts = pl.concat(
        [wanted.with_columns(sign=pl.lit(-1), was=1), rows.with_columns(sign=pl.lit(1), was=0)]
    )
    sums = counts.group_by(columns).agg(pl.col("sign").sum(), pl.col("was").max())
    missing = -_sum(sums.filter(pl.col("sign") < 0))
    strange = _sum(sums.filter(pl.col("sign") > 0, pl.col("was") == 0))
    doubled = _sum(sums.filter(pl.col("sign") > 0, pl.col("was") == 1))
    changed = min(missing, strange)
    result.changed += changed
    result.lost += missing - changed
    result.doubled += doubled + strange - changed


def _sum(sums: pl.DataFrame) -> int:
    return int(sums["sign"].sum())


if __name__ == "__main__":
    sys.exit(main())
