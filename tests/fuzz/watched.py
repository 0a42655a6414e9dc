"""Memory of which an over-read is seen, kernels that were built to see it, and how to ask for both.

A fence is seen by any build: behind it lies a page that must not be touched. Exact blocks of the
heap are watched by AddressSanitizer, in modules that were built with it.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import random
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pyarrow as pa

__all__ = ["Fence", "command_line", "heap_buffer", "loaded", "on_the_heap", "validity"]


class Fence:
    """Memory between two pages that must not be touched; `size` bytes are whole pages."""

    def __init__(self, size: int) -> None:
        page = mmap.PAGESIZE
        assert size % page == 0, size
        self._size = size
        self._memory = mmap.mmap(-1, self._size + 2 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        for place in (start, start + page + self._size):
            if protect(ctypes.c_void_p(place), ctypes.c_size_t(page), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self._room = memoryview(self._memory)[page : page + self._size]

    def put(self, data: bytes, *, low: bool = False) -> memoryview:
        """The data, right before the last page or, if `low`, right behind the first."""
        start = 0 if low else self._size - len(data)
        self._room[start : start + len(data)] = data
        return self._room[start : start + len(data)].toreadonly()


def on_the_heap(data: bytes) -> memoryview:
    """The data in a block of its size, without the zero that ends `bytes`."""
    block = (ctypes.c_ubyte * len(data)).from_buffer_copy(data)
    return memoryview(block).cast("B").toreadonly()


def heap_buffer(data: bytes) -> pa.Buffer:
    """The data in a block of its size, for an array of Arrow's."""
    return pa.py_buffer(on_the_heap(data))


def validity(chance: random.Random, rows: int) -> pa.Buffer | None:
    """Bits for the rows, or none."""
    return None if chance.random() < 0.5 else heap_buffer(chance.randbytes((rows + 7) // 8))


def command_line(what: str | None) -> argparse.Namespace:
    """How long to run, from which seed, and the folder of modules to try, if not the package's."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--modules", type=Path)
    return parser.parse_args()


def loaded(name: str, folder: Path | None) -> ModuleType:
    """A compiled kernel: that of the package, or one that was built elsewhere."""
    if folder is None:
        return import_module(f"headwater.ext.{name}")
    spec = spec_from_file_location(f"headwater.ext.{name}", next(folder.glob(f"{name}.*so")))
    assert spec is not None, folder
    assert spec.loader is not None, folder
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
