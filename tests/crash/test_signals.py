"""Signals ask a run to stop: what is in hand is finished and kept, and the next run goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.faults import Meanwhile
from batten.crashlab.sweeping import sweep

if TYPE_CHECKING:
    from conftest import Subject

Start = Callable[..., subprocess.Popen[str]]

EXIT_INTERRUPTED = 75
COMMAND = ("run", "job.py", "--jobs", "2", "--quiet", "--json")
PATIENCE_SECONDS = 60.0

WAITS_AT_ITEM_FIVE = """
import batten

def wait(number):
    if number == 5:
        open("begun", "w").close()  # pipes, which open when the test opens them as well
        open("go").close()
    return {"number": number}

pipeline = batten.from_range(20).map(wait).write_parquet("features/").options(batch_size=4)
"""

SIGNAL_THE_DRIVER = """
read driver others < /proc/$PPID/task/$PPID/children
kill -{name} $driver
"""
"""For a command that the tracer starts; the driver is its first child."""


def start_waiting(
    start: Start, folder: Path, *words: str, job: str = WAITS_AT_ITEM_FIVE
) -> subprocess.Popen[str]:
    """A run that has item five in hand, or reads its source."""
    (folder / "job.py").write_text(job)
    for pipe in ("begun", "go"):
        os.mkfifo(folder / pipe)
    run = start(folder, *COMMAND, *words)
    (folder / "begun").open().close()
    return run


def test_a_signal_that_is_ignored_stays_so(start: Start, tmp_path: Path) -> None:
    """As under `nohup`: the end of the terminal is not the end of the run."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = start_waiting(start, tmp_path)
    finally:
        signal.signal(signal.SIGHUP, previous)
    run.send_signal(signal.SIGHUP)
    (tmp_path / "go").open("w").close()
    told, _ = run.communicate(timeout=PATIENCE_SECONDS)
    assert (run.returncode, json.loads(told)["status"]) == (0, "complete")


def send_all(pid: int, number: signal.Signals) -> None:
    """To the process and all that descend from it, as a scheduler does to those of a job step."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            send_all(int(child), number)
    os.kill(pid, number)


@pytest.mark.parametrize(
    ("number", "send"),
    [
        (signal.SIGTERM, os.kill),
        (signal.SIGTERM, send_all),
        (signal.SIGINT, os.killpg),
        (signal.SIGHUP, os.kill),
        (signal.SIGHUP, send_all),
        (signal.SIGUSR1, os.kill),
        (signal.SIGUSR1, send_all),
        (signal.SIGUSR2, send_all),
        (signal.SIGXCPU, send_all),
    ],
)
def test_the_first_signal_drains(
    start: Start,
    number: signal.Signals,
    send: Callable[[int, signal.Signals], None],
    tmp_path: Path,
) -> None:
    previous = signal.signal(number, signal.SIG_DFL)  # the tests may run under `nohup`
    try:
        run = start_waiting(start, tmp_path)
    finally:
        signal.signal(number, previous)
    send(run.pid, number)
    (tmp_path / "go").open("w").close()
    told, errors = run.communicate(timeout=PATIENCE_SECONDS)
    interrupted = json.loads(told)
    assert (run.returncode, interrupted["status"]) == (EXIT_INTERRUPTED, "interrupted")
    assert number.name in interrupted["error"]["what"]
    assert len(errors.splitlines()) == 3

    diagnosis = start(tmp_path, "diagnose", "features", "--json")
    told, _ = diagnosis.communicate(timeout=PATIENCE_SECONDS)
    assert json.loads(told)["state"] == "INTERRUPTED"
    assert any(number.name in hint for hint in json.loads(told)["hints"])

    for pipe in ("begun", "go"):
        (tmp_path / pipe).unlink()
        (tmp_path / pipe).touch()
    again = start(tmp_path, *COMMAND)
    told, errors = again.communicate(timeout=PATIENCE_SECONDS)
    assert again.returncode == 0, errors
    # What was begun was finished, kept, and not done again; what was only handed out was not begun.
    assert interrupted["executed_items"] > 0
    assert interrupted["executed_items"] + json.loads(told)["executed_items"] == 20
    numbers = pq.read_table(tmp_path / "features").column("number").to_pylist()
    assert numbers == list(range(20))


def test_warnings_end_nothing_at_once(start: Start, tmp_path: Path) -> None:
    """The kernel repeats SIGXCPU each second, and schedulers send SIGTERM after their warning."""
    run = start_waiting(start, tmp_path)
    for number in (signal.SIGUSR1, signal.SIGUSR1, signal.SIGXCPU, signal.SIGTERM, signal.SIGXCPU):
        send_all(run.pid, number)
    (tmp_path / "go").open("w").close()
    told, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert (run.returncode, json.loads(told)["status"]) == (EXIT_INTERRUPTED, "interrupted"), errors
    assert json.loads(told)["executed_items"] > 0


LOADS = """
import batten

try:
    open("begun").read()
except BaseException:
    pass


def double(number):
    return {"number": number}


pipeline = batten.from_range(3).map(double).write_parquet("features/")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_the_job_is_loaded(
    start: Start, number: signal.Signals, tmp_path: Path
) -> None:
    """Also where the job hides what is raised."""
    (tmp_path / "job.py").write_text(LOADS)
    os.mkfifo(tmp_path / "begun")
    run = start(tmp_path, *COMMAND)
    with (tmp_path / "begun").open("w"):
        run.send_signal(number)
        told, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert (run.returncode, json.loads(told)["status"]) == (EXIT_INTERRUPTED, "interrupted"), errors
    assert (
        json.loads(told)["error"]["what"] == f"Stopped by {number.name} while the job was loaded."
    )
    assert len(errors.splitlines()) == 3
    assert not (tmp_path / "features.batten").exists()


STARTS_A_PROGRAM = """
import subprocess
from pathlib import Path

def wait(number):
    if number == 5 and not Path("mended").exists():
        subprocess.run(["sh", "-c", "echo > begun; read line < go"], check=True)
    return {"number": number}

pipeline = batten.from_range(20).map(wait).write_parquet("features/").options(batch_size=4)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_an_item_whose_program_died_of_the_signal_did_not_fail(
    start: Start, number: signal.Signals, tmp_path: Path
) -> None:
    run = start_waiting(start, tmp_path, job="import batten\n" + STARTS_A_PROGRAM)
    send_all(run.pid, number)
    told, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert (run.returncode, json.loads(told)["status"]) == (EXIT_INTERRUPTED, "interrupted"), errors
    (tmp_path / "mended").touch()
    again = start(tmp_path, *COMMAND)
    told, errors = again.communicate(timeout=PATIENCE_SECONDS)
    assert (again.returncode, json.loads(told)["items"]["quarantined"]) == (0, 0), errors


OWN_HANDLERS = """
import faulthandler, signal

signal.signal(signal.SIGUSR1, lambda number, frame: open("own", "w").close())
faulthandler.register(signal.SIGUSR2, open("stacks", "w"))
"""


def test_handlers_of_the_job_stay(start: Start, tmp_path: Path) -> None:
    run = start_waiting(start, tmp_path, job=OWN_HANDLERS + WAITS_AT_ITEM_FIVE)
    run.send_signal(signal.SIGUSR1)
    run.send_signal(signal.SIGUSR2)
    (tmp_path / "go").open("w").close()
    told, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert (run.returncode, json.loads(told)["status"]) == (0, "complete"), errors
    assert (tmp_path / "own").exists()
    assert "File" in (tmp_path / "stacks").read_text()


def test_a_second_signal_ends_it_at_once(start: Start, tmp_path: Path) -> None:
    """Although an item is in hand that never ends; its worker is killed."""
    run = start_waiting(start, tmp_path)
    run.send_signal(signal.SIGTERM)
    run.send_signal(signal.SIGINT)
    told, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == EXIT_INTERRUPTED
    # Nothing but that is told by a run that does not wait for its items.
    assert told == ""
    assert errors.startswith("Stopped at once by a second signal, ")
    assert errors.count("\n") == 1


def test_a_second_signal_is_no_crash(start: Start, tmp_path: Path) -> None:
    """Nothing was killed, and the item that was in hand is not to blame, however often."""
    for _ in range(4):
        run = start_waiting(start, tmp_path)
        run.send_signal(signal.SIGTERM)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=PATIENCE_SECONDS)
        assert run.returncode == EXIT_INTERRUPTED
        for pipe in ("begun", "go"):
            (tmp_path / pipe).unlink()
    told = batten.diagnose(tmp_path / "features")
    assert any("by a second signal" in hint for hint in told.hints), told.hints
    assert not any("killed" in hint or "in hand" in hint for hint in told.hints), told.hints
    assert not list((tmp_path / "features.batten/runs").glob("*.inflight"))
    run = start_waiting(start, tmp_path)
    (tmp_path / "go").open("w").close()
    assert run.wait(timeout=PATIENCE_SECONDS) == 0


def test_a_word_is_said_at_each_signal(start: Start, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(WAITS_AT_ITEM_FIVE)
    for pipe in ("begun", "go"):
        os.mkfifo(tmp_path / pipe)
    run = start(tmp_path, "run", "job.py", "--jobs", "2", "--drain-seconds", "60")
    (tmp_path / "begun").open().close()
    assert run.stderr is not None
    run.send_signal(signal.SIGINT)
    assert run.stderr.readline() == (
        "SIGINT: draining, what is in hand may take 60 s to end; the same signal again stops it "
        "at once\n"
    )
    run.send_signal(signal.SIGINT)
    told = run.stderr.readline()
    assert told.startswith("Stopped at once by a second signal, SIGINT. What was finished is kept")
    assert run.wait(timeout=PATIENCE_SECONDS) == EXIT_INTERRUPTED


def test_an_item_that_does_not_end_in_time_is_given_up(start: Start, tmp_path: Path) -> None:
    """The run ends when the time to drain is over, and leaves no throwaway file."""
    run = start_waiting(start, tmp_path, "--drain-seconds", "0.1")
    orphan = tmp_path / "features.batten/staging/COMPLETE.host-1-0a1b2c3d4e5f6071"
    orphan.touch()
    run.send_signal(signal.SIGTERM)
    told, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert (run.returncode, json.loads(told)["status"]) == (EXIT_INTERRUPTED, "interrupted"), errors
    assert list(orphan.parent.iterdir()) == []
    assert list((tmp_path / "features.batten/runs").glob("*.inflight")) == []
    (log,) = (tmp_path / "features.batten/runs").glob("*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["event"] for event in events] == ["start", "signal", "stop"]
    assert (events[1]["signal"], events[2]["status"]) == ("SIGTERM", "interrupted")
    assert events[2]["error"] == "Stopped by SIGTERM."


LONG_SOURCE = """
import batten

def many():
    for number in range(100_000):
        if number == 20_000:
            open("begun", "w").close()
            open("go").close()
        yield {"key": str(number)}

pipeline = batten.from_items(many, key="key").map(lambda row: row).write_parquet("features/")
"""


def test_planning_stops_as_well(start: Start, tmp_path: Path) -> None:
    run = start_waiting(start, tmp_path, job=LONG_SOURCE)
    run.send_signal(signal.SIGTERM)
    (tmp_path / "go").open("w").close()
    told, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == EXIT_INTERRUPTED, errors
    assert json.loads(told)["error"]["what"] == "Stopped by SIGTERM."
    diagnosis = start(tmp_path, "diagnose", "features", "--json")
    hints = json.loads(diagnosis.communicate(timeout=PATIENCE_SECONDS)[0])["hints"]
    assert any("SIGTERM" in hint for hint in hints)


@needs_tracing
@pytest.mark.parametrize("sample", [3, pytest.param(None, marks=pytest.mark.crash, id="all")])
def test_a_signal_at_any_call(
    dear: Subject, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    script = SIGNAL_THE_DRIVER.format(name=seeded.choice(["TERM", "INT"]))
    report = sweep(
        dear.experiment(2, other_codes=frozenset({EXIT_INTERRUPTED})),
        tmp_path / "sweep",
        faults=[partial(Meanwhile, command=("/bin/sh", "-c", script))],
        sample=sample,
        seed=seeded.getrandbits(32),
    )
    report.raise_on_failures()
