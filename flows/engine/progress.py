"""Where a run stands, and each of its sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..connector import Reader
from ..graph import Node, SourceSpec
from .intake import Intake
from .pace import Pace
from .shard import Counts

__all__ = ["Progress", "SourceState"]


@dataclass(slots=True)
class SourceState:
    """A source that is being read: its readers and what has come of them."""

    node: Node
    spec: SourceSpec
    names: tuple[str, ...]
    readers: list[Reader]
    intake: Intake
    first: int = 0
    """The channel of its first partition; those of the others follow."""
    counts: Counts = field(default_factory=Counts)
    waiting: list[bool] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)
    silent_since: list[int] = field(default_factory=list)
    idle: list[bool] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    """Rows and dead letters read so far."""
    offsets: list[int | None] = field(default_factory=list)
    """Of the last of them."""
    pace: Pace | None = None
    """How much to read at a time; None for a source with an end, where only the rate counts."""

    rewinds: bool = True
    """Whether what was read can be read again."""

    def next(self) -> int | None:
        """Return the partition to read: the one that is furthest behind and has something."""
        ready = [p for p in range(len(self.readers)) if not self.waiting[p] and not self.ended[p]]
        return min(ready, key=self.intake.frontier, default=None)

    def silent(self) -> bool:
        """Whether every partition that has not ended is idle."""
        left = [idle for idle, ended in zip(self.idle, self.ended, strict=True) if not ended]
        return bool(left) and all(left)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands."""

    counts: dict[str, Counts]
    sources: Sequence[SourceState]
    sinks: dict[str, int]
    """Rows written, by sink."""
    dead: int
    done: float | None
    """How much of the input has been read, 0 to 1, or None if it has no end."""
