"""Runs the benchmarks as a script: `make bench`, or ``python benchmarks/run.py --help``."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    # As `python -m benchmarks` from the checkout would: siblings are imported by the full name.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    runpy.run_module("benchmarks", run_name="__main__", alter_sys=True)
