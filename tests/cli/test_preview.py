"""`--preview` shows rows as a run would make them, and writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import batten
from batten.cli.main import main

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

JOB = """
    def measure(n):
        print("measuring", n)
        if n == 2:
            raise ValueError("no 2")
        return {"n": n, "text": "\\x1b[31m<b>"}

    pipeline = (
        batten.from_range(1000)
        .map(measure, retries=0, timeout_seconds=5, cache="kept")
        .options(on_error="raise", quarantine_max=0, worker_items_max=3)
        .write_parquet("out")
        .write_sqlite("rows.db", table="t")
    )
"""


def test_rows_are_shown_and_nothing_is_written(job: Folder) -> None:
    job.write(JOB)
    before = job.snapshot()
    ended = job.run("--limit", "4", "--preview")
    assert ended.code == 3, ended.err
    text = "\\u001b[31m<b>"
    assert ended.out.splitlines() == [
        "key: int64  n: int64  text: string",
        f'{{"key": 0, "n": 0, "text": "{text}"}}',
        f'{{"key": 1, "n": 1, "text": "{text}"}}',
        f'{{"key": 3, "n": 3, "text": "{text}"}}',
        "would be quarantined: 2: ValueError: no 2",
    ]
    assert "measuring 3" in ended.err
    assert {name for name in job.snapshot() if "__pycache__" not in name} == set(before)
    assert sorted(path.name for path in job.path.iterdir() if path.name != "__pycache__") == [
        "job.py"
    ]


def test_as_json(job: Folder) -> None:
    job.write(JOB)
    value = job.run("--preview", "--json").json
    assert value["status"] == "preview"
    assert [row["n"] for row in value["rows"]] == [0, 1, 3, 4]
    assert value["columns"] == {"key": "int64", "n": "int64", "text": "string"}
    assert value["failed"][0]["key"] == "2"
    assert "no 2" in value["failed"][0]["traceback"]


def test_the_rows_are_those_of_a_run(job: Folder) -> None:
    job.write(
        """
        def measure(n):
            return {"n": n * n}

        pipeline = batten.from_range(12).map(measure).options(batch_size=4).write_parquet("out")
        """
    )
    shown = job.run("--preview", "--limit", "6", "--json").json["rows"]
    assert job.run().code == 0
    assert shown == job.rows()[:6]
    before = job.snapshot()
    assert job.run("--preview", "--limit", "6", "--json").json["rows"] == shown
    assert job.snapshot() == before


def test_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async def ask(n: int) -> dict[str, Any]:
        if n == 1:
            raise ValueError("<no>")
        return {"text": f"<{n}>"}

    pipeline = batten.from_range(100).map(ask).write_tree("tree", commit=lambda change, row: None)
    preview = pipeline.preview(limit=3)
    assert preview.rows == [{"key": 0, "text": "<0>"}, {"key": 2, "text": "<2>"}]
    assert repr(preview).splitlines() == [
        '{"key": 0, "text": "<0>"}',
        '{"key": 2, "text": "<2>"}',
        "1: ValueError: <no>",
    ]
    html = preview._repr_html_()
    assert "&lt;0&gt;" in html
    assert "<0>" not in html
    assert list(tmp_path.iterdir()) == []


def test_whole_tables_have_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tables_job.py").write_text(
        "import batten\ndef total(a): return a\n"
        "pipeline = batten.from_tables(a='a.csv').apply(total).write_csv('b.csv')\n"
    )
    assert main(["run", "tables_job.py", "--preview"]) == 2
    assert "takes all of them" in capsys.readouterr().err


def test_files_are_made_in_memory(job: Folder) -> None:
    job.write("""
        def make(n, folder):
            (folder / "made").write_bytes(b"x" * n)
            return {"a": folder / "made", "b": iter([b"1", b"2"]), "c": b"123"}

        pipeline = batten.from_range(100).map(make).write_files("out/{key}/{name}.bin")
    """)
    value = job.run("--limit", "2", "--preview", "--json").json
    told = [(row["file"], row["bytes"]) for row in value["rows"]]
    assert told == [
        *(("0/a.bin", 0), ("0/b.bin", 2), ("0/c.bin", 3)),
        *(("1/a.bin", 1), ("1/b.bin", 2), ("1/c.bin", 3)),
    ]
    assert not (job.path / "out").exists()
    assert not (job.path / "out.batten").exists()
