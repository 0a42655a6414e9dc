"""Keys of journals: AES-256-GCM for what is at rest, Ed25519 for the signed head.

Both need the package ``cryptography``: ``pip install 'headwater[crypto]'``.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol

from ..flows.journal.envelope import Cipher
from ..flows.journal.errors import FormatError, JournalError, KeyMissingError
from ..flows.journal.records import SignedHead

__all__ = ["Keys", "Signer", "key_from", "public_key_from", "signed_by"]

_NONCE: Final = struct.Struct("<QI")
_SIZE: Final = 32


class _Aead(Protocol):
    """What `AESGCM` is used for."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class _SegmentCipher:
    """AES-256-GCM by a key of the segment's own, the number of frame and part as nonce.

    The key is derived from the segment's identity by HKDF-SHA256 (RFC 5869), so that a nonce is
    never used twice with one key: an identity is random, and within it numbers only rise.
    """

    __slots__ = ("_aead", "_invalid")

    def __init__(self, key: bytes, identity: bytes) -> None:
        crypto = _crypto()
        derived = crypto.HKDF(
            algorithm=crypto.SHA256(),
            length=_SIZE,
            salt=identity,
            info=b"headwater journal segment",
        ).derive(key)
        self._aead: _Aead = crypto.AESGCM(derived)
        self._invalid: type[Exception] = crypto.InvalidTag

    def close(self, number: int, part: int, data: bytes, beside: bytes) -> bytes:
        return self._aead.encrypt(_NONCE.pack(number, part), data, beside)

    def open(self, number: int, part: int, data: bytes, beside: bytes) -> bytes:
        try:
            return self._aead.decrypt(_NONCE.pack(number, part), data, beside)
        except (self._invalid, ValueError) as error:
            raise FormatError(
                "a frame does not decrypt: it was altered, or the key is another"
            ) from error


class Keys:
    """Keys of 32 bytes: the first encrypts, all decrypt, so that a key can be replaced.

    Raises `KeyMissingError` if the package is not installed, `JournalError` for a wrong length.
    """

    __slots__ = ("_keys", "current")

    def __init__(self, keys: Sequence[bytes]) -> None:
        _crypto()
        if not keys or any(len(key) != _SIZE for key in keys):
            raise JournalError(
                "a journal's key has 32 bytes: make one with `openssl rand -base64 32`"
            )
        self._keys = {key_id(key): key for key in keys}
        self.current = key_id(keys[0])
        """The id of the key that new segments are encrypted with."""

    def cipher(self, key: bytes, identity: bytes) -> Cipher:
        """The cipher of a segment; raises `KeyMissingError`."""
        found = self._keys.get(key)
        if found is None:
            raise KeyMissingError(
                f"the journal is encrypted with the key {key.hex()}, which is not among those given"
            )
        return _SegmentCipher(found, identity)


class Signer:
    """Signs heads with an Ed25519 key, given as its 32 private bytes."""

    __slots__ = ("_key", "public")

    def __init__(self, private: bytes) -> None:
        crypto = _crypto()
        if len(private) != _SIZE:
            raise JournalError("a private key of Ed25519 has 32 bytes")
        self._key: Any = crypto.Ed25519PrivateKey.from_private_bytes(private)
        self.public: bytes = self._key.public_key().public_bytes_raw()
        """The public key: 32 bytes."""

    def sign(self, data: bytes) -> bytes:
        """The signature: 64 bytes."""
        signature: bytes = self._key.sign(data)
        return signature


def signed_by(head: SignedHead, public: bytes) -> bool:
    """Whether a head was signed with the private key of `public`."""
    crypto = _crypto()
    if len(public) != _SIZE:
        raise JournalError("a public key of Ed25519 has 32 bytes")
    try:
        crypto.Ed25519PublicKey.from_public_bytes(public).verify(head.signature, head.signed())
    except crypto.InvalidSignature:
        return False
    return head.public == public


def key_id(key: bytes) -> bytes:
    """The id of a key: 16 bytes that do not tell the key."""
    return sha256(b"headwater journal key\0" + key).digest()[:16]


def key_from(text: str) -> bytes:
    """A key of 32 bytes from base64 or hexadecimal text; raises `JournalError`."""
    text = text.strip()
    try:
        found = (
            bytes.fromhex(text) if len(text) == 2 * _SIZE else base64.b64decode(text, validate=True)
        )
    except (ValueError, binascii.Error):
        found = b""
    if len(found) != _SIZE:
        raise JournalError("a key is 32 bytes, written as base64 or as 64 hexadecimal digits")
    return found


def public_key_from(path: Path) -> bytes:
    """A public key from a file: PEM, base64 or hexadecimal; raises `JournalError`."""
    try:
        text = path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise JournalError(f"{path}: cannot be read as a public key: {error}") from error
    if "BEGIN PUBLIC KEY" not in text:
        return key_from(text)
    crypto = _crypto()
    try:
        found: bytes = crypto.load_pem_public_key(text.encode()).public_bytes_raw()
    except (ValueError, AttributeError, crypto.UnsupportedAlgorithm) as error:
        raise JournalError(f"{path}: is no public key of Ed25519") from error
    return found


class _Crypto:
    """What is used of the package, imported when first used."""

    def __init__(self) -> None:
        from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (
            Ed25519PrivateKey,
            Ed25519PublicKey,
        )
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        self.InvalidSignature, self.InvalidTag = InvalidSignature, InvalidTag
        self.UnsupportedAlgorithm = UnsupportedAlgorithm
        self.Ed25519PrivateKey, self.Ed25519PublicKey = Ed25519PrivateKey, Ed25519PublicKey
        self.AESGCM, self.SHA256, self.HKDF = AESGCM, SHA256, HKDF
        self.load_pem_public_key = load_pem_public_key


def _crypto() -> Any:
    try:
        return _Crypto()
    except ImportError as error:
        raise KeyMissingError(
            "encrypted and signed journals need the package cryptography: "
            "pip install 'headwater[crypto]'"
        ) from error
