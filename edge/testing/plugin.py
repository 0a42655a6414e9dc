"""The pytest plugin: a fixture that makes benches, and failures that can be read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

# What this imports is loaded by every run of pytest where Headwater is installed.
if TYPE_CHECKING:
    from .bench import Bench

__all__ = ["headwater_bench"]

_BENCHES = pytest.StashKey[list[Any]]()


@pytest.fixture
def headwater_bench(request: pytest.FixtureRequest) -> Iterator[Callable[..., Bench]]:
    """Makes benches, ``headwater_bench(flow, ...)``, and closes them after the test."""
    from .bench import Bench

    made: list[Bench] = []
    request.node.stash[_BENCHES] = made

    def make(*arguments: Any, **options: Any) -> Bench:
        made.append(Bench(*arguments, **options))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show where the benches of a test stand that failed."""
    report = yield
    if report.when == "call" and report.failed:
        for bench in item.stash.get(_BENCHES, []):
            report.sections.append(("headwater bench", bench.describe()))
    return report


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Say row by row how two lists of events differ."""
    if op != "==" or "headwater.flows.event" not in sys.modules:
        return None
    if not isinstance(left, list) or not isinstance(right, list):
        return None
    from .showing import compared

    return compared(left, right)
