"""The documentation tells the truth: what it shows is run, what it names exists.

A fenced block follows a comment that says what it is:

    <!-- file: hot.py -->      is written to that file
    <!-- add: hot.py -->       is appended to it
    <!-- run -->               is a session: what follows ``$`` is run, the rest is what it prints
    <!-- run: exit 2 -->       likewise, and the last command ends with that code
    <!-- content: hot.jsonl --> is what that file holds now

``...`` in what is printed stands for any text within the line. Each chapter of the guide finds the
files of those before it.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import headwater as hw
from headwater.edge.command import app

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
CHAPTERS = (
    "install",
    "first-flow",
    "events",
    "streams",
    "time",
    "state",
    "joins",
    "bad-input",
    "settings",
    "running",
    "testing",
)
SHOWN = [
    ROOT / "README.md",
    *(DOCS / f"{name}.md" for name in ("comparison", "journal", "recovery", "replay")),
]
PAGES = sorted([*SHOWN, *DOCS.rglob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
CONNECTORS = ("files", "http", "stdio", "synthetic", "terminal", "conformance")
TRIED = ("python", "console", "json", "jsonl", "csv")
"""The languages of which no block of the guide is shown untried."""

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]+) -->\n)?^(?P<fence>```+)(?P<language>\w*)\n"
    r"(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\[[^\]]+\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, with the comment above it."""

    verb: str
    argument: str
    language: str
    text: str
    line: int


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text = page.read_text("utf-8")
    for found in _BLOCK.finditer(text):
        verb, _, argument = (found["mark"] or "").partition(":")
        line = text.count("\n", 0, found.start()) + 1
        yield Block(verb.strip(), argument.strip(), found["language"], found["text"], line)


def sessions(text: str) -> list[tuple[str, list[str]]]:
    """Return each command of a session with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def fits(expected: list[str], actual: list[str]) -> bool:
    """Whether lines are as shown, up to what ``...`` stands for."""
    patterns = [".*".join(map(re.escape, line.rstrip().split("..."))) for line in expected]
    return len(patterns) == len(actual) and all(
        re.fullmatch(pattern, line.rstrip()) for pattern, line in zip(patterns, actual, strict=True)
    )


@contextmanager
def forgotten(folder: Path) -> Iterator[None]:
    """Let what is loaded from `folder` within be forgotten, as when a process ends."""
    path, modules = list(sys.path), set(sys.modules)
    try:
        yield
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - modules:
            if str(folder) in (getattr(sys.modules[name], "__file__", None) or ""):
                del sys.modules[name]


def called(command: str, folder: Path) -> tuple[str, int]:
    """Run a command of a session in `folder`; return what it printed, and its exit code."""
    words = shlex.split(command)
    if words[0] == "headwater":
        with forgotten(folder):
            result = CliRunner().invoke(app, words[1:])
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.stdout + result.stderr, result.exit_code
    if words[0] == "cat":
        return "".join((folder / name).read_text("utf-8") for name in words[1:]), 0
    assert words[0] in ("pytest", "python"), f"no such command in a session: {command}"
    module = ["-m", "pytest", "-p", "no:cacheprovider"] if words[0] == "pytest" else []
    done = subprocess.run(
        [sys.executable, *module, *words[1:]],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout, done.returncode


def put(block: Block, folder: Path) -> None:
    """Write what a block says to its file."""
    path = folder / block.argument
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text("utf-8") if block.verb == "add" else ""
    path.write_text(before + block.text, "utf-8")


def follow(page: Path, folder: Path) -> int:
    """Do what a page says; return how many blocks were tried."""
    tried = 0
    for block in blocks_of(page):
        place = f"{page.name}:{block.line}"
        if block.verb in ("file", "add"):
            put(block, folder)
        elif block.verb == "content":
            content = (folder / block.argument).read_text("utf-8")
            assert fits(block.text.splitlines(), content.splitlines()), f"{place}:\n{content}"
        elif block.verb == "run":
            commands = sessions(block.text)
            for number, (command, shown) in enumerate(commands):
                printed, code = called(command, folder)
                wanted = block.argument.removeprefix("exit ") if block.argument else "0"
                last = number == len(commands) - 1
                assert (int(wanted) if last else 0) == code, f"{place}: {command}:\n{printed}"
                assert fits(shown, printed.splitlines()), f"{place}: {command}:\n{printed}"
        else:
            continue
        tried += 1
    return tried


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


# What is shown is run


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_of_the_guide_does_what_it_shows(chapter: str, folder: Path) -> None:
    for before in CHAPTERS[: CHAPTERS.index(chapter)]:
        for block in blocks_of(DOCS / "guide" / f"{before}.md"):
            if block.verb in ("file", "add"):
                put(block, folder)
    assert follow(DOCS / "guide" / f"{chapter}.md", folder) > 0


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_a_page_does_what_it_shows(page: Path, folder: Path) -> None:
    assert follow(page, folder) > 0


def test_every_chapter_is_in_the_guide() -> None:
    assert set(CHAPTERS) == {page.stem for page in (DOCS / "guide").glob("*.md")}


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_nothing_in_the_guide_is_shown_untried(chapter: str) -> None:
    blocks = blocks_of(DOCS / "guide" / f"{chapter}.md")
    assert [] == [b.line for b in blocks if b.language in TRIED and not b.verb]


def test_fits_tells_what_differs() -> None:
    assert fits(["done in ...s, 5 rows"], ["done in 0.1s, 5 rows"])
    assert not fits(["done in ...s, 5 rows"], ["done in 0.1s, 6 rows"])
    assert not fits(["a"], ["a", "b"])
    assert not fits(["a.c"], ["abc"])


# What is named exists


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_documentation_lead_somewhere(page: Path) -> None:
    for link in _LINK.finditer(page.read_text("utf-8")):
        target = link["target"].partition("#")[0]
        if target and "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_design_page_names_tests_that_exist() -> None:
    text = (DOCS / "design.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)\.py`", text))
    assert len(named) > 10
    assert set() == {name for name in named if not (ROOT / "tests" / f"{name}.py").exists()}
    functions = set(re.findall(r"`(test_\w+)`", text))
    defined = {
        node.name
        for path in (ROOT / "tests").glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert functions
    assert set() == functions - defined


def test_the_navigation_has_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    listed = set(re.findall(r"[\w/-]+\.md", text))
    assert listed == {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}


def test_the_readme_begins_with_what_to_run() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert 0 < text.index("make demo") < text.index("make test") < text.index("\n## ")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    named = set(re.findall(r"\bmake ([a-z]+)\b", text))
    assert set() == {name for name in named if not re.search(rf"(?m)^{name}:", makefile)}


def test_the_changelog_has_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


# What is public is described


def undescribed(name: str, value: Any) -> Iterator[str]:
    """Yield what has no docstring: an object, and the public methods that it defines itself."""
    if not (inspect.getdoc(value) or "").strip():
        yield name
    if not inspect.isclass(value):
        return
    for own, member in vars(value).items():
        plain = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        shown = inspect.isfunction(plain) or isinstance(plain, property)
        if shown and not own.startswith("_") and not inspect.getdoc(plain):
            inherited = any(getattr(getattr(b, own, None), "__doc__", 0) for b in value.__mro__[1:])
            if not inherited:
                yield f"{name}.{own}"


# These are values, which have the docstring of their type; the reference describes them.
_PLAIN = {"EventTime", "Site", "__version__"}


@pytest.mark.parametrize("name", sorted(set(hw.__all__) - _PLAIN))
def test_a_public_name_has_a_docstring(name: str) -> None:
    assert [] == list(undescribed(f"hw.{name}", getattr(hw, name)))


@pytest.mark.parametrize("name", CONNECTORS)
def test_a_connector_has_docstrings(name: str) -> None:
    module = importlib.import_module(f"headwater.connectors.{name}")
    missing = [*undescribed(name, module)]
    for public in module.__all__:
        missing += undescribed(f"{name}.{public}", getattr(module, public))
    assert [] == missing


def test_the_reference_shows_what_its_modules_define() -> None:
    shown = re.compile(r"^::: (?P<module>[\w.]+)$(?P<options>(?:\n {4,}.*)*)", re.MULTILINE)
    pages = "".join(p.read_text("utf-8") for p in (DOCS / "reference").glob("*.md"))
    entries = list(shown.finditer(pages))
    assert entries
    for entry in entries:
        source = inspect.getsource(importlib.import_module(entry["module"]))
        defined = set(re.findall(r"^(?:class |def |(?=\w+:))(\w+)", source, re.MULTILINE))
        listed = set(re.findall(r"^ +- (\w+)$", entry["options"], re.MULTILINE))
        assert set() == listed - defined, entry["module"]


def test_the_reference_has_every_public_name() -> None:
    pages = "".join(p.read_text("utf-8") for p in (DOCS / "reference").glob("*.md"))
    listed = set(re.findall(r"^ +- (\w+)$|`hw\.(\w+)`", pages, re.MULTILINE))
    names = {name for pair in listed for name in pair}
    assert set() == set(hw.__all__) - {"__version__"} - names
