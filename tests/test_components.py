"""What a missing component does to the tests that need it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import components

TESTS = Path(__file__).parent
HIDDEN = ("cryptography", "headwater.ext._marking", "pty")
CHOSEN = ("test_journal_command.py", "test_ext_marking.py", "test_command_run.py")
WORDS = "needs_its_key or (may_be_datetimes and compiled) or on_a_terminal"
HIDE = """
import sys, pytest
sys.modules.update(dict.fromkeys({hidden!r}))
sys.exit(pytest.main({args!r}))
"""


def summary(**environment: str) -> tuple[int, list[str]]:
    """How one test for each of `HIDDEN` ends without it: the code, and the lines at the end."""
    args = [*(str(TESTS / file) for file in CHOSEN), "-k", WORDS, "-q", "-p", "no:cacheprovider"]
    kept = {k: v for k, v in os.environ.items() if k not in ("CI", "HEADWATER_REQUIRE_EXT")}
    done = subprocess.run(
        [sys.executable, "-c", HIDE.format(hidden=HIDDEN, args=args)],
        cwd=TESTS.parent,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    return done.returncode, [line for line in lines if line.startswith(("SKIPPED", "ERROR "))]


def test_a_test_without_its_component_is_skipped_and_names_it() -> None:
    code, lines = summary()
    assert (0, len(HIDDEN)) == (code, len(lines)), lines
    for name in HIDDEN:
        assert [True] == [line.startswith("SKIPPED") for line in lines if f"{name} is mis" in line]


def test_in_ci_it_fails() -> None:
    code, lines = summary(CI="true")
    assert (1, len(HIDDEN)) == (code, len(lines)), lines
    for name in HIDDEN:
        assert [True] == [line.startswith("ERROR") for line in lines if f"{name} is mis" in line]


def test_a_kernel_may_be_required_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("HEADWATER_REQUIRE_EXT", "1")
    with pytest.raises(pytest.fail.Exception, match=r"headwater\.ext\._none is missing"):
        components.kernel("none")
    monkeypatch.setenv("HEADWATER_REQUIRE_EXT", "0")
    with pytest.raises(pytest.skip.Exception, match=r"headwater\.ext\._none is missing"):
        components.kernel("none")


def test_kernels_may_be_switched_off_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("HEADWATER_PURE", "1")
    with pytest.raises(pytest.skip.Exception, match="switched off: HEADWATER_PURE=1"):
        components.need("kernels")
