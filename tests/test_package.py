"""The package: its list of folders, its public names, who may import whom."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import pytest

import headwater

ROOT = Path(__file__).resolve().parent.parent
# A folder may import those that come before it.
ORDER = ("ext", "flows", "connectors", "edge")
SETUP = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
SOURCES = sorted(path for folder in ORDER for path in (ROOT / folder).rglob("*.py"))
OTHERS = sorted(
    path for folder in ("tests", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of every module that a file of the package imports, wherever it says so.

    Relative names are resolved: `from ..flows.graph import Graph` in `edge/hub.py` is
    `headwater.flows.graph.Graph`.
    """
    package = ["headwater", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            outer = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*outer, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{stem}.{alias.name}"


def run(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


def test_packages_are_those_on_disk() -> None:
    folders = {path.parent for path in SOURCES}
    names = {".".join(("headwater", *folder.relative_to(ROOT).parts)) for folder in folders}
    expected = sorted(names | {"headwater"})
    assert expected == SETUP["packages"]
    places = {name: "/".join(name.split(".")[1:]) or "." for name in expected}
    assert places == SETUP["package-dir"]
    assert [] == [name for name in places.values() if not (ROOT / name / "__init__.py").is_file()]


def test_kernels_are_those_on_disk() -> None:
    expected = sorted(f"ext/{path.name}" for path in (ROOT / "ext").glob("*.pyx"))
    assert expected == [source for module in SETUP["ext-modules"] for source in module["sources"]]
    for source in expected:
        assert (ROOT / source).with_suffix(".pyi").is_file()


@pytest.mark.parametrize("name", ["setup.py", "conftest.py", "tests/__init__.py"])
def test_files_that_must_not_be(name: str) -> None:
    """They would ship inside the package, or be taken for a part of it."""
    assert not (ROOT / name).exists()


def test_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == version("headwater") == headwater.__version__


def test_import_from_anywhere(tmp_path: Path) -> None:
    found = Path(run("import headwater; print(headwater.__file__)", tmp_path))
    assert found.resolve() == ROOT / "__init__.py"


def test_nothing_of_ours_has_a_bare_name(tmp_path: Path) -> None:
    """A user's own folder may be called `flows`."""
    code = (
        "from importlib.util import find_spec\n"
        f"for name in {(*ORDER, 'tests', 'examples', 'benchmarks')!r}:\n"
        "    spec = find_spec(name)\n"
        "    if spec: print(spec.origin, *spec.submodule_search_locations or ())\n"
    )
    assert str(ROOT) not in run(code, tmp_path)


def test_import_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); import headwater; dir(headwater)\n"
        "print(*sorted(n for n in set(sys.modules) - before if '__editable__' not in n))"
    )
    loaded = run(code, tmp_path).split()
    assert [] == [name for name in loaded if name.startswith("headwater.")]
    assert {"polars", "pyarrow", "pydantic", "asyncio"}.isdisjoint(loaded)


def test_all_is_sorted_and_complete() -> None:
    assert sorted(headwater.__all__) == headwater.__all__
    assert sorted({*headwater._HOMES, "__version__"}) == headwater.__all__
    assert set(headwater.__all__) <= set(dir(headwater))


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    shown = {
        alias.name: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert headwater._HOMES == shown


@pytest.mark.parametrize("name", headwater._HOMES)
def test_every_name_resolves(name: str) -> None:
    home = import_module(headwater._HOMES[name])
    assert getattr(home, name) is getattr(headwater, name)


def test_every_error_is_public() -> None:
    errors = import_module("headwater.flows.errors")
    assert set(errors.__all__) <= set(headwater.__all__)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="'headwater' has no attribute 'Flwo'"):
        headwater.Flwo  # type: ignore[attr-defined]  # noqa: B018  # the access is what is tested


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_point_inwards(path: Path) -> None:
    """edge -> connectors -> flows -> ext, and never the root, which imports them all."""
    own = ORDER.index(path.relative_to(ROOT).parts[0])
    for line, module in imports(path):
        parts = module.split(".")
        if parts[0] == "headwater":
            place = f"{name_of(path)}:{line} imports {module}"
            assert parts[1] in ORDER, place
            assert ORDER.index(parts[1]) <= own, place


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_of_ours_are_relative(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        tops = {name.split(".")[0] for name in names}
        assert tops.isdisjoint({"headwater", *ORDER}), f"{name_of(path)}: {tops}"


@pytest.mark.parametrize("path", OTHERS, ids=name_of)
def test_tests_and_examples_use_the_package(path: Path) -> None:
    for line, module in imports(path):
        assert module.split(".")[0] not in ORDER, f"{name_of(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", sorted((ROOT / "ext").glob("*.pyx")), ids=name_of)
def test_kernels_import_only_their_folder(path: Path) -> None:
    found = re.findall(r"^(?:from|import|cimport)\s+(\S+)", path.read_text("utf-8"), re.MULTILINE)
    assert found
    for module in found:
        assert not module.startswith(("..", "headwater")), module
        assert module.split(".")[0] not in ORDER


def test_the_suite_runs_on_what_was_asked_for() -> None:
    if os.environ.get("HEADWATER_REQUIRE_EXT") == "1":
        assert import_module("headwater.ext").COMPILED
