"""Segments written anew: with tombstones for what a policy drops, without what is damaged."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

from ..flows.journal.entry import Entry
from ..flows.journal.envelope import Coder, Keyring, open_body
from ..flows.journal.errors import DamageError
from ..flows.journal.naming import NEW
from ..flows.journal.records import FrameKind, Gap, Head, Policy, Seal, SyncMark, Tombstone
from ..flows.journal.storage import Storage
from ..flows.journal.survey import Item, Survey, cipher_of, survey

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["bury", "repair"]


class _Copy:
    """A segment in the making, beside the one that it replaces."""

    def __init__(self, storage: Storage, found: Survey, keyring: Keyring | None) -> None:
        assert found.head is not None
        self._storage, self._file = storage, found.file
        self._new = found.file + NEW
        head = found.head
        if head.encrypted and keyring is not None:
            head = replace(head, identity=os.urandom(16), key=keyring.current)
        codecs = [item.header.codec for item in found.items if item.header.codec]
        chain = head.chain if head.chained else None
        self._coder = Coder(codecs[0] if codecs else None, cipher_of(head, keyring), chain)
        if self._new in storage.names():
            storage.remove(self._new)
        storage.create(self._new)
        self.add(FrameKind.HEAD, head.encode())

    def add(self, kind: FrameKind, payload: bytes, body: Buffer = b"") -> None:
        """Append a frame."""
        self._storage.append(self._new, self._coder.frame(kind, payload, body))

    def relink(self, chain: bytes | None) -> None:
        """Go on with the chain's value that the next frame had, behind what is lost."""
        if self._coder.chain is not None and chain is not None:
            self._coder.chain = chain

    def finish(self, following: int, seal: Seal | None) -> None:
        """End the segment, and let it replace the other, durably."""
        storage = self._storage
        self.add(FrameKind.SYNC, SyncMark(following, storage.size(self._new)).encode())
        if seal:
            self.add(FrameKind.SEAL, replace(seal, following=following).encode())
        storage.sync(self._new)
        storage.rename(self._new, self._file)
        storage.sync_directory()

    def abandon(self) -> None:
        """Leave the segment as it was."""
        self._storage.remove(self._new)


def bury(
    storage: Storage,
    file: str,
    until: int,
    sequences: frozenset[int],
    policy: Policy,
    keyring: Keyring | None,
) -> None:
    """Put tombstones in place of entries of a segment that ends before `until`.

    Raises `OSError`, after which the segment is as it was, and `DamageError`.
    """
    data = storage.read(file, 0)
    found = survey(data, file, keyring)
    damages, _ = found.checked(until)
    if damages:
        raise DamageError(damages)

    def buried(item: Item, body: Buffer) -> tuple[FrameKind, bytes, Buffer]:
        entry = item.record
        assert item.header.kind is not None
        if not isinstance(entry, Entry) or entry.sequence not in sequences:
            return item.header.kind, item.header.payload, body
        tomb = Tombstone(entry, policy, sha256(body).digest(), memoryview(body).nbytes)
        return FrameKind.TOMBSTONE, tomb.encode(), b""

    _rewritten(storage, found, data, until, buried, keyring)


def repair(
    storage: Storage, found: Survey, until: int | None, keyring: Keyring | None
) -> list[Gap]:
    """Write a damaged segment anew, with gaps for the entries that are lost; return those.

    `until` is the sequence at which the next segment begins; None if there is none. Raises
    `OSError`, and `DamageError` if the head is what is damaged.
    """
    damages, following = found.checked(until)
    if found.head is None:
        raise DamageError(damages)
    gaps = [
        Gap(damage.first, damage.last, damage.reason)
        for damage in damages
        if damage.first is not None and damage.last is not None
    ]
    data = storage.read(found.file, 0)
    left = list(gaps)
    lost = {n for gap in gaps for n in range(gap.first, gap.last + 1)} if gaps else set()
    cipher = cipher_of(found.head, keyring)
    copy = _Copy(storage, found, keyring)
    try:
        for item in found.items:
            span = item.span
            if span and until is not None and span[0] >= until:
                break
            while left and span and left[0].first <= span[0]:
                copy.add(FrameKind.GAP, left.pop(0).encode())
            kind = item.header.kind
            if kind is None or kind not in _KEPT or (span and span[0] in lost):
                continue
            copy.relink(item.header.link)
            body = open_body(item.header, memoryview(data)[item.frame.body], cipher)
            copy.add(kind, item.header.payload, body)
        for gap in left:
            copy.add(FrameKind.GAP, gap.encode())
        copy.finish(following, found.seal if until is not None else None)
    except OSError:
        copy.abandon()
        raise
    return gaps


_KEPT = frozenset({FrameKind.SCHEMA, FrameKind.ENTRY, FrameKind.TOMBSTONE, FrameKind.GAP})


def _rewritten(
    storage: Storage,
    found: Survey,
    data: Buffer,
    until: int,
    change: Callable[[Item, Buffer], tuple[FrameKind, bytes, Buffer]],
    keyring: Keyring | None,
) -> None:
    assert isinstance(found.head, Head)
    cipher = cipher_of(found.head, keyring)
    copy = _Copy(storage, found, keyring)
    try:
        for item in found.items:
            if item.span and item.span[0] >= until:
                break
            if item.header.kind in _KEPT:
                body = open_body(item.header, memoryview(data)[item.frame.body], cipher)
                copy.add(*change(item, body))
        copy.finish(until, found.seal)
    except OSError:
        copy.abandon()
        raise
