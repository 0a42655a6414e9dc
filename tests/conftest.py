"""Fixtures that more than one test file uses."""

from __future__ import annotations

import os
from types import ModuleType

import pytest
from hypothesis import settings

from . import components

# Machines here are noisy, so no example has a deadline; CI tries the same examples every time, so
# that what fails there fails here.
settings.register_profile("tests", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "needs(component): without it the test is skipped, and fails with CI=true"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            components.need(name)


@pytest.fixture(scope="session", params=components.KINDS)
def hashing(request: pytest.FixtureRequest) -> ModuleType:
    """The hashing kernel: the twin, then the compiled one."""
    return components.kernel("hashing", request.param)


@pytest.fixture(scope="session", params=components.KINDS)
def folding(request: pytest.FixtureRequest) -> ModuleType:
    """The folding kernel: the twin, then the compiled one."""
    return components.kernel("folding", request.param)
