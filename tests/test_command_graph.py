"""`headwater graph`: the tree, the Mermaid chart and the picture of a flow."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from headwater.edge.command import app
from headwater.edge.drawing import Arrow, Box, Drawing, Region, drawing_of
from headwater.edge.flowfile import load_flow
from headwater.edge.layout import Rect, layers, layout_of
from headwater.edge.mermaid import mermaid
from headwater.edge.svg import svg
from headwater.flows.schema import Schema

SVG = "{http://www.w3.org/2000/svg}"

FLOW = """
import polars as pl

import headwater as hw
from headwater.connectors import files


class Reading(hw.Event):
    at: hw.EventTime
    store: hw.Site
    freezer: str
    celsius: float


class Mean(hw.Event):
    freezer: str
    mean: float


flow = hw.Flow('cold <chain> & "co"')


@flow.source
def readings() -> hw.Source[Reading]:
    return files.csv("readings.csv")


@flow.operator(readings, name='<b>"&')
def minutes(rows: hw.Stream[Reading]) -> hw.Stream[Reading]:
    cold = rows.filter(pl.col("celsius") < 0)
    windows = cold.key_by("store", "freezer").window(hw.tumbling("1m"))
    return windows.agg(celsius=pl.col("celsius").median())


@flow.operator(minutes, readings)
def means(one: hw.Stream[Reading], two: hw.Stream[Reading]) -> hw.Stream[Mean]:
    rows = one.union(two)
    return rows.key_by("freezer").window(hw.tumbling("1h")).agg(mean=pl.col("celsius").mean())


@flow.sink(means, tier="cloud")
def out() -> hw.Sink:
    return files.to_csv("out.csv")


@flow.sink(minutes.late)
def late() -> hw.Sink:
    return files.to_csv("late.csv")


@flow.operator(readings.dead)
def bad(rows: hw.Stream) -> hw.Stream:
    return rows.select("reason")
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.py").write_text(FLOW)
    return tmp_path


def graph(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["graph", "flow.py", *arguments])


def drawing(here: Path) -> Drawing:
    return drawing_of(load_flow(str(here / "flow.py")).graph())


def test_a_drawing_has_every_operator_and_stream(here: Path) -> None:
    drawn = drawing(here)
    names = {box.name for box in drawn.boxes}
    assert {"readings", '<b>"&', "means", "out", "late", "bad", "bad (terminal)"} == names
    streams = {
        (drawn.box(arrow.start).name, drawn.box(arrow.end).name, arrow.label)
        for arrow in drawn.arrows
    }
    assert {
        ("readings", '<b>"&', ""),
        ('<b>"&', '<b>"&', ""),
        ('<b>"&', "means", ""),
        ("readings", "means", ""),
        ("means", "means", ""),
        ("means", "out", ""),
        ('<b>"&', "late", "late"),
        ("readings", "bad", "dead"),
        ("bad", "bad (terminal)", ""),
    } == streams
    assert ("edge", "cloud") == drawn.tiers()


def test_tree(here: Path) -> None:
    result = graph()
    assert 0 == result.exit_code
    for text in (
        'cold <chain> & "co"',
        "stage readings",
        "readings  source",
        "Reading(at: datetime[us, UTC] event-time, store: str site, freezer: str",
        "reads readings.dead",
        'reads <b>"&.late',
        "note: celsius keeps its rows until the window closes",
    ):
        assert text in result.output
    assert result.output.index("edge") < result.output.index("cloud")


def test_tree_to_a_file(here: Path) -> None:
    result = graph("--output", "tree.txt")
    assert (0, "") == (result.exit_code, result.stdout)
    assert graph().output == (here / "tree.txt").read_text("utf-8")


def test_mermaid(here: Path) -> None:
    result = graph("--format", "mermaid")
    assert 0 == result.exit_code
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert "flowchart LR" == lines[0]
    assert lines.count("end") == sum(line.startswith("subgraph ") for line in lines)
    assert 1 == sum("-. late .->" in line for line in lines)
    assert 1 == sum("-. dead .->" in line for line in lines)
    assert any("<b>#lt;b#gt;#quot;#amp;</b>" in line for line in lines)
    shapes = [re.fullmatch(r'(b\d+)(\(\[|\[\(|\[)"([^"]*)"(\]\)|\)\]|\])', line) for line in lines]
    declared = {match[1] for match in shapes if match}
    used = {name for line in lines if ">" in line for name in re.findall(r"\bb\d+\b", line)}
    assert {box.id for box in drawing(here).boxes} == declared
    assert used <= declared


def test_svg(here: Path) -> None:
    assert 0 == graph("--format", "svg", "--output", "flow.svg").exit_code
    root = ElementTree.fromstring((here / "flow.svg").read_text("utf-8"))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    for name in ("readings", '<b>"&', "means", "out", "late", "dead", "edge", "cloud"):
        assert name in texts
    paths = [e for e in root.iter(f"{SVG}path") if e.get("marker-end")]
    assert len(drawing(here).arrows) == len(paths)
    assert 'cold <chain> & "co"' == root.findtext(f"{SVG}title")


def test_a_file_that_cannot_be_written(here: Path) -> None:
    result = graph("--format", "svg", "--output", "nowhere/flow.svg")
    assert 1 == result.exit_code
    assert "nowhere/flow.svg: cannot be written" in result.stderr


def test_a_wrong_flow_is_not_drawn(here: Path) -> None:
    (here / "flow.py").write_text(FLOW.replace('pl.col("celsius") < 0', 'pl.col("celcius") < 0'))
    result = graph()
    assert 2 == result.exit_code
    assert "did you mean 'celsius'?" in result.stderr


def test_layers_are_longest_paths() -> None:
    pairs = [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d"), ("x", "d")]
    assert {"a": 0, "x": 0, "b": 1, "c": 2, "d": 3} == layers(list("axbcd"), pairs)
    assert {"a": 0, "b": 1} == layers(["a", "b"], [("a", "b"), ("b", "a"), ("b", "z")])


@st.composite
def drawings(draw: st.DrawFn) -> Drawing:
    """Any graph of boxes that read earlier ones, in stages of three tiers that only rise."""
    count = draw(st.integers(1, 14))
    tiers = sorted(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    stage = [draw(st.integers(0, 2)) for _ in range(count)]
    names = [f"s{tier}{number}" for tier, number in zip(tiers, stage, strict=True)]
    name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
    boxes = tuple(
        Box(f"b{n}", draw(name), (draw(name),), Schema(()), (), "operator", names[n])
        for n in range(count)
    )
    regions = tuple(
        Region(
            region,
            draw(name),
            ("device", "edge", "cloud")[int(region[1])],
            None,
            tuple(box.id for box in boxes if box.region == region),
        )
        for region in sorted(set(names))
    )
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=20)) if pairs else []
    arrows = tuple(Arrow(f"b{a}", f"b{b}", draw(st.sampled_from(["", "late"]))) for a, b in chosen)
    return Drawing("any", regions, boxes, arrows)


def apart(one: Rect, two: Rect) -> bool:
    return (
        one.x + one.width <= two.x
        or two.x + two.width <= one.x
        or one.y + one.height <= two.y
        or two.y + two.height <= one.y
    )


def inside(inner: Rect, outer: Rect) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width + 1e-6
        and inner.y + inner.height <= outer.y + outer.height + 1e-6
    )


@settings(max_examples=60, deadline=None)
@given(drawings())
def test_nothing_overlaps_and_everything_is_in_its_place(drawn: Drawing) -> None:
    sizes = {box.id: (60.0 + 10 * len(box.name), 40.0) for box in drawn.boxes}
    layout = layout_of(drawn, sizes, {region.id: 70.0 for region in drawn.regions})
    page = Rect(0, 0, layout.width, layout.height)
    for rects in (layout.boxes, layout.regions, layout.tiers):
        rectangles: list[Rect] = list(rects.values())
        assert all(apart(one, two) for one, two in itertools.combinations(rectangles, 2))
        assert all(inside(rect, page) for rect in rectangles)
    for box in drawn.boxes:
        assert inside(layout.boxes[box.id], layout.regions[box.region])
    for region in drawn.regions:
        assert inside(layout.regions[region.id], layout.tiers[region.tier])
    assert [arrow for arrow, _ in layout.routes] == list(drawn.arrows)


@settings(max_examples=40, deadline=None)
@given(drawings())
def test_any_text_is_escaped(drawn: Drawing) -> None:
    root = ElementTree.fromstring(svg(drawn))
    assert len(drawn.boxes) == len(list(root.iter(f"{SVG}g")))
    chart = mermaid(drawn).splitlines()
    heads = 1 + 2 * len(drawn.tiers()) + 2 * len(drawn.regions)
    assert heads + len(drawn.boxes) + len(drawn.arrows) == len(chart)
