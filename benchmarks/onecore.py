"""Keeps a measurement on one core, where the system can."""

from __future__ import annotations

import os

__all__ = ["stay_on_one_core"]


def stay_on_one_core() -> None:
    """Pin this process, and those that it will start, to the last core that it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
