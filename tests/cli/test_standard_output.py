"""Where a command makes a file, `-` is standard output."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import batten
from batten.cli.main import COMMANDS, make_parser

ESCAPE = "\x1b[31mred"


@pytest.fixture(autouse=True)
def _output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline = batten.from_items(["a", ESCAPE], key=str).map(lambda text: {"text": text})
    pipeline.write_parquet("out").run(executor="serial", progress=False)


def call(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "batten", *words], capture_output=True, check=False, timeout=120
    )


def test_a_page() -> None:
    done = call("report", "out", "-o", "-")
    assert done.returncode == 0
    assert done.stdout.startswith(b"<!doctype html>\n")
    assert done.stdout.rstrip().endswith(b"</html>")
    assert done.stderr.startswith(b"-: 1 output, 1 COMPLETE")
    assert not Path("-").exists()


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_rows(format: str) -> None:
    done = call("export", "out", "-", "--format", format)
    assert done.returncode == 0
    assert done.stderr == b"-: 2 rows of out\n"
    assert not Path("-").exists()
    batten.open("out").export(f"rows.{format}")
    assert done.stdout == Path(f"rows.{format}").read_bytes()


def test_a_job_that_runs() -> None:
    done = call("init", "-")
    assert done.returncode == 0
    Path("job.py").write_bytes(done.stdout)
    assert call("run", "job.py", "--preview", "--limit", "1").returncode == 0
    assert not Path("-").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("report", "out", "-o", "-", "--json"),
        ("export", "out", "-", "--format", "csv", "--json"),
        ("init", "-", "--json"),
        ("export", "out", "-"),
        ("run", "job.py", "--metrics", "-"),
    ],
    ids=" ".join,
)
def test_what_can_not_go_there_is_refused(words: tuple[str, ...]) -> None:
    done = call(*words)
    assert done.returncode == 2
    assert sorted(os.listdir()) == ["out", "out.batten"]


def test_all_that_make_files_are_known() -> None:
    """A command that comes to make a file that its user names belongs to the tests above."""
    told = {
        (name, action.dest)
        for name in COMMANDS
        for action in make_parser(name)._actions
        if action.metavar in ("FILE", "TO")
    }
    reading = {("audit", "done"), ("audit", "keys"), ("adopt", "done"), ("audit", "staging")}
    assert told - reading == {
        *(("report", "output"), ("export", "to"), ("init", "file"), ("run", "metrics"))
    }


def test_a_terminal_gets_nothing_that_it_would_obey() -> None:
    leader, follower = pty.openpty()
    words = [sys.executable, "-m", "batten", "export", "out", "-", "--format"]
    done = subprocess.run([*words, "csv"], stdout=follower, stderr=subprocess.PIPE, check=True)
    refused = subprocess.run([*words, "parquet"], stdout=follower, stderr=subprocess.PIPE)
    os.close(follower)
    told = os.read(leader, 1 << 16)
    os.close(leader)
    assert done.stderr == b"-: 2 rows of out\n"
    assert b"\\x1b[31mred" in told
    assert b"\x1b" not in told
    assert refused.returncode == 2


def test_a_reader_that_went_away_had_enough() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "batten", "report", "out", "-o", "-"]
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_from_python_a_file_that_is_open() -> None:
    file = io.BytesIO()
    assert batten.open("out").export(file, "parquet") == 2
    assert pq.read_table(file)["text"].to_pylist() == ["a", ESCAPE]
    with pytest.raises(batten.UsageError, match="no format"):
        batten.open("out").export(io.BytesIO())


def test_a_dash_in_python_is_a_path() -> None:
    batten.open("out").export("-", "jsonl")
    assert Path("-").read_bytes().count(b"\n") == 2
