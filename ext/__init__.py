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

_BUILT = all(find_spec(f"{__name__}.{name}") for name in ("_folding", "_hashing", "_marking"))

COMPILED: Final = _BUILT and os.environ.get("HEADWATER_PURE") != "1"
"""Whether the compiled kernels are in use, not their Python twins."""

if not COMPILED and os.environ.get("HEADWATER_REQUIRE_EXT") == "1":
    raise ImportError(
        "HEADWATER_REQUIRE_EXT=1, but the compiled kernels are "
        + ("switched off by HEADWATER_PURE=1" if _BUILT else "not built")
    )

if COMPILED:
    from ._folding import fold_count, fold_max, fold_min, fold_moments, fold_sum
    from ._hashing import key_groups, row_hashes
    from ._marking import watermarks
else:
    from .folding import fold_count, fold_max, fold_min, fold_moments, fold_sum
    from .hashing import key_groups, row_hashes
    from .marking import watermarks

__all__ = [
    "COMPILED",
    "fold_count",
    "fold_max",
    "fold_min",
    "fold_moments",
    "fold_sum",
    "key_groups",
    "row_hashes",
    "watermarks",
]
