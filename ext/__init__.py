"""Kernels over Arrow buffers: stable hashes and key groups, incremental aggregates.

Each kernel is a plain Python twin, whose docstring is the contract, and a Cython module with a
stub; here one of the two is selected. `HEADWATER_PURE=1` in the environment selects the twins;
`HEADWATER_REQUIRE_EXT=1` makes the import raise ImportError rather than select them. A compiled
module that is there but does not load is an error, never a silent fall back.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Final

from .accumulators import WindowPart
from .framing import Ending, Frame, Scan, batch_body, batch_of

_KERNELS = (
    "_folding",
    "_framing",
    "_hashing",
    "_jsondecoding",
    "_jsonencoding",
    "_marking",
    "_partitioning",
    "_records",
    "_windowing",
)
_BUILT = all(find_spec(f"{__name__}.{name}") for name in _KERNELS)

COMPILED: Final = _BUILT and os.environ.get("HEADWATER_PURE") != "1"
"""Whether the compiled kernels are in use, not their Python twins."""

if not COMPILED and os.environ.get("HEADWATER_REQUIRE_EXT") == "1":
    raise ImportError(
        "HEADWATER_REQUIRE_EXT=1, but the compiled kernels are "
        + ("switched off by HEADWATER_PURE=1" if _BUILT else "not built")
    )

if COMPILED:
    from ._folding import fold_count, fold_max, fold_min, fold_moments, fold_sum
    from ._framing import crc32c
    from ._framing import encode as encode_frame
    from ._framing import scan as scan_frames
    from ._hashing import key_groups, key_owners, row_hashes
    from ._jsondecoding import JsonDecoder
    from ._jsonencoding import encodable, encode_lines, write_lines
    from ._marking import watermarks
    from ._partitioning import kafka_partitions, murmur2, split
    from ._records import (
        RecordPlan,
        RecordReader,
        RecordWriter,
        call_each,
        install_constructor,
        install_replace,
    )
    from ._windowing import WindowTable
else:
    from .folding import fold_count, fold_max, fold_min, fold_moments, fold_sum
    from .framing import crc32c
    from .framing import encode as encode_frame
    from .framing import scan as scan_frames
    from .hashing import key_groups, key_owners, row_hashes
    from .jsondecoding import JsonDecoder
    from .jsonencoding import encodable, encode_lines, write_lines
    from .marking import watermarks
    from .partitioning import kafka_partitions, murmur2, split
    from .records import (
        RecordPlan,
        RecordReader,
        RecordWriter,
        call_each,
        install_constructor,
        install_replace,
    )
    from .windowing import WindowTable

__all__ = [
    "COMPILED",
    "Ending",
    "Frame",
    "JsonDecoder",
    "RecordPlan",
    "RecordReader",
    "RecordWriter",
    "Scan",
    "WindowPart",
    "WindowTable",
    "batch_body",
    "batch_of",
    "call_each",
    "crc32c",
    "encodable",
    "encode_frame",
    "encode_lines",
    "fold_count",
    "fold_max",
    "fold_min",
    "fold_moments",
    "fold_sum",
    "install_constructor",
    "install_replace",
    "kafka_partitions",
    "key_groups",
    "key_owners",
    "murmur2",
    "row_hashes",
    "scan_frames",
    "split",
    "watermarks",
    "write_lines",
]
