"""Recovery: what of a journal's files is kept, cut off or removed, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from .errors import Damage
from .naming import segments_in
from .records import NONE, Floor, Reader, Seal, SignedHead
from .survey import Survey

__all__ = ["Cut", "Lost", "Plan", "Promises", "decide"]


_BOTTOM: Final = Floor(0)


@dataclass(frozen=True, slots=True)
class Promises:
    """What others know of a journal, and it has to hold.

    `at_least` is the sequence after the last one that the caller knows of, as by a snapshot.
    """

    readers: tuple[Reader, ...] = ()
    floor: Floor = _BOTTOM
    signed: SignedHead | None = None
    at_least: int = 0

    @property
    def following(self) -> int:
        """The sequence after the last one that somebody knows of."""
        known = [self.at_least, self.floor.first, *(reader.applied + 1 for reader in self.readers)]
        return max([*known, self.signed.following if self.signed else 0])


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of the last segment is cut off: what was being written when the writer died."""

    file: str
    offset: int
    size: int
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Entries `first` to `last` are not there, and somebody knows of them."""

    first: int
    last: int
    who: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with a journal before it goes on.

    `segments` are what stays, oldest first; `following` is the sequence after the last entry, and
    `chain` the chain's value there. While there are `damages` or is something `lost`, nothing is
    done unless it is accepted.
    """

    segments: tuple[Survey, ...]
    following: int
    epoch: int | None
    number: int
    chain: bytes
    remove: tuple[str, ...]
    cut: Cut | None
    damages: tuple[Damage, ...]
    lost: Lost | None
    sealed: Seal | None


def decide(segments: Sequence[Survey], promises: Promises) -> Plan:
    """Decide by the segments, in the order of their names; all but the last may be heads alone."""
    kept = list(segments)
    remove = _trimmed(kept, promises.floor)
    damages = _breaks(kept, promises.floor)
    cut = None
    if kept:
        tail = kept[-1]
        cut = _cut(tail)
        if cut:
            tail = kept[-1] = tail.before(cut.offset)
        after = kept[-2].checked()[1] if len(kept) > 1 else promises.floor.first
        found, following = tail.checked(None, after)
        damages += found
    else:
        following = promises.floor.first
    sealed = kept[-1].seal if kept else None
    if sealed and not sealed.final and not damages:
        file, size = kept[-1].file, kept[-1].size
        reason = f"the segment after it, {sealed.successors[0]}, is missing"
        damages.append(Damage(file, size, reason, sealed.following))
    lost = None
    if promises.following > following:
        lost = Lost(following, promises.following - 1, _who(promises, following))
    head = kept[-1].head if kept else None
    last = segments_in([kept[-1].file])[0] if kept else None
    return Plan(
        tuple(kept), following, head.epoch if head else None, last.number if last else -1,
        _chain(kept, promises.floor), tuple(remove), cut, tuple(damages), lost,
        sealed if sealed and sealed.final else None,
    )  # fmt: skip


def _trimmed(kept: list[Survey], floor: Floor) -> list[str]:
    """Take off what lies below the floor: a crash came before it was removed."""
    removed = []
    while len(kept) > 1 and kept[0].head and kept[1].head and kept[1].head.first <= floor.first:
        if kept[0].head.first >= floor.first:
            break
        removed.append(kept.pop(0).file)
    return removed


def _breaks(kept: Sequence[Survey], floor: Floor) -> list[Damage]:
    """Segments that are missing, and heads that are."""
    damages = []
    if kept and kept[0].head and kept[0].head.first > floor.first:
        last = kept[0].head.first - 1
        damages.append(Damage(kept[0].file, 0, "segments before it are missing", floor.first, last))
    for before, after in pairwise(kept):
        if after.head is None or before.head is None:
            continue
        if after.head.previous != segments_in([before.file])[0].number:
            first = before.checked()[1] if len(before.items) > 1 else before.head.first
            last = after.head.first - 1
            if first <= last:
                reason = "the segment before it is missing"
                damages.append(Damage(after.file, 0, reason, first, last))
    following = floor.first
    for segment, after in pairwise(kept):
        until = after.head.first if after.head else None
        if segment.head is None:
            damages += segment.checked(until, following)[0]
        following = segment.checked()[1] if until is None else until
    return damages


def _cut(tail: Survey) -> Cut | None:
    """What may be cut off: what is broken past all that is known to have been synced."""
    if tail.head is None or not tail.broken:
        return None
    place = tail.broken[0]
    if place.start < tail.synced() or place.start == place.stop:
        return None
    return Cut(tail.file, place.start, tail.size - place.start, place.reason)


def _chain(kept: Sequence[Survey], floor: Floor) -> bytes:
    if not kept:
        return floor.chain
    return (kept[-1].items[-1].chain if kept[-1].items else None) or NONE


def _who(promises: Promises, following: int) -> str:
    for reader in promises.readers:
        if reader.applied >= following:
            return f"the reader {reader.name!r} has applied up to {reader.applied}"
    if promises.signed and promises.signed.following > following:
        return f"the head was signed at {promises.signed.following - 1}"
    if promises.floor.first > following:
        return f"it was trimmed up to {promises.floor.first - 1}"
    return f"a snapshot was taken at {promises.at_least - 1}"
