"""What the frames of a journal say beside entries: heads, seals, marks, tombstones, gaps.

Each is a frozen dataclass with `encode`, which gives the payload of its frame, and `decode`, which
takes any bytes and raises `FormatError`.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from .entry import Entry, decode_entry, encode_entry
from .errors import FormatError

__all__ = [
    "FORMAT",
    "Floor",
    "FrameKind",
    "Gap",
    "Head",
    "Reader",
    "Seal",
    "SignedHead",
    "SyncMark",
    "Tombstone",
]

FORMAT: Final = 1
"""The version of the format, which a head names."""
NONE: Final = bytes(32)

Policy: TypeAlias = Literal["block", "drop_oldest", "drop_by_priority", "thin"]
POLICIES: Final[tuple[Policy, ...]] = ("block", "drop_oldest", "drop_by_priority", "thin")
SyncPolicy: TypeAlias = Literal["always", "interval", "never"]
SYNCS: Final[tuple[SyncPolicy, ...]] = ("always", "interval", "never")


class FrameKind(enum.IntEnum):
    """The first byte of a frame's header; who does not know one from 128 on passes over it."""

    HEAD = 1
    SCHEMA = 2
    ENTRY = 3
    TOMBSTONE = 4
    GAP = 5
    SYNC = 6
    SEAL = 7
    FLOOR = 8
    READER = 9
    SIGNED = 10


CONTENT: Final = frozenset({FrameKind.SCHEMA, FrameKind.ENTRY, FrameKind.TOMBSTONE})
"""The frames that a hash chain covers and encryption hides."""

_HEAD: Final = struct.Struct("<HBBQQqq16s16s16s32s")
_MARK: Final = struct.Struct("<QQ")
_TOMB: Final = struct.Struct("<B32sQ")
_FLOOR: Final = struct.Struct("<Q32s")
_READER: Final = struct.Struct("<QqqB")
_SIGNED: Final = struct.Struct("<QQq32s32s64s")
_COUNT: Final = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class Head:
    """The first frame of a segment.

    `first` is the sequence of its first entry, `previous` the number of the segment before (-1:
    none), which ends before `first` whatever else stands in it. `identity` (16 bytes) is never
    used twice, `key` (16 bytes) names the key of an encrypted one, `chain` is the chain's value
    before the first frame. `clock` is µs.
    """

    epoch: int
    first: int
    previous: int
    clock: int
    flow: bytes
    identity: bytes
    sync: SyncPolicy = "interval"
    encrypted: bool = False
    chained: bool = False
    key: bytes = NONE[:16]
    chain: bytes = NONE

    def encode(self) -> bytes:
        """The payload of its frame."""
        flags = self.encrypted | self.chained << 1
        return _packed(
            _HEAD, FORMAT, SYNCS.index(self.sync), flags, self.epoch, self.first, self.previous,
            self.clock, self.flow, self.identity, self.key, self.chain,
        )  # fmt: skip

    @classmethod
    def decode(cls, payload: bytes) -> Head:
        """Raises `FormatError`, also for a version not known here."""
        fields = _unpacked(_HEAD, payload, "head of a segment")
        version, sync, flags, epoch, first, previous, clock, flow, identity, key, chain = fields
        if version != FORMAT:
            raise FormatError(
                f"the journal has format {version}, and this version reads {FORMAT}; use the "
                "version of Headwater that wrote it"
            )
        if sync >= len(SYNCS) or flags > 3 or previous < -1:
            raise FormatError("the head of a segment holds what no version writes")
        return cls(
            epoch, first, previous, clock, flow, identity, SYNCS[sync],
            bool(flags & 1), bool(flags & 2), key, chain,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seal:
    """Nothing follows in this segment.

    `following` is the sequence after its last entry. `successors` are the file of the next
    segment, or (`final`) the journals that go on where this one ends.
    """

    following: int
    successors: tuple[str, ...]
    final: bool = False

    def encode(self) -> bytes:
        """The payload of its frame."""
        names = [name.encode() for name in self.successors]
        parts = [_packed(_MARK, self.following, self.final)]
        parts += [_packed(_COUNT, len(name)) + name for name in names]
        return b"".join(parts)

    @classmethod
    def decode(cls, payload: bytes) -> Seal:
        """Raises `FormatError`."""
        following, final = _unpacked(_MARK, payload[: _MARK.size], "seal")
        names, at = [], _MARK.size
        while at < len(payload):
            (size,) = _unpacked(_COUNT, payload[at : at + 2], "seal")
            at += 2 + size
            if at > len(payload):
                raise FormatError("a seal ends inside a name")
            names.append(_text(payload[at - size : at]))
        return cls(following, tuple(names), bool(final))


@dataclass(frozen=True, slots=True)
class SyncMark:
    """All before byte `offset` of this segment is synced, and so are entries before `following`."""

    following: int
    offset: int

    def encode(self) -> bytes:
        """The payload of its frame."""
        return _packed(_MARK, self.following, self.offset)

    @classmethod
    def decode(cls, payload: bytes) -> SyncMark:
        """Raises `FormatError`."""
        return cls(*_unpacked(_MARK, payload, "sync mark"))


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What a drop policy left of an entry: all but its body, of which the SHA-256 and length."""

    entry: Entry
    policy: Policy
    digest: bytes
    size: int

    def encode(self) -> bytes:
        """The payload of its frame."""
        first = _packed(_TOMB, POLICIES.index(self.policy), self.digest, self.size)
        return first + encode_entry(self.entry)

    @classmethod
    def decode(cls, payload: bytes) -> Tombstone:
        """Raises `FormatError`."""
        policy, digest, size = _unpacked(_TOMB, payload[: _TOMB.size], "tombstone")
        if policy >= len(POLICIES):
            raise FormatError("a tombstone is of an unknown policy")
        return cls(decode_entry(payload[_TOMB.size :]), POLICIES[policy], digest, size)


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries `first` to `last` were lost to damage, and it was decided to go on without."""

    first: int
    last: int
    reason: str

    def encode(self) -> bytes:
        """The payload of its frame."""
        return _packed(_MARK, self.first, self.last) + self.reason.encode()

    @classmethod
    def decode(cls, payload: bytes) -> Gap:
        """Raises `FormatError`."""
        first, last = _unpacked(_MARK, payload[: _MARK.size], "gap")
        if first > last:
            raise FormatError("a gap ends before it begins")
        return cls(first, last, _text(payload[_MARK.size :]))


@dataclass(frozen=True, slots=True)
class Floor:
    """Entries before `first` were trimmed; `chain` is the chain's value there."""

    first: int
    chain: bytes = NONE

    def encode(self) -> bytes:
        """The payload of its frame."""
        return _packed(_FLOOR, self.first, self.chain)

    @classmethod
    def decode(cls, payload: bytes) -> Floor:
        """Raises `FormatError`."""
        return cls(*_unpacked(_FLOOR, payload, "floor"))


@dataclass(frozen=True, slots=True)
class Reader:
    """How far a reader got: the last sequence that it has applied, and holds durably (-1: none).

    `epoch` is that of the entry it applied last. The stage that writes the journal is a reader
    too, the `owner`: its `durable` is its snapshot, and of what follows it needs the headers.
    """

    name: str
    epoch: int = 0
    applied: int = -1
    durable: int = -1
    owner: bool = False

    def encode(self) -> bytes:
        """The payload of its frame."""
        fixed = _packed(_READER, self.epoch, self.applied, self.durable, self.owner)
        return fixed + self.name.encode()

    @classmethod
    def decode(cls, payload: bytes) -> Reader:
        """Raises `FormatError`."""
        fixed = _unpacked(_READER, payload[: _READER.size], "reader's position")
        epoch, applied, durable, owner = fixed
        if not -1 <= durable <= applied:
            raise FormatError("a reader's position is durable beyond what was applied")
        return cls(_text(payload[_READER.size :]), epoch, applied, durable, bool(owner))


@dataclass(frozen=True, slots=True)
class SignedHead:
    """What the chain was before entry `following`, signed with Ed25519."""

    epoch: int
    following: int
    clock: int
    chain: bytes
    public: bytes
    signature: bytes = bytes(64)

    def signed(self) -> bytes:
        """The bytes that the signature is of."""
        return b"headwater journal head\0" + self.encode()[: _SIGNED.size - 64]

    def encode(self) -> bytes:
        """The payload of its frame."""
        return _packed(
            _SIGNED, self.epoch, self.following, self.clock, self.chain, self.public, self.signature
        )

    @classmethod
    def decode(cls, payload: bytes) -> SignedHead:
        """Raises `FormatError`."""
        return cls(*_unpacked(_SIGNED, payload, "signed head"))


def _packed(form: struct.Struct, *fields: Any) -> bytes:
    try:
        return form.pack(*fields)
    except struct.error as error:
        raise FormatError(f"a value does not fit its field: {error}") from error


def _unpacked(form: struct.Struct, payload: bytes, what: str) -> tuple[Any, ...]:
    try:
        return form.unpack(payload)
    except struct.error as error:
        raise FormatError(f"the {what} has the wrong length") from error


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError("a name is not UTF-8") from error
