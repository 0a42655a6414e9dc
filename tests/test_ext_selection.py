"""Which of the two kernels `headwater.ext` selects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headwater import ext

from . import components

TELL = "from headwater import ext; print(ext.COMPILED, ext.key_groups.__module__)"


def run(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_compiled_where_required() -> None:
    if os.environ.get("HEADWATER_REQUIRE_EXT") == "1":
        assert ext.COMPILED
    expected = "headwater.ext._hashing" if ext.COMPILED else "headwater.ext.hashing"
    assert expected == ext.key_groups.__module__


def test_pure_selects_the_twins(tmp_path: Path) -> None:
    done = run(TELL, tmp_path, HEADWATER_PURE="1")
    assert "False headwater.ext.hashing\n" == done.stdout


def test_required_but_switched_off(tmp_path: Path) -> None:
    done = run(TELL, tmp_path, HEADWATER_PURE="1", HEADWATER_REQUIRE_EXT="1")
    assert 1 == done.returncode
    assert "ImportError: HEADWATER_REQUIRE_EXT=1" in done.stderr


def test_twins_where_nothing_is_built(tmp_path: Path) -> None:
    hidden = "from importlib import util\nutil.find_spec = lambda name: None\n" + TELL
    assert "False headwater.ext.hashing\n" == run(hidden, tmp_path).stdout
    done = run(hidden, tmp_path, HEADWATER_REQUIRE_EXT="1")
    assert "ImportError: HEADWATER_REQUIRE_EXT=1, but" in done.stderr


@pytest.mark.parametrize("name", ["hashing", "folding"])
def test_twins_have_the_same_public_names(name: str) -> None:
    twin, compiled = components.kernel(name, "python"), components.kernel(name)
    public = [n for n in ext.__all__ if getattr(twin, n, None) is not None]
    assert public
    for function in public:
        assert callable(getattr(compiled, function))
        assert getattr(compiled, function).__doc__
