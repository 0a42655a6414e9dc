"""The environment of the peers: ``python -m benchmarks.peers`` makes it.

It is apart from the project's, as the peers ask for other versions of the same libraries. What
does not install is noted with pip's reason, and named in the results. Needs only the standard
library.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["FOLDER", "REQUIRED", "Peers", "interpreter"]

FOLDER: Final = Path(__file__).resolve().parent.parent / "build" / "bench" / "peers"
REQUIRED: Final = {
    # What the measurements themselves need comes first, and pathway asks for an older pyarrow.
    "python": ("orjson>=3.13", "polars>=2.1", "pyarrow>=25"),
    "bytewax": ("bytewax>=0.21",),
    "quix": ("quixstreams>=3.28",),
    "pathway": ("pathway>=0.33",),
    "faust": ("faust-streaming>=0.15",),
    # The best libraries for what a kernel does.
    "msgspec": ("msgspec>=0.22",),
    "google-crc32c": ("google-crc32c>=1.9",),
    "crc32c": ("crc32c>=2.9",),
    "polars-hash": ("polars-hash>=0.9",),
    "kafka-python": ("kafka-python>=3.0",),
}
"""What each engine needs, and libraries that kernels are compared with; the lowest versions."""
_FOUND: Final = "peers.json"
_ASK: Final = (
    "import importlib.metadata as m, json, sys;"
    "print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"
)


@dataclass(frozen=True, slots=True)
class Peers:
    """What is in the environment: versions by distribution, and why an engine is missing."""

    versions: dict[str, str]
    missing: dict[str, str]

    @classmethod
    def found(cls, folder: Path = FOLDER) -> Peers:
        """Read what was set up; everything is missing if nothing was."""
        note = folder / _FOUND
        if not note.exists():
            reason = "there is no environment of the peers; `make bench` makes it"
            return cls({}, dict.fromkeys(REQUIRED, reason))
        return cls(**json.loads(note.read_text()))


def interpreter(folder: Path = FOLDER) -> Path:
    """Return the Python of the environment."""
    return folder / "bin" / "python"


def _install(folder: Path) -> Peers:
    """Make the environment afresh."""
    venv.create(folder, clear=True, with_pip=True)
    versions: dict[str, str] = {}
    missing: dict[str, str] = {}
    for engine, wanted in REQUIRED.items():
        print(f"  {', '.join(wanted)}", file=sys.stderr, flush=True)
        reason = _installed(folder, wanted)
        if reason is None:
            versions |= _versions(folder, [name.partition(">")[0] for name in wanted])
        else:
            missing[engine] = reason
    return Peers(versions, missing)


def _installed(folder: Path, wanted: tuple[str, ...]) -> str | None:
    """Install distributions; return why they could not be, or None."""
    command = [str(interpreter(folder)), "-m", "pip", "install", "--quiet"]
    command += ["--disable-pip-version-check", *wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return None
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return (lines or done.stderr.splitlines() or ["pip failed"])[-1]


def _versions(folder: Path, names: list[str]) -> dict[str, str]:
    command = [str(interpreter(folder)), "-c", _ASK, *names]
    found: dict[str, str] = json.loads(subprocess.check_output(command))
    return found


def _main() -> None:
    print(f"setting up the peers in {FOLDER}", file=sys.stderr, flush=True)
    peers = _install(FOLDER)
    # The last to install may have changed what the first brought.
    found = {"versions": _versions(FOLDER, list(peers.versions)), "missing": peers.missing}
    (FOLDER / _FOUND).write_text(json.dumps(found, indent=1) + "\n")
    for engine, reason in peers.missing.items():
        print(f"  {engine} is missing: {reason}", file=sys.stderr)


if __name__ == "__main__":
    _main()
