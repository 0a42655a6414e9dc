"""`headwater check`: folders, references, warnings, and what is wrong with a file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from headwater.edge.command import app
from headwater.edge.flowfile import FlowFileError, flows_of, load_flow

GOOD = """
import headwater as hw
from headwater.connectors import files


class Line(hw.Event):
    text: str


flow = hw.Flow("lines")


@flow.source
def lines() -> hw.Source[Line]:
    return files.text("*.txt")


@flow.sink(lines)
def out() -> hw.Sink:
    return files.to_text("out.txt")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*paths: str) -> Result:
    return CliRunner().invoke(app, ["check", *paths])


def test_a_good_flow(here: Path) -> None:
    (here / "flow.py").write_text(GOOD)
    result = check("flow.py")
    assert (0, "1 flow checked, no problems\n") == (result.exit_code, result.output)


def test_a_folder_is_searched_for_flows(here: Path) -> None:
    (here / "deep" / "er").mkdir(parents=True)
    (here / ".hidden").mkdir()
    for name in ("a.py", "deep/b.py", "deep/er/c.py"):
        (here / name).write_text(GOOD)
    (here / ".hidden" / "d.py").write_text("flow = headwater.Flow(")
    (here / "helper.py").write_text("raise RuntimeError('is no flow, and never run')")
    result = check(".")
    assert (0, "3 flows checked, no problems\n") == (result.exit_code, result.output)


def test_a_folder_without_flows(here: Path) -> None:
    result = check(".")
    assert 2 == result.exit_code
    assert "no file in this folder defines a flow" in result.output


def test_neighbours_of_the_same_name_do_not_mix(here: Path) -> None:
    for name in ("one", "two"):
        (here / name).mkdir()
        (here / name / "model.py").write_text(
            f"import headwater as hw\n\n\nclass {name.title()}(hw.Event):\n    text: str\n"
        )
        text = GOOD.replace("class Line(hw.Event):\n    text: str", "")
        text = text.replace("import files\n", f"import files\nfrom model import {name.title()}\n")
        (here / name / "flow.py").write_text(text.replace("Line]", f"{name.title()}]"))
    path = list(sys.path)
    result = check("one", "two")
    assert (0, "2 flows checked, no problems\n") == (result.exit_code, result.output)
    assert path == sys.path
    assert "model" not in sys.modules


def test_every_flow_of_a_file_is_checked(here: Path) -> None:
    (here / "flows.py").write_text(GOOD + '\n\nother = hw.Flow("empty")\n')
    result = check("flows.py")
    assert 2 == result.exit_code
    assert "flows.py: empty: has no operators" in result.output
    assert "2 flows checked, 1 problem in 1 of them" in result.output
    assert 0 == check("flows.py:flow").exit_code


def test_warnings_do_not_fail(here: Path) -> None:
    (here / "flow.py").write_text(
        GOOD.replace("import headwater", "import polars as pl\n\nimport headwater", 1)
        + """

class Count(hw.Event):
    text: str
    middle: float | None


@flow.operator(lines)
def counts(rows: hw.Stream[Line]) -> hw.Stream[Count]:
    lengths = pl.col("text").str.len_chars()
    return rows.key_by("text").window(hw.whole()).agg(middle=lengths.median())
"""
    )
    result = check("flow.py")
    assert 0 == result.exit_code
    assert (
        "warning: counts: works by (text) and no event of the flow has a hw.Site" in result.output
    )
    assert "warning: counts: middle keeps its rows until the window closes" in result.output
    assert "warning: counts: nothing reads it, so its rows are printed" in result.output
    assert "1 flow checked, no problems, 3 warnings" in result.output
    places = {line.split(" ")[0] for line in result.output.splitlines()[:-1]}
    lines = (here / "flow.py").read_text().splitlines()
    assert {f"flow.py:{lines.index('@flow.operator(lines)') + 1}:"} == places


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("none.py", "import headwater", "none.py: defines no flow; write flow = hw.Flow('name')"),
        ("ends.py", "import sys\nsys.exit(3)", "ends.py:2: the file ends Python (sys.exit)"),
        ("colon.py", "\ndef cold(rows)\n    return rows", "colon.py:2: SyntaxError: expected ':'"),
        ("falls.py", "x = 1 / 0", "falls.py:1: ZeroDivisionError: division by zero"),
        ("queue.py", GOOD, "the file is called like Python's own module 'queue'"),
        ("kafka.py", GOOD, "the file is called like the package 'kafka'"),
        ("headwater.py", GOOD, "rename it, for example to headwater_flow.py"),
        ("lz.py", "import lz\n" + GOOD, "the file is called like the package 'lz'"),
    ],
)
def test_files_that_do_not_load(here: Path, name: str, text: str, told: str) -> None:
    (here / name).write_text(text)
    result = check(name)
    assert 2 == result.exit_code
    assert told in result.output
    assert "Traceback" not in result.output


def test_a_neighbour_that_hides_a_package(here: Path) -> None:
    (here / "flow.py").write_text(GOOD)
    (here / "polars.py").write_text("")
    result = check("flow.py")
    assert "the file polars.py beside it hides the package 'polars'" in result.output


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("flou", "flou: there is no such module, nor a file flou.py"),
        ("./flow", "flow: there is no such file; did you mean flow.py?"),
        ("folder", "folder: is a folder; name the file of the flow, such as folder/inner.py"),
        ("flow.py:other", "flow.py: has no flow called 'other'; it has flow"),
        ("nowhere:flow", "nowhere: there is no such module"),
        ("two.py", "two.py: has 2 flows, one, two; say which: two.py:one"),
    ],
)
def test_references_that_name_nothing(here: Path, reference: str, told: str) -> None:
    (here / "flow.py").write_text(GOOD)
    (here / "folder").mkdir()
    (here / "folder" / "inner.py").write_text(GOOD)
    (here / "two.py").write_text(
        'import headwater as hw\none = hw.Flow("one")\ntwo = hw.Flow("two")\n'
    )
    with pytest.raises(FlowFileError) as raised:
        load_flow(reference)
    assert told in str(raised.value)


def test_a_file_is_loaded_once_for_each_version_of_it(here: Path) -> None:
    file = here / "flow.py"
    file.write_text(GOOD)
    first = load_flow("flow.py")
    assert first is load_flow(str(file))
    assert first is load_flow("flow.py:flow")
    file.write_text(GOOD.replace('"lines"', '"renamed"'))
    assert "renamed" == load_flow("flow.py").name


def test_a_module_is_found_from_the_working_directory(here: Path) -> None:
    (here / "plant_of_the_test.py").write_text(GOOD)
    assert "lines" == load_flow("plant_of_the_test:flow").name
    assert ["flow"] == list(flows_of("plant_of_the_test"))
    del sys.modules["plant_of_the_test"]
    sys.path.remove(str(here))


def test_an_error_in_a_neighbour_names_the_neighbour(here: Path) -> None:
    (here / "model.py").write_text("\nLine = undefined_name\n")
    (here / "flow.py").write_text("import model\n" + GOOD)
    result = check("flow.py")
    assert "model.py:2: NameError: name 'undefined_name' is not defined" in result.output
