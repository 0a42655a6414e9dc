"""Trimming and mending a journal that nobody writes."""

from __future__ import annotations

from ..flows.journal.envelope import Keyring
from ..flows.journal.errors import JournalError, LossError
from ..flows.journal.naming import segments_in
from ..flows.journal.records import NONE, Floor, Reader
from ..flows.journal.retention import Extent, trimmable
from ..flows.journal.storage import Storage
from ..flows.journal.survey import Survey
from . import journalnotes as notes
from .journalload import survey_of
from .journalrewrite import repair
from .journalverify import verify

__all__ = ["mended", "trimmed_before"]


def trimmed_before(storage: Storage, before: int | None, keyring: Keyring | None) -> int:
    """Remove the segments that every reader holds durably, or all before `before`; count them.

    The last segment stays. Raises `LockedError` if the journal is written, and `LossError` if a
    reader has not yet got what lies before `before`.
    """
    storage.lock()
    try:
        names = segments_in(storage.names())
        heads = [survey_of(storage, name.file, keyring).head for name in names]
        if any(head is None for head in heads):
            raise JournalError("a segment has no head; see `headwater journal verify`")
        firsts = [head.first for head in heads if head]
        files = [name.file for name in names]
        extents = list(map(Extent, files, firsts, firsts[1:]))
        readers = list(notes.readers(storage).values())
        if before is not None:
            behind = [reader for reader in readers if reader.durable + 1 < before]
            if behind:
                first = min(reader.durable for reader in behind) + 1
                raise LossError(
                    f"the reader {behind[0].name!r} holds only up to {behind[0].durable}; "
                    f"trim before {first} at most, or remove its file {behind[0].name}.reader",
                    first, before - 1,
                )  # fmt: skip
            readers = [Reader("", 0, before - 1, before - 1)]
        found = trimmable(extents, readers)
        if found:
            after = heads[len(found)]
            notes.save_floor(storage, Floor(found[-1].following, after.chain if after else NONE))
        for extent in found:
            storage.remove(extent.file)
            storage.sync_directory()
        return len(found)
    finally:
        storage.unlock()


def mended(storage: Storage, keyring: Keyring | None) -> list[str]:
    """Write damaged segments anew, with gaps for what is lost; say what was done, a line each.

    Raises `LockedError`, and `DamageError` if the first segment has no head.
    """
    storage.lock()
    try:
        report = verify(storage, keyring)
        found = [survey_of(storage, n.file, keyring) for n in segments_in(storage.names())]
        lines = []
        for place in range(len(found) - 1, 0, -1):
            if found[place].head is None:
                storage.remove(found[place].file)
                storage.sync_directory()
                lines.append(f"{found[place].file}: removed, its head is lost")
                del found[place]
        missing = bool(lines) or any(damage.offset == 0 for damage in report.damages)
        files = {damage.file for damage in report.damages}
        for place, segment in enumerate(found):
            after = found[place + 1].head if place + 1 < len(found) else None
            until = after.first if after else None
            if segment.file in files or missing:
                lines += _mended(storage, segment, until, keyring)
        head = found[0].head if found else None
        if head and notes.floor(storage).first < head.first:
            lines.append(f"entries before {head.first} are lost")
            notes.save_floor(storage, Floor(head.first, head.chain))
        return lines
    finally:
        storage.unlock()


def _mended(
    storage: Storage, found: Survey, until: int | None, keyring: Keyring | None
) -> list[str]:
    dangling = until is None and found.seal is not None and not found.seal.final
    if not found.checked(until)[0] and not found.broken and not dangling:
        return []
    gaps = repair(storage, found, until, keyring)
    lost = [f"entries {gap.first} to {gap.last} lost" for gap in gaps]
    return [f"{found.file}: mended, {', '.join(lost) or 'no entry lost'}"]
