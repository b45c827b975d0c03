"""Workers that use too much memory, and what they start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batten.executors.base import Died, Event, Finished, Mark
from batten.executors.processes.limits.memory_limit import measure_memory
from batten.executors.processes.pool import ProcessExecutor

MEBIBYTE = 1 << 20
ROOM = 100 * MEBIBYTE

RunProcesses = Callable[..., ProcessExecutor]
Collect = Callable[[ProcessExecutor, int], list[Event]]


def fill(task: Any, mark: Mark) -> int:
    """Fills so many mebibytes; with too many it never answers."""
    item, mebibytes = task
    mark.begin(item)
    kept = b"x" * (mebibytes * MEBIBYTE)
    if mebibytes > 1:
        signal.sigwait([])
    return len(kept)


def start_another(task: Any, mark: Mark) -> None:
    mark.begin(task)
    subprocess.run([sys.executable, "-c", f"kept = b'x' * {2 * ROOM}; input()"], check=False)


def measure_itself(task: Any, mark: Mark) -> int:
    mark.begin(task)
    return measure_memory(os.getpid())


@pytest.fixture
def room(run_processes: RunProcesses, collect: Collect) -> int:
    """What a worker takes that does nothing, and ROOM; the process of the tests may take more."""
    pool = run_processes(measure_itself)
    pool.submit(0, 0)
    (event,) = collect(pool, 1)
    assert isinstance(event, Finished)
    return int(event.value) + ROOM


def test_a_worker_that_takes_too_much_dies_with_its_item_named(
    run_processes: RunProcesses, collect: Collect, room: int
) -> None:
    pool = run_processes(fill, memory_bytes_max=room)
    for task_id, task in enumerate([(0, 1), (7, 2 * ROOM // MEBIBYTE), (9, 1)]):
        pool.submit(task_id, task)
    first, death, last = collect(pool, 3)
    assert isinstance(first, Finished)
    assert isinstance(death, Died)
    assert (death.task_id, death.item) == (1, 7)
    assert "memory_max is" in death.cause
    assert isinstance(last, Finished)


def test_what_a_worker_starts_counts_too(
    run_processes: RunProcesses, collect: Collect, room: int
) -> None:
    pool = run_processes(start_another, memory_bytes_max=room)
    pool.submit(0, 5)
    (death,) = collect(pool, 1)
    assert isinstance(death, Died)
    assert death.item == 5
    assert "memory_max is" in death.cause


def test_memory_of_a_process_that_has_ended_is_none(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert measure_memory(process.pid) == 0
