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

from .framing import Ending, Frame, Scan, batch_body, batch_of

_KERNELS = ("_folding", "_framing", "_hashing", "_jsondecoding", "_marking")
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
    from ._hashing import key_groups, row_hashes
    from ._jsondecoding import JsonDecoder
    from ._marking import watermarks
else:
    from .folding import fold_count, fold_max, fold_min, fold_moments, fold_sum
    from .framing import crc32c
    from .framing import encode as encode_frame
    from .framing import scan as scan_frames
    from .hashing import key_groups, row_hashes
    from .jsondecoding import JsonDecoder
    from .marking import watermarks

__all__ = [
    "COMPILED",
    "Ending",
    "Frame",
    "JsonDecoder",
    "Scan",
    "batch_body",
    "batch_of",
    "crc32c",
    "encode_frame",
    "fold_count",
    "fold_max",
    "fold_min",
    "fold_moments",
    "fold_sum",
    "key_groups",
    "row_hashes",
    "scan_frames",
    "watermarks",
]
