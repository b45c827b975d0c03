"""The driver is killed: alone, with its process group, or with everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batten.executors.marks import read_in_flight

HELD = """
import os, subprocess

def work(item, mark):
    mark.begin(item)
    child = subprocess.Popen(["sleep", "1000"])
    os.write(1, b"%d %d %d\\n" % (os.getpid(), os.getppid(), child.pid))
    child.wait()
"""

DRIVER = """
import os, signal, sys
from functools import partial
from batten.executors.processes.pool import ProcessExecutor
from batten.executors.processes.terms import WorkerBirth
from batten.storage.local.folder import LocalStorage
from held import work

folder, name = os.path.split(sys.argv[1])
make_marks = partial(LocalStorage(folder).create_shared, name)
pool = ProcessExecutor(2, in_flight=make_marks, birth=WorkerBirth(is_fresh=sys.argv[2] == "spawn"))
pool.start(work)
if sys.argv[3:] == ["copy"]:
    if os.fork() == 0:
        os.write(1, b"copy %d\\n" % os.getpid())
        signal.pause()
for number in range(2):
    pool.submit(number, 100 + number)
pool.wait()
signal.pause()
"""

PRINTER = """
import sys
from batten.executors.processes.pool import ProcessExecutor
from batten.executors.processes.terms import WorkerBirth

def work(task, mark):
    print("from a worker", sys.stdin.read() == "")

print("buffered before the fork", end=";")
pool = ProcessExecutor(2, birth=WorkerBirth(stdout_to_stderr=sys.argv[1] == "stderr"))
pool.start(work)
for number in range(2):
    pool.submit(number, number)
count = 0
while count < 2:
    count += len(pool.wait())
pool.stop()
print("from the driver")
"""


class Driver:
    """A driver with two workers, each with an item and a program in hand."""

    def __init__(self, in_flight: Path, way: str, *options: str) -> None:
        (in_flight.parent / "held.py").write_text(HELD)
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(in_flight), way, *options],
            cwd=in_flight.parent,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout
        lines = [self.process.stdout.readline().split() for _ in range(2 + len(options))]
        self.copies = [int(line[1]) for line in lines if line[0] == b"copy"]
        rows = [list(map(int, line)) for line in lines if line[0] != b"copy"]
        self.workers = [row[0] for row in rows]
        self.nursery = rows[0][1]
        self.programs = [row[2] for row in rows]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


StartDriver = Callable[..., Driver]


@pytest.fixture(params=["fork", "spawn"])
def start_driver(in_flight: Path, request: pytest.FixtureRequest) -> Iterator[StartDriver]:
    drivers: list[Driver] = []

    def start(*options: str) -> Driver:
        drivers.append(Driver(in_flight, request.param, *options))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.end()


@pytest.mark.parametrize("is_group", [False, True])
def test_nothing_outlives_the_driver(
    start_driver: StartDriver,
    watch_ends: Callable[[list[int]], Any],
    in_flight: Path,
    is_group: bool,
) -> None:
    driver = start_driver()
    ends = watch_ends([driver.nursery, *driver.workers, *driver.programs])
    if is_group:
        os.killpg(driver.process.pid, signal.SIGKILL)
    else:
        os.kill(driver.process.pid, signal.SIGKILL)
    assert ends.wait() == []
    assert sorted(read_in_flight(in_flight.read_bytes())) == [100, 101]


def test_a_copy_of_the_driver_keeps_no_worker_alive(
    start_driver: StartDriver, watch_ends: Callable[[list[int]], Any]
) -> None:
    driver = start_driver("copy")
    ends = watch_ends([driver.nursery, *driver.workers, *driver.programs])
    os.kill(driver.process.pid, signal.SIGKILL)
    try:
        assert ends.wait() == []
    finally:
        os.kill(driver.copies[0], signal.SIGKILL)


def test_marks_are_there_after_everything_was_killed_at_once(
    start_driver: StartDriver, watch_ends: Callable[[list[int]], Any], in_flight: Path
) -> None:
    driver = start_driver()
    everything = [driver.process.pid, driver.nursery, *driver.workers, *driver.programs]
    ends = watch_ends(everything)
    for pid in everything:
        os.kill(pid, signal.SIGSTOP)
    for pid in everything:
        os.kill(pid, signal.SIGKILL)
    assert ends.wait() == []
    assert sorted(read_in_flight(in_flight.read_bytes())) == [100, 101]


def test_workers_end_with_the_nursery_whatever_the_driver_does(
    start_driver: StartDriver, watch_ends: Callable[[list[int]], Any]
) -> None:
    driver = start_driver()
    ends = watch_ends(driver.workers)
    os.kill(driver.process.pid, signal.SIGSTOP)
    os.kill(driver.nursery, signal.SIGKILL)
    try:
        assert ends.wait() == []
    finally:
        for pid in driver.programs:
            os.kill(pid, signal.SIGKILL)


def test_signals_that_stop_the_driver_leave_nursery_and_workers_alone(
    start_driver: StartDriver, watch_ends: Callable[[list[int]], Any]
) -> None:
    driver = start_driver()
    for number in (signal.SIGINT, signal.SIGTERM):
        for pid in [driver.nursery, *driver.workers]:
            os.kill(pid, number)
    os.kill(driver.programs[0], signal.SIGKILL)
    ends = watch_ends([driver.programs[0]])
    assert ends.wait() == []
    assert driver.process.poll() is None
    for pid in [driver.nursery, *driver.workers]:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        assert state not in "ZX"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_workers_print_comes_once_and_where_it_is_wanted(stream: str) -> None:
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", PRINTER, stream],
        input="not for workers",
        env=buffered,
        capture_output=True,
        text=True,
        check=True,
    )
    driver = "buffered before the fork;{}from the driver\n"
    printed = "from a worker True\n" * 2
    if stream == "stderr":
        assert (done.stdout, done.stderr) == (driver.format(""), printed)
    else:
        assert (done.stdout, done.stderr) == (driver.format(printed), "")
