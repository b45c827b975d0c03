"""No byte that a terminal obeys is printed, whatever names, keys, errors and records hold."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import unicodedata
from pathlib import Path

import pytest
from tests.terminals import watch_terminal

import batten
from batten.cli.main import guard, main
from batten.errors import RefusedError
from batten.model.disk.records import encode_record, open_record, seal_record
from batten.model.disk.runs.holders import Holder

ODD = "\x1b]0;owned\x07\x1b[31m\x9b31m\u202e\u2066\u2028\r\b\x7f\tend"
ODD_PATH = os.fsdecode(f"{ODD}\n".encode() + b"\xff\x9b2J")
"""A name of a file may hold a line break and bytes that are not UTF-8, too."""

JOB = """
import batten

ODD = {odd!r}

def work(path):
    if path.name.startswith("bad"):
        raise ValueError(f"failed\\n{{ODD}}\\udc9b\\nat the end")
    return {{"size": path.stat().st_size}}

def pipeline(text: str):
    files = batten.from_files("in/*").map(work)
    return files.options(batch_size=2, on_error={on_error!r}).write_parquet("out" + ODD)
"""


def find_controls(data: bytes) -> list[str]:
    """The characters that a terminal might obey, and lone bytes; line breaks may be there."""
    text = data.decode(errors="surrogateescape")
    return [
        repr(each)
        for each in text
        if each != "\n" and unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    ]


class Terminal:
    """Runs commands in a folder, and looks at what they print."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[bytes]) -> None:
        self.folder = folder
        self._capture = capture

    def run(self, *words: str) -> tuple[int, bytes]:
        """Its exit code and what it said to people."""
        with contextlib.chdir(self.folder):
            code = main(words)
        told = self._capture.readouterr()
        for each in told:
            assert find_controls(each) == [], (words, each)
        if "--json" in words and told.out:
            json.loads(told.out)
        return code, told.err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A hostile one, with files to work on."""
    folder = tmp_path / ODD_PATH
    (folder / "in").mkdir(parents=True)
    for name in ("bad", "good"):
        (folder / "in" / f"{name}{ODD_PATH}").write_text(name)
    (folder / "job.py").write_text(JOB.format(odd=ODD, on_error="quarantine"))
    (folder / f"raises{ODD}.py").write_text(JOB.format(odd=ODD, on_error="raise"))
    return folder


@pytest.fixture
def terminal(folder: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Terminal:
    return Terminal(folder, capfdbinary)


OUTPUT = f"out{ODD}"
PARAMETER = f"--param=text={ODD}"


def spoil_records(folder: Path) -> None:
    """Records that others wrote, with checksums that fit."""
    control = folder / f"{OUTPUT}.batten"
    config = json.loads(open_record((control / "dataset.json").read_bytes()))
    config["parameters"][ODD] = ODD
    config["source"] = config["sink"] = config["next"] = ODD
    config["job"]["folder"] = f"/{ODD}"
    (control / "dataset.json").write_bytes(seal_record(json.dumps(config).encode()))
    holder = Holder(pid=4711, host=ODD, since=ODD, boot=ODD)
    (control / "lock").write_bytes(encode_record(holder))
    start = {"event": "start", "time": ODD, "host": ODD, "command": ODD, "inputs": [ODD]}
    stop = {"event": "stop", "time": ODD, "status": ODD, "error": ODD, "executed_items": 1}
    signal = {"event": "signal", "signal": ODD, "time": ODD}
    lines = "".join(json.dumps(each) + "\n" for each in (start, signal, stop))
    (control / "runs" / "99991121T080000Z-ffff.jsonl").write_text(lines)
    (control / "COMPLETE").unlink()


def look(terminal: Terminal) -> None:
    """Every command that looks, for people and for programs."""
    for words in (
        ("diagnose", OUTPUT),
        ("diagnose", OUTPUT, "other"),
        ("diagnose", f"{ODD}*"),
        ("show", OUTPUT),
        ("verify", OUTPUT),
        ("recover", OUTPUT, "--dry-run"),
        ("clean", OUTPUT, "--dry-run"),
        ("export", OUTPUT, f"to{ODD}.jsonl"),
        ("diagnose", "in"),
        ("diagnose", "job.py"),
        ("diagnose", ODD),
    ):
        terminal.run(*words)
        terminal.run(*words, "--json")


def test_a_job_and_what_is_said_of_it(terminal: Terminal, folder: Path) -> None:
    code, told = terminal.run("run", "job.py", PARAMETER, "--jobs", "1")
    assert code == 3, told
    assert b"First item that failed: " in told
    look(terminal)
    spoil_records(folder)
    look(terminal)
    terminal.run("recover", OUTPUT)
    terminal.run("run", "job.py", PARAMETER, "--dry-run")
    terminal.run("run", "job.py", "--param=text=other")
    for part in (folder / OUTPUT).glob("*.parquet"):
        part.write_bytes(b"damaged")
    (folder / OUTPUT / ODD_PATH).write_text("foreign")
    look(terminal)
    terminal.run("recover", "--recompute-missing", OUTPUT)


def test_errors_and_their_traces(terminal: Terminal, folder: Path) -> None:
    code, told = terminal.run("run", f"raises{ODD}.py", PARAMETER, "--jobs", "1")
    assert code == 1
    assert b"ValueError" in told
    (folder / "breaks.py").write_text(f"raise RuntimeError({ODD!r} + '\\ud800')")
    for words in (
        ("run", "breaks.py"),
        ("run", ODD),
        ("run", "job.py", f"--param={ODD}"),
        (ODD,),
        ("diagnose", OUTPUT, f"--{ODD}"),
        ("diagnose", "--final", f"{ODD}{{{ODD}}}", "--run", ODD),
        ("diagnose", "--final", "in/*", "--staging", "in/*", "--run", "1"),
        ("diagnose", "--expect", ODD, OUTPUT),
    ):
        terminal.run(*words)


def test_the_cache_and_the_audit(terminal: Terminal, folder: Path) -> None:
    cache = batten.Cache(folder / f"cache{ODD}")
    with cache.get_or_create((ODD,), lambda place: place.joinpath(ODD).write_text("x")):
        pass
    entry = next((folder / f"cache{ODD}").rglob(ODD))
    entry.write_text("damaged")
    for verb in (("show",), ("verify",), ("verify", "--set-aside"), ("clean",), ("clear",)):
        terminal.run("cache", verb[0], f"cache{ODD}", *verb[1:])
    terminal.run("cache", "show", ODD)
    (folder / f"done{ODD}").write_text(f"a{ODD}\nb\n")
    (folder / f"rows{ODD}.jsonl").write_text(json.dumps({"key": ODD}) + "\n" + ODD)
    files = ("--done", f"done{ODD}", "--rows", f"rows{ODD}.jsonl", "--key", "key")
    terminal.run("audit", *files)
    terminal.run("audit", *files, "--json")
    terminal.run("audit", *files[:-1], ODD)


def test_an_unexpected_failure_is_escaped_too(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    def fail() -> int:
        raise LookupError(ODD_PATH)

    assert guard(fail, is_json=False) == 1
    told = capfdbinary.readouterr().err
    assert b"LookupError" in told
    assert find_controls(told) == []


def test_errors_are_shown_escaped_by_programs_too() -> None:
    error = RefusedError(f"a{ODD}", safe=f"b{ODD}\n", next="c")
    assert find_controls(str(error).encode()) == []
    assert str(error).count("\n") == 2


def test_the_bar_moves_the_cursor_and_nothing_else_does(folder: Path) -> None:
    words = [sys.executable, "-m", "batten", "run", "job.py", PARAMETER, "--jobs", "1"]
    code, data = watch_terminal(words, folder, NO_COLOR="1")
    assert code == 3
    assert b"First item that failed" in data
    told = data.replace(b"\r\x1b[2K", b"").replace(b"\r\n", b"\n")
    assert find_controls(told) == []
