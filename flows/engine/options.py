"""How to run a flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ..connector import Sink

__all__ = ["BATCH_ROWS", "Options"]

BATCH_ROWS: Final = 131_072


@dataclass(frozen=True, slots=True)
class Options:
    """How to run a flow."""

    batch_rows: int = BATCH_ROWS
    """Rows of a batch at the most."""
    seed: int = 0
    settings: Any = None
    reset: frozenset[str] = frozenset()
    """Operators that begin without the state that was kept for them."""
    leaf: Sink | None = None
    """Where the rows of an operator go that nothing reads, such as a terminal."""
