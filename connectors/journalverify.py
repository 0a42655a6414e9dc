"""Checking a journal: every byte of it, the chain, the signed head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..flows.journal.entry import Entry
from ..flows.journal.envelope import Keyring
from ..flows.journal.errors import Damage, DamageError
from ..flows.journal.naming import segments_in
from ..flows.journal.records import Floor, Gap, SignedHead, Tombstone
from ..flows.journal.recovery import Cut, Promises, decide
from ..flows.journal.storage import Storage
from ..flows.journal.survey import Survey
from .journalkeys import signed_by
from .journalload import promises_of, survey_of

__all__ = ["Report", "Segment", "judged", "verify"]


@dataclass(frozen=True, slots=True)
class Segment:
    """One file: its entries `first` to before `following`, and how many rows they have."""

    file: str
    epoch: int
    first: int
    following: int
    entries: int
    rows: int
    size: int
    sealed: bool


@dataclass(slots=True)
class Report:
    """What was found; the journal is sound if there are no `damages`.

    `cut` is what a crash left at the end, which the next writer cuts off; `unsealed` are segments
    that ended without saying so, as when a disk fails. `dropped` entries are
    tombstones, `gaps` stretches that were given up as damaged. `signed` is the sequence after the
    last entry that the signed head vouches for.
    """

    segments: list[Segment] = field(default_factory=list)
    damages: list[Damage] = field(default_factory=list)
    cut: Cut | None = None
    unsealed: list[str] = field(default_factory=list)
    dropped: int = 0
    gaps: list[Gap] = field(default_factory=list)
    chained: bool = False
    signed: int | None = None


def verify(storage: Storage, keyring: Keyring | None = None, public: bytes | None = None) -> Report:
    """Check a journal that may be written meanwhile; changes nothing.

    With `public`, an Ed25519 key, the signed head has to be by it, and the journal has to hold all
    that it vouches for. Raises `OSError`, `FormatError`, `KeyMissingError`.
    """
    files = [name.file for name in segments_in(storage.names())]
    found = [survey_of(storage, file, keyring) for file in files]
    try:
        promises = promises_of(storage, 0)
    except DamageError as error:
        return Report(damages=list(error.damages))
    return judged(found, promises, public)


def judged(found: Sequence[Survey], promises: Promises, public: bytes | None = None) -> Report:
    """What is to be said of a journal's segments, in order, each looked at as a whole."""
    report = Report()
    plan = decide(found, promises)
    report.cut = plan.cut
    kept = list(plan.segments)
    for segment, until in zip(kept, _untils(kept), strict=True):
        if until is not None and segment.head is not None:
            report.damages += segment.checked(until)[0]
            told = {damage.offset for damage in report.damages if damage.file == segment.file}
            rest = [place for place in segment.broken if place.start not in told]
            report.damages += [Damage(segment.file, p.start, p.reason) for p in rest]
        if until is not None and segment.seal is None:
            report.unsealed.append(segment.file)
        _tell(report, segment, until)
    report.damages += [damage for damage in plan.damages if damage not in report.damages]
    if plan.lost:
        lost = plan.lost
        file = kept[-1].file if kept else "journal"
        size = kept[-1].size if kept else 0
        reason = f"the end is missing: {lost.who}"
        report.damages.append(Damage(file, size, reason, lost.first, lost.last))
    report.damages += _chain_breaks(kept, promises.floor)
    _check_signed(report, kept, promises.signed, public)
    return report


def _untils(kept: Sequence[Survey]) -> list[int | None]:
    """For each segment, the sequence at which the next begins."""
    return [*(after.head.first if after.head else None for after in kept[1:]), *[None][: len(kept)]]


def _tell(report: Report, found: Survey, until: int | None) -> None:
    entries = rows = 0
    following = found.head.first if found.head else 0
    first = following
    for item in found.items:
        if item.span is None or (until is not None and item.span[0] >= until):
            continue
        following = item.span[1] + 1
        if isinstance(item.record, Entry):
            entries, rows = entries + 1, rows + item.record.rows
        elif isinstance(item.record, Tombstone):
            report.dropped += 1
        elif isinstance(item.record, Gap):
            report.gaps.append(item.record)
    epoch = found.head.epoch if found.head else segments_in([found.file])[0].epoch
    report.chained |= bool(found.head and found.head.chained)
    report.segments.append(
        Segment(found.file, epoch, first, following, entries, rows, found.size, bool(found.seal))
    )


def _chain_breaks(kept: Sequence[Survey], floor: Floor) -> Iterator[Damage]:
    """Segments whose chain does not begin where that of the one before ends."""
    chain: bytes | None = None
    for place, found in enumerate(kept):
        head = found.head
        if head is None or not head.chained:
            chain = None
            continue
        if place == 0:
            chain = floor.chain if head.first == floor.first else None
        if chain is not None and head.chain != chain:
            yield Damage(found.file, 0, "the chain does not go on where the segment before ends")
        chain = head.chain
        until = kept[place + 1].head if place + 1 < len(kept) else None
        for item in found.items:
            if item.span and (until is None or item.span[0] < until.first):
                chain = item.chain


def _check_signed(
    report: Report, kept: Sequence[Survey], signed: SignedHead | None, public: bytes | None
) -> None:
    if signed is None:
        if public is not None:
            report.damages.append(Damage("head", 0, "the journal has no signed head"))
        return
    if public is not None and not signed_by(signed, public):
        report.damages.append(Damage("head", 0, "the head was not signed with that key"))
        return
    report.signed = signed.following
    report.damages += [
        Damage("head", 0, "the chain does not reach over a gap", gap.first, gap.last)
        for gap in report.gaps
    ]
    values = dict(_values(kept))
    if signed.following in values and values[signed.following] != signed.chain:
        reason = "what stands before is not what the signed head vouches for"
        report.damages.append(Damage("head", 0, f"entry {signed.following}: {reason}"))


def _values(kept: Sequence[Survey]) -> Iterator[tuple[int, bytes | None]]:
    """The chain's value before each sequence."""
    for found in kept:
        if found.head and found.head.chained:
            yield found.head.first, found.head.chain
            for item in found.items:
                if item.span:
                    yield item.span[1] + 1, item.chain
