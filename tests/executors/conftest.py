"""What tests of executors share: real processes, watched through pidfds, never by sleeping."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from batten.executors.base import Event, Executor, Work
from batten.executors.marks import MakeFile
from batten.executors.processes.pool import ProcessExecutor
from batten.executors.processes.terms import WorkerBirth, WorkerLimits
from batten.storage.local.folder import LocalStorage
from batten.testing.executors import DEADLINE_SECONDS, Gate, collect_events


class Ends:
    """Processes that must end. A process that has already gone has ended."""

    def __init__(self, pids: list[int]) -> None:
        self._handles = {}
        for pid in pids:
            try:
                self._handles[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue

    def wait(self) -> list[int]:
        """Those that are still alive at the deadline."""
        alive = []
        for pid, handle in self._handles.items():
            if not select.select([handle], [], [], DEADLINE_SECONDS)[0]:
                alive.append(pid)
            os.close(handle)
        return alive


@pytest.fixture
def watch_ends() -> Callable[[list[int]], Ends]:
    return Ends


@pytest.fixture
def make_gate() -> Iterator[Callable[[], Gate]]:
    gates: list[Gate] = []

    def make() -> Gate:
        gates.append(Gate())
        return gates[-1]

    yield make
    for gate in gates:
        os.close(gate.read)
        os.close(gate.write)


@pytest.fixture
def collect() -> Callable[[Executor, int], list[Event]]:
    return collect_events


def _take(kind: type, options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that are fields of the value."""
    return {name: options.pop(name) for name in kind.__annotations__ if name in options}


@pytest.fixture
def run_processes() -> Iterator[Callable[..., ProcessExecutor]]:
    """Makes and starts a pool; it is stopped after the test."""
    pools: list[ProcessExecutor] = []

    def run(work: Work, jobs: int = 1, **options: Any) -> ProcessExecutor:
        limits = WorkerLimits(**_take(WorkerLimits, options))
        birth = WorkerBirth(**_take(WorkerBirth, options))
        pool = ProcessExecutor(jobs, limits=limits, birth=birth, **options)
        pools.append(pool)
        pool.start(work)
        return pool

    yield run
    for pool in pools:
        pool.stop()


@pytest.fixture
def in_flight(tmp_path: Path) -> Path:
    return tmp_path / "run.inflight"


@pytest.fixture
def make_marks(in_flight: Path) -> MakeFile:
    """Makes the file of that path, as a run does."""
    return partial(LocalStorage(in_flight.parent).create_shared, in_flight.name)
