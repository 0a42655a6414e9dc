"""The settings of a journal."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SettingsError
from .envelope import CODECS, Compression
from .records import POLICIES, SYNCS, Policy, SyncPolicy

__all__ = ["JournalSettings"]


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """How a journal is written; raises `SettingsError` for what cannot be.

    sync            when appends are made durable; see `docs/journal.md` for what each means
    interval_ms     with `interval`: a sync of an append begins at most so much later
    segment_bytes   a segment is ended when it is so large
    segment_age     or, in seconds of the clock that entries carry, so old (None: at no age)
    max_bytes       what the segments may take together (None: what the disk has)
    max_age         seconds after which what no reader has applied may be dropped (None: never)
    policy          what happens when there is no room
    keep_one_in     with `thin`: of so many entries, one is kept
    compression     of bodies
    chain           whether each frame carries the hash of those before
    hold_bytes      what is kept in memory to be written anew if a sync fails; as much again while
                    one is under way
    reserve_bytes   kept on disk, to have room to drop in when it is full; not for `block`
    """

    sync: SyncPolicy = "interval"
    interval_ms: int = 100
    segment_bytes: int = 64 << 20
    segment_age: float | None = None
    max_bytes: int | None = None
    max_age: float | None = None
    policy: Policy = "block"
    keep_one_in: int = 2
    compression: Compression | None = None
    chain: bool = False
    hold_bytes: int = 64 << 20
    reserve_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        if self.sync not in SYNCS:
            raise SettingsError(f"sync is one of {', '.join(SYNCS)}, not {self.sync!r}")
        if self.policy not in POLICIES:
            raise SettingsError(f"policy is one of {', '.join(POLICIES)}, not {self.policy!r}")
        if self.compression not in CODECS:
            raise SettingsError(f"compression is zstd, lz4 or None, not {self.compression!r}")
        if self.keep_one_in < 2:
            raise SettingsError("keep_one_in is at least 2; to drop all, use drop_oldest")
        if self.max_age is not None and self.policy == "block":
            raise SettingsError("max_age drops entries: give a policy other than block with it")
        for name in ("interval_ms", "segment_bytes", "hold_bytes"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is at least 1")
        if self.reserve_bytes < 0:
            raise SettingsError("reserve_bytes is at least 0")
        for name in ("segment_age", "max_age", "max_bytes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise SettingsError(f"{name} is more than 0, or None")
