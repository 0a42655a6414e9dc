"""`headwater journal`: what it prints, what it refuses, with which exit code."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from headwater.connectors.journal import FileStorage, JournalSettings, open_journal
from headwater.edge.command import app
from headwater.flows.journal.entry import Range, Step
from headwater.flows.journal.envelope import Keyring
from headwater.flows.journal.errors import KeyMissingError

KEY = bytes(range(32))


def made(folder: Path, *, keyring: Keyring | None = None) -> Path:
    """Six entries in two or three segments, of which a reader holds the first three."""
    settings = JournalSettings(segment_bytes=2000)
    storage = FileStorage(folder, create=True)
    journal = open_journal(
        storage, epoch=1, flow=bytes(16), now=0, settings=settings, keyring=keyring
    )
    for number in range(6):
        step = Step((Range(0, number, number),), clock=number, watermark=number)
        journal.append(step, pa.record_batch({"n": [number]}))
    journal.acknowledge("cloud", 4, 3)
    journal.close(9)
    return folder


def run(*words: str | Path) -> tuple[int, list[str]]:
    result = CliRunner().invoke(app, ["journal", *map(str, words)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, (result.stdout + result.stderr).splitlines()


def flipped(folder: Path, number: int, place: int) -> None:
    segment = sorted(folder.glob("*.seg"))[number]
    content = bytearray(segment.read_bytes())
    content[place] ^= 1
    segment.write_bytes(content)


def test_cat_takes_a_range(tmp_path: Path) -> None:
    code, lines = run("cat", made(tmp_path), "--from", "2", "--to", "3", "--json")
    assert 0 == code
    assert [2, 3] == [json.loads(line)["sequence"] for line in lines]
    assert [[{"n": 2}], [{"n": 3}]] == [json.loads(line)["rows"] for line in lines]


def test_verify_tells_each_damage_in_a_line(tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert (0, ["sound: 6 entries in 2 segments"]) == run("verify", folder)
    flipped(folder, 0, 700)
    code, lines = run("verify", folder)
    assert 1 == code
    assert 1 == len(lines)
    assert "lost: entry" in lines[0]
    code, lines = run("cat", folder)
    assert 1 == code
    assert "trim --damaged" in lines[-1]


def test_a_segment_that_is_missing_is_told_and_given_up(tmp_path: Path) -> None:
    folder = made(tmp_path)
    last = sorted(folder.glob("*.seg"))[-1]
    last.unlink()
    code, lines = run("verify", folder)
    assert 1 == code
    assert any(f"the segment after it, {last.name}, is missing" in line for line in lines)


def test_trim_removes_what_every_reader_holds(tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert (0, ["1 segment removed"]) == run("trim", folder)
    code, lines = run("cat", folder, "--from", "0")
    assert 1 == code
    assert "was trimmed" in lines[0]
    assert 0 == run("verify", folder)[0]


def test_trim_does_not_take_what_a_reader_needs(tmp_path: Path) -> None:
    code, lines = run("trim", made(tmp_path), "--before", "6")
    assert 1 == code
    assert "'cloud' holds only up to 3" in lines[0]


def test_trim_refuses_a_journal_that_is_written(tmp_path: Path) -> None:
    folder = made(tmp_path)
    journal = open_journal(FileStorage(folder), epoch=1, flow=bytes(16), now=0)
    code, lines = run("trim", folder)
    assert 1 == code
    assert "another process writes this journal" in lines[0]
    journal.close(0)


@pytest.mark.parametrize("command", ["ls", "cat", "verify", "trim"])
def test_what_is_no_journal_is_told_in_a_line(command: str, tmp_path: Path) -> None:
    assert (1, [f"{tmp_path / 'no'}: is no folder of a journal"]) == run(command, tmp_path / "no")
    assert (1, [f"{tmp_path}: holds no journal"]) == run(command, tmp_path)


@pytest.mark.needs("cryptography")
def test_an_encrypted_journal_needs_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headwater.connectors.journalkeys import Keys

    folder = made(tmp_path / "journal", keyring=Keys([KEY]))
    assert (1, ["the journal is encrypted: give its key"]) == run("verify", folder)
    file = tmp_path / "key"
    file.write_bytes(base64.b64encode(KEY))
    assert 0 == run("verify", folder, "--key-file", file)[0]
    monkeypatch.setenv("HEADWATER_JOURNAL_KEY", KEY.hex())
    assert 6 == len(run("cat", folder)[1])
    monkeypatch.setenv("HEADWATER_JOURNAL_KEY", "short")
    assert (1, ["a key is 32 bytes, written as base64 or as 64 hexadecimal digits"]) == run(
        "cat", folder
    )


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from headwater.connectors.journalkeys import Keys

    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(KeyMissingError, match=r"pip install 'headwater\[crypto\]'"):
        Keys([KEY])
