"""Every executor passes the public contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from batten.executors.asynchronous import AsyncExecutor
from batten.executors.base import Executor, Mark
from batten.executors.processes.pool import ProcessExecutor
from batten.executors.serial import SerialExecutor
from batten.executors.threads import ThreadExecutor
from batten.testing import ExecutorContract

MAKERS: dict[str, Callable[..., Executor]] = {
    "serial": lambda jobs, **options: SerialExecutor(**options),
    "threads": ThreadExecutor,
    "processes": ProcessExecutor,
    "asynchronous": AsyncExecutor,
}


class TestExecutors(ExecutorContract):
    @pytest.fixture(autouse=True, params=MAKERS)
    def choose(self, request: pytest.FixtureRequest) -> None:
        self._make = MAKERS[request.param]
        self.runs_in_wait = request.param == "serial"
        self.can_kill = request.param == "processes"

    def make_executor(self, jobs: int, **options: Any) -> Executor:
        return self._make(jobs, **options)


def test_serial_lets_what_is_no_exception_through() -> None:
    def stop_here(task: int, mark: Mark) -> None:
        raise KeyboardInterrupt

    executor = SerialExecutor()
    executor.start(stop_here)
    executor.submit(0, None)
    with pytest.raises(KeyboardInterrupt):
        executor.wait()
    executor.stop()
