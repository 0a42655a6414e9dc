"""The word count against `collections.Counter`."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from headwater.connectors import files
from headwater.edge.flowfile import load_flow, module_of

from .running import EXAMPLES, run

FLOW: Final = EXAMPLES / "wordcount" / "flow.py"
CUTS: Final = [(1, 1), (7, 1), (65_536, 1), (65_536, 2)]


def counted(texts: Iterable[Path]) -> Counter[str]:
    """Count by hand; `\\w` is a letter, a digit or an underscore of any script."""
    text = "\n".join(file.read_text("utf-8") for file in texts).lower()
    return Counter(re.findall(r"\w+", text))


def found(flow: Path, out: Path, batch_rows: int, workers: int) -> bytes:
    run(flow, batch_rows=batch_rows, workers=workers, leaf=files.to_json_lines(out))
    return out.read_bytes()


def table(lines: bytes) -> dict[str, int]:
    rows = [json.loads(line) for line in lines.splitlines()]
    words = {row["word"]: row["n"] for row in rows}
    assert len(rows) == len(words), "a word is counted once"
    return words


@pytest.mark.parametrize(("batch_rows", "workers"), CUTS)
def test_counts_the_words_of_the_example(tmp_path: Path, batch_rows: int, workers: int) -> None:
    expected = counted(FLOW.parent.glob("*.txt"))
    assert 11 == expected["the"]
    assert expected == table(found(FLOW, tmp_path / "counts.jsonl", batch_rows, workers))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the flow beside several texts, of scripts with and without case."""
    folder = tmp_path_factory.mktemp("library")
    shutil.copy(FLOW, folder / "flow.py")
    rng = random.Random(5)
    letters = "aAbBéÉßøØжЖαΩ中文ー٣7_"
    words = ["".join(rng.choices(letters, k=rng.randint(1, 3))) for _ in range(400)]
    for name in ("one", "two", "three", "none"):
        lines = [
            rng.choice([" ", ", ", "\t", "-"]).join(rng.choices(words, k=rng.randint(0, 12)))
            for _ in range(0 if name == "none" else 700)
        ]
        (folder / f"{name}.txt").write_text("\n".join(lines), "utf-8")
    return folder


def test_counts_several_texts_the_same_however_they_are_cut(tmp_path: Path, library: Path) -> None:
    expected = counted(library.glob("*.txt"))
    assert len(expected) > 200
    outputs = [
        found(library / "flow.py", tmp_path / f"{number}.jsonl", batch_rows, workers)
        for number, (batch_rows, workers) in enumerate([(50, 1), *CUTS[2:]])
    ]
    assert expected == table(outputs[0])
    assert [outputs[0]] * len(outputs) == outputs


def test_the_operator_is_still_a_function() -> None:
    module = module_of(FLOW)
    line = module.Line(text="No map, no MAP")
    assert ["no", "map", "no", "map"] == [word.word for word in module.words(line)]
    assert "word-count" == load_flow(str(FLOW)).name
