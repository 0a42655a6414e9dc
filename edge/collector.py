"""How often Python looks for garbage in cycles."""

from __future__ import annotations

import gc

__all__ = ["relax_collector"]


def relax_collector() -> None:
    """Look for cycles less often than Python does by itself.

    Functions per row make many objects that live for a batch, and no cycles: looking at them took
    a quarter of the time of a row.
    """
    gc.set_threshold(50_000, 20, 20)
