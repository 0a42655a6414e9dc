"""Retention: which segments may go, and which entries a policy takes when there is no room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .records import Policy, Reader

__all__ = ["Candidate", "Extent", "chosen", "first_droppable", "trimmable"]


@dataclass(frozen=True, slots=True)
class Extent:
    """A segment that is no longer written: entries `first` to before `following`."""

    file: str
    first: int
    following: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry that may be dropped: its place, what it weighs, the clock (µs) when it was made."""

    sequence: int
    priority: int
    size: int
    clock: int


def trimmable(extents: Sequence[Extent], readers: Iterable[Reader]) -> list[Extent]:
    """The oldest segments of which every reader holds everything durably.

    Without a reader it is not known who will come, and nothing may go.
    """
    low = min((reader.durable for reader in readers), default=-1)
    found = []
    for extent in extents:
        if extent.following > low + 1:
            break
        found.append(extent)
    return found


def first_droppable(readers: Iterable[Reader]) -> int:
    """The first sequence that no reader has applied; the stage itself needs headers alone."""
    return max((reader.applied for reader in readers if not reader.owner), default=-1) + 1


def chosen(
    candidates: Sequence[Candidate], policy: Policy, need: int, keep_one_in: int
) -> frozenset[int]:
    """The sequences that `policy` takes to make room for `need` bytes, or all it may take.

    `drop_oldest` takes them in order. `drop_by_priority` takes the lowest priority first, and of
    one priority the oldest first. `thin` keeps one in so many of what it goes over, the oldest
    first, and goes over what is left if that is not enough.
    """
    if policy == "block":
        return frozenset()
    if policy == "thin":
        return _thinned(candidates, need, keep_one_in)
    order = sorted(
        candidates, key=lambda c: (c.priority if policy != "drop_oldest" else 0, c.sequence)
    )
    taken: list[int] = []
    for candidate in order:
        if need <= 0:
            break
        need -= candidate.size
        taken.append(candidate.sequence)
    return frozenset(taken)


def _thinned(candidates: Sequence[Candidate], need: int, keep_one_in: int) -> frozenset[int]:
    left = sorted(candidates, key=lambda candidate: candidate.sequence)
    taken: set[int] = set()
    while need > 0 and len(left) > 1:
        kept = []
        for place, candidate in enumerate(left):
            if need <= 0 or place % keep_one_in == 0:
                kept.append(candidate)
            else:
                need -= candidate.size
                taken.add(candidate.sequence)
        left = kept
    return frozenset(taken)
