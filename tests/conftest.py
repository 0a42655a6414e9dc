"""Fixtures that more than one test file uses."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

import pytest
from hypothesis import settings

# Machines here are noisy, so no example has a deadline; CI tries the same examples every time, so
# that what fails there fails here.
settings.register_profile("tests", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("tests")


def _kernel(name: str, kind: str) -> ModuleType:
    if kind == "python":
        return import_module(f"headwater.ext.{name}")
    try:
        return import_module(f"headwater.ext._{name}")
    except ModuleNotFoundError as error:
        if os.environ.get("HEADWATER_REQUIRE_EXT") == "1":
            pytest.fail(f"HEADWATER_REQUIRE_EXT=1, but {error.name} is not built")
        pytest.skip(f"{error.name} is not built")


@pytest.fixture(scope="session", params=["python", "compiled"])
def hashing(request: pytest.FixtureRequest) -> ModuleType:
    """The hashing kernel: the twin, then the compiled one."""
    return _kernel("hashing", request.param)


@pytest.fixture(scope="session", params=["python", "compiled"])
def folding(request: pytest.FixtureRequest) -> ModuleType:
    """The folding kernel: the twin, then the compiled one."""
    return _kernel("folding", request.param)
