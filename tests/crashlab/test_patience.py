"""A tree of processes is judged by its own time, not by that of a busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from batten.crashlab.tracing.patience import Patience, TreeSeen, look_at

TICKS = 100


def count_ticks(*seen: TreeSeen) -> int:
    """How many ticks of a second it bears of 60 seconds; `TICKS` if it bears them all. The last
    that was seen stays."""
    patience = Patience(60.0, 1.0)
    for number in range(TICKS):
        if patience.is_over(seen[min(number, len(seen) - 1)]):
            return number + 1
    return TICKS


def running(*, seconds: float) -> list[TreeSeen]:
    """It could always run, and did so for so many seconds of each."""
    return [TreeSeen(could_run=True, seconds={7: seconds * number}) for number in range(TICKS)]


def test_who_only_waits_has_the_time_of_the_clock() -> None:
    assert count_ticks(TreeSeen(could_run=False, seconds={7: 3.0})) == 60


def test_who_runs_all_the_time_has_so_much() -> None:
    assert count_ticks(*running(seconds=1.0)) == 61


def test_who_gets_no_processor_is_waited_for() -> None:
    assert count_ticks(*running(seconds=0.01)) == TICKS


def test_many_processes_count_no_faster_than_the_clock() -> None:
    seen = [TreeSeen(could_run=True, seconds={7: 1.0 * n, 8: 1.0 * n}) for n in range(TICKS)]
    assert count_ticks(*seen) == 61


def test_processes_that_come_and_go_take_no_time_back() -> None:
    seen = [TreeSeen(could_run=True, seconds={n: 1.0}) for n in range(TICKS)]
    assert count_ticks(*seen) == 60


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_a_process_does_is_seen() -> None:
    here = look_at({threading.get_native_id(): os.getpid()})
    assert here.could_run
    assert here.seconds[os.getpid()] > 0
    waits = "import sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-S", "-c", waits]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while look_at({process.pid: process.pid}).could_run:
            pass  # It has not begun to read yet.
    assert look_at({process.pid: process.pid}) == TreeSeen(could_run=False, seconds={})
