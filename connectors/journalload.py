"""Looking at a journal's files, and doing what recovery decides."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from ..flows.journal.entry import Entry
from ..flows.journal.envelope import Keyring, open_body
from ..flows.journal.naming import NEW, segments_in
from ..flows.journal.records import Seal, SyncMark
from ..flows.journal.recovery import Plan, Promises, decide
from ..flows.journal.storage import Storage
from ..flows.journal.survey import Survey, cipher_of, survey
from . import journalnotes as notes
from .journalstart import Held

__all__ = ["Loaded", "load", "load_all", "recover", "survey_of", "unsynced"]

_GLANCE = 4096


@dataclass(frozen=True, slots=True)
class Loaded:
    """What recovery decided, and the promises it was held to."""

    plan: Plan
    promises: Promises


def survey_of(storage: Storage, file: str, keyring: Keyring | None) -> Survey:
    """Look at all of a segment; raises `OSError`, `FormatError`, `KeyMissingError`."""
    return survey(storage.read(file, 0), file, keyring)


def load(storage: Storage, keyring: Keyring | None, at_least: int = 0) -> Loaded:
    """Decide by the last segment and the heads of the others; if anything is wrong, by them all.

    Raises `OSError`, `DamageError` for a small file, `FormatError` and `KeyMissingError`.
    """
    files = [name.file for name in segments_in(storage.names())]
    promises = promises_of(storage, at_least)
    surveys = [_glance(storage, file, keyring) for file in files[:-1]]
    surveys += [survey_of(storage, file, keyring) for file in files[-1:]]
    plan = decide(surveys, promises)
    if plan.damages or plan.lost:
        return load_all(storage, keyring, at_least)
    return Loaded(plan, promises)


def load_all(storage: Storage, keyring: Keyring | None, at_least: int = 0) -> Loaded:
    """Decide by all bytes of all segments."""
    files = [name.file for name in segments_in(storage.names())]
    promises = promises_of(storage, at_least)
    return Loaded(decide([survey_of(storage, file, keyring) for file in files], promises), promises)


def promises_of(storage: Storage, at_least: int) -> Promises:
    """What others know of the journal."""
    readers = tuple(notes.readers(storage).values())
    return Promises(readers, notes.floor(storage), notes.signed_head(storage), at_least)


def recover(storage: Storage, plan: Plan) -> None:
    """Cut, remove and make durable what is left; raises `OSError`."""
    for name in storage.names():
        if name.endswith(NEW):
            storage.remove(name)
    if plan.cut:
        storage.truncate(plan.cut.file, plan.cut.offset)
    if plan.segments:
        storage.sync(plan.segments[-1].file)
    for file in plan.remove:
        storage.remove(file)
        storage.sync_directory()
    storage.sync_directory()


def unsynced(
    storage: Storage, plan: Plan, keyring: Keyring | None
) -> tuple[int, bytes, tuple[Held, ...]]:
    """What of the last segment has to be written anew: sequence and chain before it, and itself.

    It is there, but nothing says that it was synced. The process may have died after a sync that
    failed, and then a sync now would say yes to what is in memory alone.
    """
    if not plan.segments:
        return plan.following, plan.chain, ()
    tail = plan.segments[-1]
    assert tail.head is not None
    if tail.head.sync == "never":
        return plan.following, plan.chain, ()
    following, chain = tail.head.first, tail.head.chain
    for item in tail.items:
        if isinstance(item.record, SyncMark | Seal):
            following = max(following, item.record.following)
    data = memoryview(storage.read(tail.file, 0)) if following < plan.following else memoryview(b"")
    cipher = cipher_of(tail.head, keyring)
    schemas: dict[int, pa.Schema] = {}
    redo = []
    for item in tail.items:
        entry = item.record
        if isinstance(entry, int) and data:
            body = open_body(item.header, data[item.frame.body], cipher)
            schemas[entry] = pa.ipc.read_schema(pa.py_buffer(body))
        if isinstance(entry, Entry) and entry.sequence >= following:
            body = open_body(item.header, data[item.frame.body], cipher)
            redo.append(Held(entry, body, schemas.get(entry.schema)))
        elif item.span and item.span[1] < following:
            chain = item.chain or chain
    return following, chain, tuple(redo)


def _glance(storage: Storage, file: str, keyring: Keyring | None) -> Survey:
    return survey(storage.read(file, 0, _GLANCE), file, keyring, most=1)
