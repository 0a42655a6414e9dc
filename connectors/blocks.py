"""Where the bytes of a stream come from: a file, a gzip stream, a member of a zip archive."""

from __future__ import annotations

import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..flows.connector import Signal
from ..flows.errors import ConnectorError
from .patterns import Found

__all__ = ["BLOCK", "Blocks", "Damage", "FileBlocks", "checked_start"]

BLOCK = 2**22
"""How many bytes of text are read and parsed at a time."""

_PACKED = 2**16
_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_UTF8_MARK = b"\xef\xbb\xbf"


class Damage(Exception):
    """The stream breaks off here; if `ends`, nothing follows, else another stream does."""

    def __init__(self, reason: str, *, ends: bool) -> None:
        super().__init__(reason)
        self.ends = ends


class Blocks(ABC):
    """Gives a stream's bytes in order."""

    @abstractmethod
    def next(self) -> bytes | Signal:
        """Return the next bytes, at least one; raises `Damage` and `ConnectorError`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file; may be called more than once."""

    def stop(self) -> None:  # noqa: B027 - a file has nothing to do here
        """Take nothing more in; what was taken in can still be had."""

    def progress(self) -> float | None:
        """Return how much has been read, 0 to 1, if there is an end."""
        return None


class FileBlocks(Blocks):
    """Reads a file once, from its beginning to its end; raises `ConnectorError`."""

    def __init__(self, found: Found) -> None:
        self._name = found.name
        self._file: BinaryIO
        self._read: Callable[[int], bytes]
        try:
            self._file = Path(found.path).open("rb", buffering=0)  # noqa: SIM115 - kept open
            self._size = os.fstat(self._file.fileno()).st_size
            if found.member is not None:
                self._read = zipfile.ZipFile(self._file).open(found.member).read  # noqa: SIM115 - kept open
            elif self._starts_with_gzip():
                self._read = _Gunzip(self._file).read
            else:
                self._read = self._file.read
        except (OSError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
            raise ConnectorError(f"{found.name}: cannot be opened: {error}") from error
        self._first = True

    def _starts_with_gzip(self) -> bool:
        magic = self._file.read(2)
        self._file.seek(0)
        return magic == _GZIP

    def next(self) -> bytes | Signal:
        try:
            block: bytes = self._read(BLOCK)
        except (zlib.error, zipfile.BadZipFile, EOFError) as error:
            raise Damage(
                f"the compressed data is damaged or cut short: {error}", ends=True
            ) from error
        except OSError as error:
            raise ConnectorError(f"{self._name}: cannot be read: {error}") from error
        if self._first and block:
            self._first = False
            block = checked_start(block, self._name)
            return block or self.next()
        return block or Signal.END

    def progress(self) -> float | None:
        if self._file.closed or not self._size:
            return 1.0
        return min(1.0, self._file.tell() / self._size)

    def close(self) -> None:
        self._file.close()


class _Gunzip:
    """Decompresses a gzip file (RFC 1952), which may consist of several members.

    Of damaged data it gives what comes before the damage.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(wbits=31)
        self._packed = b""
        self._inside = False
        self._error: zlib.error | None = None

    def read(self, size: int) -> bytes:
        pieces: list[bytes] = []
        missing = size
        try:
            while missing > 0:
                piece = self._piece(missing)
                if not piece:
                    break
                pieces.append(piece)
                missing -= len(piece)
        except (EOFError, zlib.error):
            if not pieces:
                raise
        return b"".join(pieces)

    def _piece(self, size: int) -> bytes:
        while True:
            if self._error is not None:
                raise self._error
            if self._inflate.eof:
                self._packed = self._inflate.unused_data.lstrip(b"\0")
                self._inflate = zlib.decompressobj(wbits=31)
                self._inside = False
            if not self._packed:
                self._packed = self._file.read(_PACKED)
            if not self._packed and self._inside:
                piece = self._inflate.decompress(b"", size)
                if piece:
                    return piece
                raise EOFError("the end is missing")
            if not self._packed:
                return b""
            self._inside = True
            before = self._inflate.copy()
            try:
                piece = self._inflate.decompress(self._packed, size)
                self._packed = self._inflate.unconsumed_tail
            except zlib.error as error:
                self._error = error
                piece = _sound(before, self._packed)
            if piece:
                return piece


def _sound(inflate: zlib._Decompress, packed: bytes) -> bytes:
    """Return what comes before the damage, which loses its whole piece otherwise."""
    pieces: list[bytes] = []
    with suppress(zlib.error):
        for place in range(len(packed)):
            pieces.append(inflate.decompress(packed[place : place + 1]))
    return b"".join(pieces)


def checked_start(block: bytes, name: str) -> bytes:
    """Return a stream's first block without a UTF-8 mark; raises for UTF-16."""
    if block.startswith(_UTF16):
        raise ConnectorError(f"{name}: the text is UTF-16; convert it to UTF-8")
    return block.removeprefix(_UTF8_MARK)
