"""A run at work, seen from outside: the rate, what is in hand and since when, failures by kind."""

from __future__ import annotations

import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import replace
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from tests.terminals import read_rest

from batten.cli.text.watch_text import list_lines
from batten.inspect.watching import FailureKind, InHand, Sight, Watcher
from batten.ledger.files.chunk_failures import read_chunk_failures
from batten.model.rules.accounting import Accounts
from batten.model.words import State
from batten.storage.twin.memory import MemoryStorage
from batten.work.calling.calls import Failure
from batten.work.staged.chunk_files import Piece, encode_piece

Folder = Any
"""A `JobFolder` of tests/conftest.py."""

JOB = """
    def work(path):
        number = int(path.stem)
        if number in (1, 2):
            raise ValueError(f"no {number}")
        if number == 3:
            raise LookupError("none")
        if number == 6:
            open("gate").read()
        return {"number": number}

    pipeline = batten.from_files("in/*").map(work).options(batch_size=4, stop_when=None)
    pipeline = pipeline.write_parquet("out")
"""


class Run:
    """A run that is at work until its gate is opened."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "batten", "run", "job.py", "--jobs", "1", "--quiet"],
            cwd=folder,
            stderr=subprocess.DEVNULL,
        )
        # It can be opened when the function opens its other end.
        self._gate = os.open(folder / "gate", os.O_WRONLY)

    def finish(self) -> int:
        os.close(self._gate)
        return self.process.wait(timeout=60)


@pytest.fixture
def run(job: Folder) -> Iterator[Run]:
    job.write(JOB)
    (job.path / "in").mkdir()
    for number in range(12):
        (job.path / "in" / f"{number:02}").write_text("")
    os.mkfifo(job.path / "gate")
    started = Run(job.path)
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.wait()


def test_what_each_look_sees(job: Folder, run: Run) -> None:
    watcher = Watcher(job.path / "out")
    first = watcher.look(100.0)
    assert first.state is State.RUNNING
    assert first.rate is None
    assert [(each.key, each.seconds, each.is_longer) for each in first.in_hand] == [
        ("06", 0.0, True)
    ]
    second = watcher.look(112.0)
    assert second.rate == (second.finished - first.finished) / 12
    assert [(each.key, each.seconds, each.is_longer) for each in second.in_hand] == [
        ("06", 12.0, True)
    ]
    assert run.finish() == 3
    last = watcher.look(120.0)
    assert last.state is State.COMPLETE
    assert last.in_hand == ()
    assert last.finished == 12
    assert [(each.kind, each.count, each.key, each.error) for each in last.failures] == [
        ("ValueError", 2, "01", "ValueError: no 1"),
        ("LookupError", 1, "03", "LookupError: none"),
    ]


def test_a_run_that_was_asked_to_stop(run: Run, job: Folder) -> None:
    watcher = Watcher(job.path / "out")
    watcher.look(100.0)
    run.process.send_signal(signal.SIGTERM)
    while not (sight := watcher.look(112.0)).signal:
        assert run.process.poll() is None
    assert sight.signal == "SIGTERM"
    (told,) = [line for line in list_lines(sight) if line.startswith("  rate ")]
    assert told.endswith("items/s; stopping after SIGTERM: only what is in hand may end")
    assert run.finish() == 75
    assert watcher.look(120.0).signal == ""


def test_what_is_a_count_and_what_is_a_key() -> None:
    """Keys may be numbers. What failed in a batch that is not published is not quarantined yet."""
    sight = Sight(
        path="out",
        state=State.RUNNING,
        items=Accounts(
            source=24, committed=6, filtered=0, quarantined=2, duplicate=0, staged=4, pending=12
        ),
        rows=6,
        since="",
        rate=1.5,
        in_hand=(InHand(key="22", seconds=5.0, is_longer=True),),
        failures=(FailureKind(kind="ValueError", count=5, key="3", error="ValueError: no 3"),),
    )
    assert list(list_lines(sight))[2:] == [
        "  rate     1.5 items/s, ETA 0:08",
        "  in hand  1 item",
        "           key 22: for 0:05 or longer",
        "  failed   5 by ValueError; key 3: ValueError: no 3",
        "           3 not quarantined yet; they are when their batch is published",
    ]
    published = replace(sight, items=replace(sight.items, quarantined=5, staged=1))
    assert list(list_lines(published))[-1].startswith("  failed   5 by")


def test_failures_of_a_staged_chunk_are_read() -> None:
    failures = (Failure(item=2, error="ValueError: no", trace="…", attempts=1),)
    piece = Piece(start=0, stop=4, table=None, failures=failures)
    data, _ = encode_piece(piece, 0, "work")
    storage = MemoryStorage()
    for name, content in (("chunk", data), ("torn", data[:-9]), ("none", b"")):
        storage.put_new(name, bytes(content))
    assert read_chunk_failures(storage, "chunk") == [(2, "ValueError: no")]
    for name in ("torn", "none", "absent"):
        assert read_chunk_failures(storage, name) == []


def test_in_a_terminal_until_the_run_ends(job: Folder, run: Run) -> None:
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    watching = subprocess.Popen(
        [sys.executable, "-m", "batten", "show", "out", "--watch"],
        cwd=job.path,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    told = b""
    while b"in hand  1 item\r\n           key 06: for 0:0" not in told:
        told += os.read(leader, 65536)
    assert run.finish() == 3
    told += read_rest(leader)
    assert watching.wait(timeout=60) == 0
    shown = told.decode()
    assert shown.startswith("RUNNING  out  since ")
    erased, _, rest = shown.rpartition("\x1b[J")
    assert erased
    assert rest.startswith("COMPLETE  out\r\n")


def test_a_run_that_has_ended_is_shown_as_it_is(job: Folder, run: Run) -> None:
    assert run.finish() == 3
    watched = job.batten("show", "out", "--watch")
    assert (watched.code, watched.out) == (0, job.batten("show", "out").out)
    assert job.batten("show", "absent", "--watch").code == 2


def test_as_json_a_look_is_an_object_on_a_line(job: Folder, run: Run) -> None:
    # In a terminal it looks more often.
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    watching = subprocess.Popen(
        [sys.executable, "-m", "batten", "show", "out", "--watch", "--json"],
        cwd=job.path,
        stdout=follower,
    )
    os.close(follower)
    told = b""
    while not told.endswith(b"\n"):
        told += os.read(leader, 65536)
    first = json.loads(told.splitlines()[0])
    assert first["state"] == "RUNNING"
    assert first["rate"] is None
    assert [(each["key"], each["is_longer"]) for each in first["in_hand"]] == [("06", True)]
    assert set(first) == {
        *("state", "path", "items", "rows", "since", "rate", "in_hand", "failures", "signal")
    }
    assert run.finish() == 3
    told += read_rest(leader)
    assert watching.wait(timeout=60) == 0
    looks = [json.loads(line) for line in told.splitlines()]
    assert [each["key"] for each in looks[-1]["quarantined"]] == ["01", "02", "03"]
    assert looks[-1]["state"] == "COMPLETE"
    assert {each["state"] for each in looks[:-1]} == {"RUNNING"}
