"""Frames that show whether they are whole: the plain Python twin of `_framing`.

A frame is what a journal appends and a channel sends: a header and a body, with checks over every
byte. Integers are little-endian, h and b are lengths in bytes:

    offset    size  content
    0         4     magic: 89 48 57 46 (hexadecimal)
    4         2     version: 1
    6         2     reserved: 0
    8         4     h
    12        4     CRC32C of the header
    16        8     b
    24        4     CRC32C of the body
    28        4     CRC32C of the 28 bytes before
    32        h     header: any bytes
              0-63  zeros, up to a multiple of 64
              b     body: an Arrow IPC message or stream
              0-63  zeros, up to a multiple of 64

The first 32 bytes are the prologue. Its lengths are not believed before its CRC32C is right and
they are within the limits. A frame takes a multiple of 64 bytes, so that in memory that is aligned
to 64, as a mapped file is, all bodies are, and Arrow reads them where they are.

CRC32C (Castagnoli) is that of RFC 3720, appendix B.4. It finds every error of up to 32 bits in a
row, and all but one in 2**32 of others. It does not protect against intent.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

import pyarrow as pa

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAGIC: Final = b"\x89HWF"
VERSION: Final = 1
PROLOGUE: Final = 32
"""Bytes before the header."""
ALIGNMENT: Final = 64
"""Frames and bodies begin at a multiple of so many bytes from the first frame."""
MAX_HEADER: Final = 1 << 20
"""Bytes of a header, unless a caller says otherwise."""
MAX_BODY: Final = 1 << 30
"""Bytes of a body, unless a caller says otherwise."""

Reason: TypeAlias = Literal[
    "magic", "zeros", "prologue", "version", "length", "header", "body", "padding"
]
REASONS: Final[tuple[Reason, ...]] = (
    "magic", "zeros", "prologue", "version", "length", "header", "body", "padding",
)  # fmt: skip
"""What can be wrong with a frame.

    magic     no frame begins here
    zeros     likewise, and there is nothing but zeros up to the end of the data
    prologue  its CRC32C is wrong
    version   it is intact, of a version not known here, or its reserved bytes are not 0
    length    it is intact, and a length is over the limit
    header    the CRC32C of the header is wrong
    body      the CRC32C of the body is wrong
    padding   a byte that stands between is not 0
"""

_HEADER_LIMIT: Final = (1 << 32) - 1
_BODY_LIMIT: Final = 1 << 62
_CHECKED: Final = struct.Struct("<4sHHIIQI")
_WHOLE: Final = struct.Struct("<4sHHIIQII")
_NATIVE: Final = frozenset("cbB?hHiIlLqQnNfd")
_DICTIONARY: Final = pa.dictionary(pa.int8(), pa.null()).id
_EXTENSION: Final = pa.bool8().id
_POLYNOMIAL: Final = 0x82F63B78


class Ending(enum.Enum):
    """How a scan ended.

    END: the data ends after a whole frame, or has none. TORN: it ends inside a frame, and nothing
    that is there of it is wrong. CORRUPT: a frame is damaged. MORE: `max_frames` were found, and
    there are more bytes.
    """

    END = "end"
    TORN = "torn"
    CORRUPT = "corrupt"
    MORE = "more"


class Frame(NamedTuple):
    """A whole frame, as positions in the data; `end` is where the next one begins."""

    offset: int
    header_end: int
    body_start: int
    body_end: int
    end: int

    @property
    def header(self) -> slice:
        """Where the header stands: `data[frame.header]`."""
        return slice(self.offset + PROLOGUE, self.header_end)

    @property
    def body(self) -> slice:
        """Where the body stands: `data[frame.body]`, in place for a memoryview or Arrow buffer."""
        return slice(self.body_start, self.body_end)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan found: whole frames, one after the other, and how it ended, at `end`.

    `needed` (TORN) is how many bytes are missing: exactly, if the prologue is there; at least, if
    not. `reason` (CORRUPT) is what is wrong with the frame at `end`, and `resume` where the next
    intact prologue stands behind the damage, to scan on from. Without one (None), nothing that
    can be read follows: then the damage may be an append that a crash cut off.
    """

    frames: tuple[Frame, ...]
    ending: Ending
    end: int
    needed: int = 0
    reason: Reason | None = None
    resume: int | None = None


class _TornError(Exception):
    """The data ends before the frame does, by at least `needed` bytes."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.needed = needed


class _DamagedError(Exception):
    """A frame is damaged; none that is intact begins before `behind`."""

    def __init__(self, reason: Reason, behind: int) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.behind = behind


def crc32c(data: Buffer, start: int = 0) -> int:
    """The CRC32C of `data`, or of what has the CRC32C `start` with `data` after it.

    Raises TypeError for what is no buffer, BufferError for one that is not contiguous, and
    ValueError for a `start` outside 0 .. 2**32 - 1.
    """
    if not 0 <= start < 1 << 32:
        raise ValueError(f"start is in 0 .. 2**32 - 1, not {start}")
    crc = start ^ 0xFFFFFFFF
    for byte in view_of(data):
        crc = _TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def encode(
    header: Buffer,
    body: Buffer | Sequence[Buffer],
    *,
    max_header: int = MAX_HEADER,
    max_body: int = MAX_BODY,
) -> list[Buffer]:
    """The frame as buffers to be written one after the other, as `os.writev` does.

    The body is a buffer, or a list or tuple of buffers that follow one another; it is read once
    and not copied: what is given is what comes back, less what is empty. Raises ValueError for
    what is longer than its limit, and otherwise as `crc32c` does.
    """
    check_limits(max_header, max_body)
    head = view_of(header)
    parts: Sequence[Any] = body if isinstance(body, list | tuple) else [body]
    views = [view_of(part) for part in parts]
    size = sum(map(len, views))
    check_sizes(len(head), size, max_header, max_body)
    crc = 0
    for view in views:
        crc = crc32c(view, crc)
    fields = _CHECKED.pack(MAGIC, VERSION, 0, len(head), crc32c(head), size, crc)
    first = b"".join((fields, crc32c(fields).to_bytes(4, "little"), head))
    frame: list[Buffer] = [first + bytes(-len(first) % ALIGNMENT)]
    frame += [part for part, view in zip(parts, views, strict=True) if view]
    if size % ALIGNMENT:
        frame.append(bytes(-size % ALIGNMENT))
    return frame


def scan(
    data: Buffer,
    offset: int = 0,
    *,
    max_frames: int | None = None,
    max_header: int = MAX_HEADER,
    max_body: int = MAX_BODY,
) -> Scan:
    """The whole frames from `offset` on, and how they end; every byte is checked once.

    The data may hold anything. No more than `max_frames` are looked for: a frame takes 64 bytes
    at least. Raises ValueError for an `offset` outside of the data, limits below 0 and a
    `max_frames` below 1, and otherwise as `crc32c` does.
    """
    view = view_of(data)
    check_limits(max_header, max_body)
    check_range(offset, len(view), max_frames)
    frames: list[Frame] = []
    end = offset
    while end < len(view):
        if len(frames) == max_frames:
            return Scan(tuple(frames), Ending.MORE, end)
        try:
            frame = _frame_at(view, end, max_header, max_body)
        except _TornError as torn:
            return Scan(tuple(frames), Ending.TORN, end, torn.needed)
        except _DamagedError as damaged:
            resume = _prologue_from(view, damaged.behind)
            return Scan(tuple(frames), Ending.CORRUPT, end, 0, damaged.reason, resume)
        frames.append(frame)
        end = frame.end
    return Scan(tuple(frames), Ending.END, end)


def batch_body(batch: pa.RecordBatch) -> pa.Buffer:
    """A batch as the body of a frame: its IPC message, without the schema.

    If a column is dictionary-encoded, it is an IPC stream of the schema, the dictionaries and the
    batch. Custom metadata of the batch is not kept.
    """
    if not any(map(_has_dictionary, batch.schema.types)):
        return batch.serialize()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def batch_of(body: Buffer, schema: pa.Schema, *, full: bool = False) -> pa.RecordBatch:
    """The batch that `batch_body` made a body of, in place: it keeps `body` alive, and is its view.

    A message does not name its columns, so `schema` must be that of the batch; a stream is held to
    it. The lengths of buffers are checked; with `full` so is every value that points somewhere,
    and all text, as a body of doubtful origin needs. Raises ValueError for what is no such batch.
    """
    buffer = pa.py_buffer(body)
    try:
        message = pa.ipc.read_message(buffer)
        if message.type == "record batch":
            batch = pa.ipc.read_record_batch(message, schema)
        else:
            batch = _only_batch(buffer, schema)
        batch.validate(full=full)
    except (pa.ArrowException, OSError, EOFError) as error:
        raise ValueError(f"the body is no batch of the schema: {error}") from error
    return batch


def view_of(data: Buffer) -> memoryview:
    """The bytes of a buffer; raises TypeError for no buffer, BufferError if not contiguous."""
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("the buffer is not contiguous")
    if view.ndim == 1 and view.format in _NATIVE:
        return view.cast("B")
    return memoryview(view.tobytes())


def check_limits(max_header: int, max_body: int) -> None:
    """Raise ValueError unless the format can hold what is allowed."""
    if not 0 <= max_header <= _HEADER_LIMIT:
        raise ValueError(f"max_header is in 0 .. 2**32 - 1, not {max_header}")
    if not 0 <= max_body <= _BODY_LIMIT:
        raise ValueError(f"max_body is in 0 .. 2**62, not {max_body}")


def check_sizes(header: int, body: int, max_header: int, max_body: int) -> None:
    """Raise ValueError if a header or body has more bytes than its limit."""
    if header > max_header:
        raise ValueError(f"the header has {header} bytes, more than the limit of {max_header}")
    if body > max_body:
        raise ValueError(f"the body has {body} bytes, more than the limit of {max_body}")


def check_range(offset: int, size: int, max_frames: int | None) -> None:
    """Raise ValueError for an offset outside of the data, or a scan that may find nothing."""
    if not 0 <= offset <= size:
        raise ValueError(f"offset {offset} is outside of the data, which has {size} bytes")
    if max_frames is not None and max_frames < 1:
        raise ValueError(f"max_frames is at least 1, not {max_frames}")


def _frame_at(view: memoryview, at: int, max_header: int, max_body: int) -> Frame:
    """The frame at `at`, every byte of it checked; raises _TornError, _DamagedError."""
    there = len(view) - at
    prologue = view[at : at + PROLOGUE].tobytes()
    if prologue[:4] != MAGIC[:there]:
        zeros = not any(view[at:])
        raise _DamagedError("zeros" if zeros else "magic", len(view) if zeros else at + ALIGNMENT)
    if there < PROLOGUE:
        raise _TornError(ALIGNMENT - there)
    _, version, reserved, h, header_crc, b, body_crc, crc = _WHOLE.unpack(prologue)
    if crc32c(prologue[:28]) != crc:
        raise _DamagedError("prologue", at + ALIGNMENT)
    if version != VERSION or reserved:
        raise _DamagedError("version", at + ALIGNMENT)
    if h > max_header or b > max_body:
        raise _DamagedError("length", at + ALIGNMENT)
    header_end = at + PROLOGUE + h
    body_start = header_end + -(PROLOGUE + h) % ALIGNMENT
    body_end = body_start + b
    end = body_end + -b % ALIGNMENT
    if header_end <= len(view) and crc32c(view[at + PROLOGUE : header_end]) != header_crc:
        raise _DamagedError("header", end)
    if any(view[header_end:body_start]):
        raise _DamagedError("padding", end)
    if body_end <= len(view) and crc32c(view[body_start:body_end]) != body_crc:
        raise _DamagedError("body", end)
    if any(view[body_end:end]):
        raise _DamagedError("padding", end)
    if end > len(view):
        raise _TornError(end - len(view))
    return Frame(at, header_end, body_start, body_end, end)


def _prologue_from(view: memoryview, at: int) -> int | None:
    """The first place from `at` on, in steps of 64, where an intact prologue stands."""
    for place in range(at, len(view) - PROLOGUE + 1, ALIGNMENT):
        magic, *_, crc = _WHOLE.unpack_from(view, place)
        if magic == MAGIC and crc == crc32c(view[place : place + 28]):
            return place
    return None


def _only_batch(buffer: pa.Buffer, schema: pa.Schema) -> pa.RecordBatch:
    """The batch of an IPC stream that has one; raises ValueError."""
    with pa.ipc.open_stream(buffer) as reader:
        if not reader.schema.equals(schema):
            raise ValueError(f"the body is no batch of the schema: it has {reader.schema}")
        batches = list(islice(reader, 2))
    if len(batches) != 1:
        raise ValueError("the body is no batch of the schema: it is a stream of none or several")
    return batches[0]


def _has_dictionary(kind: pa.DataType) -> bool:
    """Whether values of the type are kept in a dictionary, at any depth."""
    if kind.id == _EXTENSION:
        return _has_dictionary(kind.storage_type)
    if not kind.num_fields:
        return bool(kind.id == _DICTIONARY)
    return any(_has_dictionary(kind.field(place).type) for place in range(kind.num_fields))


def _remainder(byte: int) -> int:
    """What a byte leaves after eight steps of division by the polynomial, reflected."""
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE: Final = tuple(map(_remainder, range(256)))
