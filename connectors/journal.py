"""Journals: open one to write, read one, see what is in it.

    journal = open_journal(FileStorage(folder, create=True), epoch=1, flow=hash, now=clock.now())
    journal.append(step, batch)
    journal.sync(clock.now())

    reader = JournalReader(FileStorage(folder), start=0)
    for record in reader.read():
        record.batch()

What the bytes mean and what is guaranteed stands in `docs/journal.md`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress

from ..flows.journal.entry import Continues, Step, StepKind
from ..flows.journal.envelope import Coder, Keyring
from ..flows.journal.errors import DamageError, EpochError, LossError, SealedError
from ..flows.journal.naming import segments_in
from ..flows.journal.records import FrameKind, Seal
from ..flows.journal.recovery import Plan, Promises
from ..flows.journal.retention import Extent
from ..flows.journal.settings import JournalSettings
from ..flows.journal.storage import Storage
from .journalfiles import FileStorage
from .journalload import load, recover, unsynced
from .journalreader import JournalReader, Written
from .journalstart import Signing, Start, Statistics
from .journalwriter import JournalWriter

__all__ = [
    "FileStorage",
    "JournalReader",
    "JournalSettings",
    "JournalWriter",
    "Signing",
    "Statistics",
    "Written",
    "open_journal",
]


def open_journal(
    storage: Storage,
    *,
    epoch: int,
    flow: bytes,
    now: int,
    settings: JournalSettings | None = None,
    keyring: Keyring | None = None,
    signer: Signing | None = None,
    entropy: Callable[[int], bytes] = os.urandom,
    notice: Callable[[str], None] | None = None,
    executor: Executor | None = None,
    at_least: int = 0,
    accept_loss: bool = False,
) -> JournalWriter:
    """Recover a journal, or make one, and go on in a new segment.

    `flow` (16 bytes) is the hash of the code that writes, `now` the time in µs, `at_least` the
    sequence after the last one that the caller knows to be there, as by a snapshot. An `epoch`
    higher than before opens with an entry that says what it continues. `notice` is told, once
    each, when there is no room and when there is again. With the policy `interval`, syncs run in
    `executor`, one at a time (None: a thread of its own).

    Raises `LockedError`; `DamageError`, if bytes are damaged that were synced; `LossError`, if
    entries are gone that a reader, a signed head or `at_least` knows of, which `accept_loss` takes
    with a higher epoch; `EpochError` for a lower epoch; `SealedError`; and `OSError`.
    """
    storage.lock()
    try:
        loaded = load(storage, keyring, at_least)
        plan = loaded.plan
        _agree(plan, epoch, accept_loss=accept_loss)
        recover(storage, plan)
        return _opened(
            storage, plan, loaded.promises, epoch, flow, now, settings or JournalSettings(),
            keyring, signer, entropy, notice or _silent, executor,
        )  # fmt: skip
    except BaseException:
        storage.unlock()
        raise


def _agree(plan: Plan, epoch: int, *, accept_loss: bool) -> None:
    """Raise unless the journal may go on in this epoch."""
    if plan.damages:
        raise DamageError(plan.damages)
    if plan.sealed:
        raise SealedError(
            f"the journal was sealed; it goes on in {', '.join(plan.sealed.successors) or 'none'}",
            plan.sealed.successors,
        )
    if plan.epoch is not None and epoch < plan.epoch:
        raise EpochError(
            f"the journal is in epoch {plan.epoch}, and {epoch} may not write it any more"
        )
    lost = plan.lost
    if lost and not accept_loss:
        raise LossError(
            f"entries {lost.first} to {lost.last} are gone, and {lost.who}; to go on without them, "
            "open the journal with accept_loss and a higher epoch",
            lost.first, lost.last,
        )  # fmt: skip
    if lost and epoch == plan.epoch:
        raise EpochError(
            f"entries {lost.first} to {lost.last} are gone: the numbers may be used again only in "
            f"an epoch above {epoch}"
        )


def _opened(
    storage: Storage,
    plan: Plan,
    promises: Promises,
    epoch: int,
    flow: bytes,
    now: int,
    settings: JournalSettings,
    keyring: Keyring | None,
    signer: Signing | None,
    entropy: Callable[[int], bytes],
    notice: Callable[[str], None],
    executor: Executor | None,
) -> JournalWriter:
    following, chain, redo = unsynced(storage, plan, keyring)
    extents = _extents(plan, following)
    sizes = {extent.file: storage.size(extent.file) for extent in extents}
    readers = {reader.name: reader for reader in promises.readers}
    start = Start(following, plan.number, chain, redo, extents, sizes, readers, promises.floor)

    def begun(epoch: int, start: Start) -> JournalWriter:
        writer = JournalWriter(
            storage, start, epoch=epoch, flow=flow, settings=settings, keyring=keyring,
            signer=signer, entropy=entropy, notice=notice, executor=executor, now=now,
        )  # fmt: skip
        if start.extents:
            _seal(storage, start.extents[-1])
        return writer

    if redo and plan.epoch is not None and plan.epoch != epoch:
        start = begun(plan.epoch, start).start()
    writer = begun(epoch, start)
    continues = _continues(plan, epoch)
    if continues:
        writer.append(Step(kind=StepKind.OPEN, clock=now, continues=continues))
        writer.sync(now)
    return writer


def _extents(plan: Plan, following: int) -> tuple[Extent, ...]:
    heads = [found.head for found in plan.segments]
    firsts = [head.first for head in heads if head] + [following]
    files = [found.file for found in plan.segments]
    return tuple(map(Extent, files, firsts, firsts[1:]))


def _seal(storage: Storage, last: Extent) -> None:
    """Let the segment before name the new one; that it cannot is no harm."""
    number = segments_in([last.file])[0].number
    after = next(n.file for n in segments_in(storage.names()) if n.number > number)
    with suppress(OSError):
        storage.append(
            last.file, Coder().frame(FrameKind.SEAL, Seal(last.following, (after,)).encode())
        )
        storage.sync(last.file)


def _continues(plan: Plan, epoch: int) -> Continues | None:
    """What an epoch says that it continues, if it has not said so yet."""
    heads = [found.head for found in plan.segments if found.head]
    before = [head for head in heads if head.epoch < epoch]
    if not before:
        return None
    own = [head for head in heads if head.epoch == epoch]
    if own and plan.following > own[0].first:
        return None
    return Continues(before[-1].epoch, plan.following)


def _silent(text: str) -> None:
    """Tell nobody."""
