"""Kills at random moments: they land, the command is run again, and nobody is left behind."""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

import pytest

from batten.crashlab.random_kills import NotDoneError, Victim, run_with_random_kills

# The first run that gets far enough hangs beside a worker, which is a session of its own; the run
# after that is done.
HANG_ONCE = """
import os, signal, sys
if os.path.exists("made"):
    sys.exit()
if os.fork() == 0:
    signal.alarm(60)
    os.setsid()
    os.mkdir("made")
    signal.pause()
os.wait()
"""


@pytest.mark.parametrize(("target", "survivors"), [(Victim.TREE, 0), (Victim.DRIVER, 1)])
def test_the_tree_or_the_driver_is_killed_until_done(
    tmp_path: Path, seeded: random.Random, target: Victim, survivors: int
) -> None:
    runs = run_with_random_kills(
        [sys.executable, "-I", "-S", "-c", HANG_ONCE],
        kills=1000,
        delay_seconds_max=0.1,
        seed=seeded.getrandbits(32),
        targets=[target],
        working_folder=tmp_path,
        patience_seconds=0,
    )
    assert [attempt.returncode for attempt in runs.attempts[-2:]] == [-signal.SIGKILL, 0]
    assert all(attempt.killed for attempt in runs.attempts[:-1])
    assert runs.survivors >= survivors
    if target is Victim.TREE:
        assert runs.survivors == 0


def test_one_worker_is_killed(tmp_path: Path, seeded: random.Random) -> None:
    runs = run_with_random_kills(
        ["/bin/sh", "-c", "sleep 1000 & wait $!; echo $?"],
        kills=1,
        delay_seconds_max=0.01,
        seed=seeded.getrandbits(32),
        targets=[Victim.WORKER],
        working_folder=tmp_path,
    )
    (attempt,) = runs.attempts
    assert (attempt.killed, attempt.returncode) == (1, 0)
    assert int(attempt.stdout) == 128 + signal.SIGKILL


def test_a_run_that_was_left_alone_must_be_done(tmp_path: Path) -> None:
    with pytest.raises(NotDoneError, match="seed 5"):
        run_with_random_kills(["/bin/sh", "-c", "exit 9"], kills=0, delay_seconds_max=0.1, seed=5)


def test_the_same_seed_makes_the_same_choices(tmp_path: Path) -> None:
    attempts = [
        run_with_random_kills(["/bin/true"], kills=1, delay_seconds_max=60, seed=3).attempts[0]
        for _ in range(2)
    ]
    assert attempts[0] == attempts[1]
    assert attempts[0].killed == 0
    assert os.listdir(tmp_path) == []
