"""Components that a machine may lack: a test that needs one is skipped, and says which.

    @pytest.mark.needs("cryptography")          over a test; `conftest.py` acts on it
    components.need("cryptography")             within one
    components.kernel("hashing", "compiled")    in a fixture over `components.KINDS`

With CI set nothing may be missing, and the test fails; so it does for want of a kernel with
HEADWATER_REQUIRE_EXT=1.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import Final, NoReturn

import pytest

from headwater.ext import COMPILED

__all__ = ["KINDS", "kernel", "lack", "need"]

KINDS: Final = ("python", "compiled")
"""A kernel's twin, and the kernel itself."""
_BUILD: Final = "build it with `pip install -e .`"
_HOW: Final = {
    "cryptography": "pip install 'headwater[crypto]'",
    "pty": "it is a part of Python on POSIX",
}


def need(name: str) -> None:
    """Go on if there is a component: `kernels`, `cryptography` or `pty`."""
    if name != "kernels":
        _module(name, _HOW[name])
    elif os.environ.get("HEADWATER_PURE") == "1":
        pytest.skip("the compiled kernels are switched off: HEADWATER_PURE=1")
    elif not COMPILED:
        lack("headwater.ext._*", _BUILD, required=_kernels_required())


def kernel(name: str, kind: str = "compiled") -> ModuleType:
    """The module of a kernel, or its twin."""
    if kind == "python":
        return import_module(f"headwater.ext.{name}")
    return _module(f"headwater.ext._{name}", _BUILD, required=_kernels_required())


def _module(name: str, how: str, *, required: bool = False) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
    lack(name, how, required=required)


def lack(name: str, how: str, *, required: bool = False) -> NoReturn:
    """Skip a test for want of something, by name; fail if it is required."""
    if required or os.environ.get("CI"):
        pytest.fail(f"{name} is missing, and is required here: {how}", pytrace=False)
    pytest.skip(f"{name} is missing: {how}")


def _kernels_required() -> bool:
    return os.environ.get("HEADWATER_REQUIRE_EXT") == "1"
