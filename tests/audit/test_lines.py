"""Rows of a hand-made job that lie in JSON Lines or CSV: sound ones are called so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batten.errors import CorruptError, UsageError
from batten.strangers.audit import AuditReport, audit_files

KEYS = ["a.mp4", "b.mp4", "c.mp4"]
JSONL = "".join(f'{{"clip": "{key}", "n": 1}}\n' for key in KEYS)
CSV = "clip,n\n" + "".join(f"{key},1\n" for key in KEYS)


def audit(folder: Path, text: str, name: str) -> AuditReport:
    (folder / "done").write_text("".join(f"{key}\n" for key in KEYS))
    (folder / name).write_text(text, newline="")
    return audit_files(str(folder / "done"), str(folder / name), "clip")


SOUND = [
    ("rows.jsonl", JSONL),
    ("rows.ndjson", JSONL),
    ("rows", JSONL),
    ("rows.txt", "\n" + JSONL),
    ("rows.jsonl", JSONL.rstrip("\n")),
    ("rows.jsonl", "\ufeff" + JSONL),
    ("rows.csv", CSV),
    ("ROWS.CSV", CSV),
    ("rows", CSV),
    ("rows.csv", CSV.rstrip("\n")),
    ("rows.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
    ("rows.csv", CSV.replace(",1", ',"one\nline, ""more"""')),
    ("rows.csv", CSV + "\n\n"),
]


@pytest.mark.parametrize(("name", "text"), SOUND)
def test_a_sound_file_is_called_so(tmp_path: Path, name: str, text: str) -> None:
    report = audit(tmp_path, text, name)
    assert report.audit.is_consistent, report.advice
    assert report.audit.rows == 3
    (tmp_path / "done").write_text("\ufeff" + "".join(f"{key}\n" for key in KEYS))
    assert audit_files(str(tmp_path / "done"), str(tmp_path / name), "clip").audit.is_consistent


@pytest.mark.parametrize(
    ("name", "text", "line", "why"),
    [
        ("rows.jsonl", JSONL + '{"clip": "d.m', 4, "torn"),
        ("rows.jsonl", JSONL + "nonsense\n", 4, "not a JSON object"),
        ("rows.jsonl", '{"clip": {"clip": "a"}\n' + JSONL, 1, "two records run together"),
        ("rows.csv", CSV + "d.m", 5, "torn"),
        ("rows.csv", CSV + "d.mp4,1,2\n", 5, "3 fields"),
        ("rows.csv", CSV + 'd.mp4,"open', 5, "no row of CSV"),
    ],
)
def test_lines_that_hold_no_row_are_named(
    tmp_path: Path, name: str, text: str, line: int, why: str
) -> None:
    """Every key has its row, and yet readers stumble."""
    report = audit(tmp_path, text, name)
    assert not report.audit.is_consistent
    (broken,) = report.audit.broken
    assert (broken.number, why in broken.why) == (line, True)
    told = " ".join((report.advice.reason, *report.advice.hints, *report.advice.next))
    assert f"Line {line} of {tmp_path / name} holds no row" in told
    assert "set it aside" not in told


def test_rows_that_are_lost_are_found(tmp_path: Path) -> None:
    for name, text in (("rows.jsonl", JSONL), ("rows.csv", CSV)):
        short = text.replace("b.mp4", "z.mp4")
        report = audit(tmp_path, short, name)
        assert (report.audit.missing, report.audit.extra) == (("b.mp4",), ("z.mp4",))


def test_a_folder_of_lines(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "1.jsonl").write_text(JSONL[: JSONL.index("\n") + 1])
    (folder / "2.jsonl").write_text(JSONL[JSONL.index("\n") + 1 :])
    (tmp_path / "done").write_text("".join(f"{key}\n" for key in KEYS))
    report = audit_files(str(tmp_path / "done"), str(folder), "clip")
    assert report.audit.is_consistent


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no column 'clip'") as raised:
        audit(tmp_path, "name,n\na.mp4,1\n", "rows.csv")
    assert raised.value.next.endswith("--key: name, n.")
    report = audit(tmp_path, JSONL.replace("clip", "name"), "rows.jsonl")
    assert report.audit.null_keys == 3


def test_what_is_called_parquet_is_held_to_it(tmp_path: Path) -> None:
    with pytest.raises(CorruptError):
        audit(tmp_path, JSONL, "rows.parquet")


@pytest.mark.parametrize("which", ["done", "rows.jsonl"])
def test_a_pipe_or_a_device_is_not_waited_for(tmp_path: Path, which: str) -> None:
    (tmp_path / "done").write_text("a\n")
    (tmp_path / "rows.jsonl").write_text(JSONL)
    (tmp_path / which).unlink()
    os.mkfifo(tmp_path / which)
    with pytest.raises(UsageError, match="no regular file"):
        audit_files(str(tmp_path / "done"), str(tmp_path / "rows.jsonl"), "clip")
    (tmp_path / which).unlink()
    (tmp_path / which).symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="no regular file"):
        audit_files(str(tmp_path / "done"), str(tmp_path / "rows.jsonl"), "clip")
