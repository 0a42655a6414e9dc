"""What Headwater costs before it does anything: the time of `import`, the memory of an idle run.

``python -m benchmarks.startup import ENGINE TIMES`` and ``… idle ENGINE TIMES`` print what they
find as JSON.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import IO, Final

from .onecore import stay_on_one_core

__all__ = ["idle", "import_seconds"]

_SAME: Final = 5
_LOOK_AGAIN: Final = 0.2
_MODULES: Final = {
    "headwater": "import headwater",
    "headwater, used": "import headwater as hw; hw.Flow, hw.Event, hw.Source, hw.Sink",
    "bytewax": "import bytewax.operators",
    "quix": "import quixstreams",
    "pathway": "import pathway",
    "faust": "import faust; faust.App",
}
_READY: Final = b"listens on"
_MOST_SECONDS: Final = 60


def import_seconds(engine: str, times: int) -> dict[str, float]:
    """Return the seconds of an engine's import beyond Python's own start: medians of `times`.

    An engine that loads its parts when they are used has a second figure, with its use.
    """
    names = [name for name in _MODULES if name.partition(",")[0] == engine]
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(times):
        bare = _seconds("pass")
        for name in names:
            found[name].append(_seconds(_MODULES[name]) - bare)
    used = ("seconds", "seconds, used")
    return dict(zip(used, map(median, found.values()), strict=False))


def _seconds(code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True)
    return time.perf_counter() - begun


def idle() -> dict[str, float]:
    """Return the MiB that `headwater run` has resident once it listens and has settled.

    It has settled when its memory is the same five times in a row. Raises TimeoutError.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "headwater.edge.command", "run", "benchmarks/idle.py"]
        command += ["--no-live", "--dead", f"{folder}/dead.jsonl"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            assert child.stdout is not None
            _wait_until_ready(child.stdout)
            return {"MiB": _settled(child.pid)}
        finally:
            child.send_signal(signal.SIGTERM)
            child.communicate()


def _wait_until_ready(out: IO[bytes]) -> None:
    said = []
    for line in out:
        if _READY in line:
            return
        said.append(line.decode(errors="replace"))
    raise RuntimeError(f"headwater run did not begin to listen: {''.join(said)}")


def _settled(pid: int) -> float:
    seen: list[int] = []
    end = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < end:
        seen.append(_resident_kib(pid))
        if len(seen) >= _SAME and len(set(seen[-_SAME:])) == 1:
            return seen[-1] / 1024
        time.sleep(_LOOK_AGAIN)
    raise TimeoutError(f"memory still changes after {_MOST_SECONDS} s: {seen[-_SAME:]} KiB")


def _resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    stay_on_one_core()
    what, engine, times = sys.argv[1:]
    print(json.dumps(idle() if what == "idle" else import_seconds(engine, int(times))))
