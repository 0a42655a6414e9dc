from collections.abc import Sequence

from typing_extensions import Buffer

from .framing import Scan

def crc32c(data: Buffer, start: int = 0) -> int: ...
def encode(
    header: Buffer,
    body: Buffer | Sequence[Buffer],
    *,
    max_header: int = ...,
    max_body: int = ...,
) -> list[Buffer]: ...
def scan(
    data: Buffer,
    offset: int = 0,
    *,
    max_frames: int | None = None,
    max_header: int = ...,
    max_body: int = ...,
) -> Scan: ...
def ways() -> list[str]: ...
def crc32c_by(way: str, data: Buffer, start: int = 0) -> int: ...
