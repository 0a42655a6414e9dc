"""What stands around the payload of every frame: its kind, compression, encryption, the chain.

The header of a frame is an envelope of 16 bytes, the payload, and (chained) the value of the chain
before the frame. Encrypted, all but the envelope is hidden, and the envelope is authenticated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import pyarrow as pa

from ...ext import encode_frame
from .errors import FormatError, KeyMissingError
from .records import CONTENT, FrameKind

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Cipher",
    "Coder",
    "Compression",
    "Header",
    "Keyring",
    "linked",
    "open_body",
    "open_header",
]

Compression: TypeAlias = Literal["zstd", "lz4"]
CODECS: Final[tuple[Compression | None, ...]] = (None, "zstd", "lz4")
MAX_BODY: Final = 1 << 30
"""Bytes of a body before compression."""

_ENVELOPE: Final = struct.Struct("<BBBBIQ")
_VERSION: Final = 1
_ENCRYPTED: Final = 1
_CHAINED: Final = 2
_LINK: Final = 32
_SKIPPABLE: Final = 128


class Cipher(Protocol):
    """Hides the frames of one segment, with a key that no other segment has."""

    def close(self, number: int, part: int, data: bytes, beside: bytes) -> bytes:
        """Encrypt part 0 (header) or 1 (body) of frame `number`; vouch for `beside`."""
        ...

    def open(self, number: int, part: int, data: bytes, beside: bytes) -> bytes:
        """Decrypt; raises `FormatError` if anything was changed."""
        ...


class Keyring(Protocol):
    """The keys of journals at rest."""

    @property
    def current(self) -> bytes:
        """The id (16 bytes) of the key that new segments are encrypted with."""
        ...

    def cipher(self, key: bytes, identity: bytes) -> Cipher:
        """The cipher of the segment `identity`, by the key of that id; raises `KeyMissingError`."""
        ...


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a frame, opened.

    `kind` is None for a kind that may be passed over; `link` is the chain's value before it.
    """

    kind: FrameKind | None
    codec: Compression | None
    encrypted: bool
    number: int
    size: int
    payload: bytes
    link: bytes | None
    beside: bytes


@dataclass(slots=True)
class Coder:
    """Makes the frames of one segment, numbered from 0.

    No number is used twice, also for a frame that was not written in the end: with it, a cipher
    makes its nonce. `chain` is the value of the chain after the last content frame.
    """

    codec: Compression | None = None
    cipher: Cipher | None = None
    chain: bytes | None = None
    number: int = 0
    _packer: pa.Codec | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._packer = pa.Codec(self.codec) if self.codec else None

    def frame(self, kind: FrameKind, payload: bytes, body: Buffer = b"") -> list[Buffer]:
        """The buffers of a frame, to be written one after the other."""
        content = kind in CONTENT
        size = memoryview(body).nbytes
        codec, kept = 0, body
        if self._packer is not None and size:
            packed = self._packer.compress(body)
            if packed.size < size:
                codec, kept = CODECS.index(self.codec), packed
        cipher = self.cipher if content else None
        chained = content and self.chain is not None
        flags = (_ENCRYPTED if cipher else 0) | (_CHAINED if chained else 0)
        beside = _ENVELOPE.pack(kind, _VERSION, codec, flags, self.number, size)
        inner = payload
        if chained:
            assert self.chain is not None
            inner = payload + self.chain
            self.chain = linked(self.chain, kind, payload, body)
        if cipher:
            inner = cipher.close(self.number, 0, inner, beside)
            if size:
                kept = cipher.close(self.number, 1, bytes(kept), beside + inner[-16:])
        self.number += 1
        return encode_frame(beside + inner, kept)


def linked(chain: bytes, kind: FrameKind, payload: bytes, body: Buffer) -> bytes:
    """The value of the chain after a content frame; a tombstone has that of its entry."""
    if kind is FrameKind.TOMBSTONE:
        digest, payload, kind = payload[1:33], payload[41:], FrameKind.ENTRY
    else:
        digest = sha256(body).digest()
    return sha256(chain + bytes((kind,)) + sha256(payload).digest() + digest).digest()


def open_header(data: bytes, cipher: Cipher | None) -> Header:
    """Open the header of a whole frame, which may hold anything.

    Raises `FormatError`, and `KeyMissingError` if it is encrypted and there is no cipher.
    """
    if len(data) < _ENVELOPE.size:
        raise FormatError("a header is shorter than its envelope")
    beside = data[: _ENVELOPE.size]
    kind, version, codec, flags, number, size = _ENVELOPE.unpack(beside)
    if kind >= _SKIPPABLE:
        return Header(None, None, False, number, size, b"", None, beside)
    if version != _VERSION or kind not in _KINDS:
        raise FormatError(f"a frame is of kind {kind}, version {version}, which is not known here")
    if codec >= len(CODECS) or flags > (_ENCRYPTED | _CHAINED) or size > MAX_BODY:
        raise FormatError("an envelope holds what no version writes")
    inner = data[_ENVELOPE.size :]
    if flags & _ENCRYPTED:
        if cipher is None:
            raise KeyMissingError("the journal is encrypted, and no key was given")
        beside += inner[-16:]
        inner = cipher.open(number, 0, inner, beside[: _ENVELOPE.size])
    link = None
    if flags & _CHAINED:
        if len(inner) < _LINK:
            raise FormatError("a header ends inside the chain's value")
        inner, link = inner[:-_LINK], inner[-_LINK:]
    encrypted = bool(flags & _ENCRYPTED)
    return Header(_KINDS[kind], CODECS[codec], encrypted, number, size, inner, link, beside)


_KINDS: Final = {int(kind): kind for kind in FrameKind}


def open_body(header: Header, body: Buffer, cipher: Cipher | None) -> Buffer:
    """The body of a frame as it was given: in place, unless it is encrypted or compressed."""
    kept: Buffer = body
    if header.encrypted and memoryview(body).nbytes:
        if cipher is None:
            raise KeyMissingError("the journal is encrypted, and no key was given")
        kept = cipher.open(header.number, 1, bytes(body), header.beside)
    if header.codec:
        try:
            kept = pa.Codec(header.codec).decompress(kept, header.size)
        except (pa.ArrowException, OSError, MemoryError) as error:
            raise FormatError(f"a body does not decompress: {error}") from error
    if memoryview(kept).nbytes != header.size:
        raise FormatError("a body has not the length that its header says")
    return kept
