"""The command as it is typed: exit codes, JSON, text, and that it changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import HandMade

_BATTEN = Path(sys.executable).with_name("batten")
_FILES = ("--done", "clips.done", "--rows", "features.parquet", "--key", "clip")
_STAGING = ("--staging", "staging.jsonl")


def _run(hand_made: HandMade, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(_BATTEN), "audit", *arguments],
        cwd=hand_made.folder,
        capture_output=True,
        text=True,
        check=False,
    )


def _build_origin(hand_made: HandMade, clips: list[str]) -> None:
    hand_made.write_done([*clips, clips[0]])
    hand_made.write_rows([*clips[:400], clips[1], "unheard-of.mp4", None])
    torn = '{"clip": "clip_0609.mp4"{"clip": "clip_0610.mp4"}\n{"clip": "clip_0611.mp4", "fr'
    hand_made.write_staging(clips[390:609], tail=torn)


def test_the_json_holds_everything(hand_made: HandMade, clips: list[str]) -> None:
    _build_origin(hand_made, clips)
    result = _run(hand_made, *_FILES, *_STAGING, "--json")
    assert (result.returncode, result.stderr) == (4, "")
    report = json.loads(result.stdout)
    assert report["reason"]
    assert report["hints"]
    assert report.pop("next").startswith("Stop the job and copy")
    del report["reason"], report["hints"]
    assert report == {
        "state": "INCONSISTENT",
        "done": 1001,
        "rows": 403,
        "missing": clips[400:],
        "extra": ["unheard-of.mp4"],
        "duplicates": [clips[1]],
        "done_duplicates": [clips[0]],
        "null_keys": 1,
        "recoverable": 209,
        "recoverable_keys": clips[400:609],
        "unrecoverable_keys": clips[609:],
        "staged_only": [],
        "torn_lines": 1,
        "malformed_lines": 1,
        "malformed": [{"line": 220, "why": "two records run together, the first cut short"}],
        "broken_lines": [],
    }


def test_the_screen_shows_the_first_few_within_80_columns(
    hand_made: HandMade, clips: list[str]
) -> None:
    _build_origin(hand_made, clips)
    result = _run(hand_made, *_FILES, *_STAGING)
    assert (result.returncode, result.stderr) == (4, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "INCONSISTENT"
    assert max(map(len, lines)) <= 80
    assert sum("clip_" in line for line in lines) == 6
    assert "                     and 595 more" in lines
    assert "Nothing was changed. Next:" in lines


def test_all_keys_go_to_a_file_of_their_own(hand_made: HandMade, clips: list[str]) -> None:
    _build_origin(hand_made, clips)
    result = _run(hand_made, *_FILES, *_STAGING, "--keys", "keys.jsonl")
    assert (result.returncode, result.stderr) == (4, "")
    assert result.stdout.splitlines()[-1] == "All keys: keys.jsonl"
    lines = (hand_made.folder / "keys.jsonl").read_text().splitlines()
    recoverable = frozenset(clips[400:609])
    assert [json.loads(line) for line in lines] == [
        *(
            {"key": clip, "is": "missing", "is_recoverable": clip in recoverable}
            for clip in clips[400:]
        ),
        {"key": "unheard-of.mp4", "is": "extra"},
        {"key": clips[1], "is": "duplicate"},
    ]


def test_no_file_is_replaced_by_the_keys(hand_made: HandMade, clips: list[str]) -> None:
    _build_origin(hand_made, clips)
    done = (hand_made.folder / "clips.done").read_bytes()
    result = _run(hand_made, *_FILES, "--keys", "clips.done")
    assert (result.returncode, result.stdout) == (5, "")
    assert "clips.done is there already, and an audit replaces nothing." in result.stderr
    assert (hand_made.folder / "clips.done").read_bytes() == done


def test_consistent(hand_made: HandMade, clips: list[str]) -> None:
    hand_made.write_done(clips)
    hand_made.write_rows(clips)
    result = _run(hand_made, *_FILES)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("CONSISTENT\nEach of the 1,000 keys of clips.done has exactly")
    report = json.loads(_run(hand_made, *_FILES, "--json").stdout)
    assert report["state"] == "CONSISTENT"
    assert (report["missing"], report["extra"], report["duplicates"]) == ([], [], [])
    assert report["next"] == "Nothing to do."


def test_equal_counts_of_other_keys_are_inconsistent(hand_made: HandMade, clips: list[str]) -> None:
    hand_made.write_done(clips[:500])
    hand_made.write_rows(clips[500:])
    result = _run(hand_made, *_FILES)
    assert result.returncode == 4
    assert "The counts agree (500 and 500) but the keys do not." in result.stdout


def test_nothing_is_changed(hand_made: HandMade, clips: list[str]) -> None:
    _build_origin(hand_made, clips)
    before = hand_made.observe()
    for arguments in ((*_FILES, *_STAGING), (*_FILES, "--json"), (*_FILES[:4], "--key", "none")):
        _run(hand_made, *arguments)
        assert hand_made.observe() == before


def test_errors_are_three_lines_and_an_exit_code(hand_made: HandMade) -> None:
    hand_made.write_done(["a"])
    absent = _run(hand_made, *_FILES)
    assert absent.returncode == 2
    assert absent.stderr.splitlines()[0].endswith("There is no file features.parquet.")
    hand_made.rows.touch()
    unreadable = _run(hand_made, *_FILES)
    assert unreadable.returncode == 4
    assert len(unreadable.stderr.splitlines()) == 3
    assert "Nothing was changed." in unreadable.stderr
    assert _run(hand_made, "--done", "clips.done").returncode == 2


def test_strange_keys_are_escaped(hand_made: HandMade) -> None:
    hand_made.done.write_bytes(b"caf\xe9\n\xc3\xa9t\xc3\xa9\n")
    hand_made.write_rows(["two\nlines"])
    result = _run(hand_made, *_FILES)
    assert result.returncode == 4
    assert "caf\\udce9" in result.stdout
    assert "two\\nlines" in result.stdout
    report = json.loads(_run(hand_made, *_FILES, "--json").stdout)
    assert report["missing"] == ["caf\udce9", "\xe9t\xe9"]
