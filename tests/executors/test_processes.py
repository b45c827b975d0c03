"""The process pool, with real processes that really die."""

from __future__ import annotations

import ctypes
import faulthandler
import fcntl
import io
import multiprocessing
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import ANY

import pyarrow.csv
import pytest

from batten.errors import BattenError, FailedRunError, InterruptedRunError, StorageError
from batten.executors.base import Died, Event, Finished, Mark, Raised, TimedOut
from batten.executors.marks import MakeFile, read_in_flight
from batten.executors.processes.pool import ProcessExecutor

RunProcesses = Callable[..., ProcessExecutor]
Collect = Callable[[ProcessExecutor, int], list[Event]]
WatchEnds = Callable[[list[int]], Any]
MakeGate = Callable[[], Any]


def call(task: Any, mark: Mark) -> Any:
    """Work whose tasks are (name, arguments) of the functions below."""
    name, *arguments = task
    return globals()[name](mark, *arguments)


def tell_pids(mark: Mark) -> tuple[int, int]:
    return os.getpid(), os.getppid()


def segfault(mark: Mark, item: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()
    mark.begin(item)
    ctypes.string_at(0)


def exit_hard(mark: Mark, item: int, status: int) -> None:
    mark.begin(item)
    os._exit(status)


def exit_soft(mark: Mark, item: int, status: Any) -> None:
    mark.begin(item)
    sys.exit(status)


def kill_self(mark: Mark) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(mark: Mark, item: int) -> None:
    mark.begin(item)
    signal.sigwait([])


def values(events: list[Event]) -> list[Any]:
    return [event.value for event in events if isinstance(event, Finished)]


# Deaths


@pytest.mark.parametrize(
    ("task", "item", "cause"),
    [
        (("segfault", 5), 5, "was killed by signal SIGSEGV"),
        (("exit_hard", 6, 3), 6, "exited with status 3"),
        (("exit_hard", 6, 0), 6, "exited with status 0"),
        (("exit_soft", 7, 4), 7, "exited with status 4"),
        (("exit_soft", 7, None), 7, "exited with status 0"),
        (("exit_soft", 7, "a reason"), 7, "exited with status 1"),
        (("kill_self",), None, "was killed by signal SIGKILL"),
    ],
)
def test_a_death_costs_the_task_in_hand_and_tells_its_item_and_cause(
    run_processes: RunProcesses, collect: Collect, task: Any, item: int | None, cause: str
) -> None:
    pool = run_processes(call)
    pool.submit(0, ("tell_pids",))
    pool.submit(1, task)
    pool.submit(2, ("tell_pids",))
    first, death, last = collect(pool, 3)
    assert death == Died(task_id=1, item=item, cause=cause)
    assert (first.task_id, last.task_id) == (0, 2)
    assert isinstance(first, Finished)
    assert isinstance(last, Finished)
    assert first.value[0] != last.value[0]


def test_a_worker_killed_while_idle_costs_nothing(
    run_processes: RunProcesses, collect: Collect, watch_ends: WatchEnds
) -> None:
    pool = run_processes(call)
    pool.submit(0, ("tell_pids",))
    ((pid, _),) = values(collect(pool, 1))
    ends = watch_ends([pid])
    os.kill(pid, signal.SIGKILL)
    assert ends.wait() == []
    pool.submit(1, ("tell_pids",))
    (event,) = collect(pool, 1)
    assert isinstance(event, Finished)
    assert event.value[0] != pid


def test_a_task_that_was_not_begun_has_no_number(
    run_processes: RunProcesses, collect: Collect
) -> None:
    pool = run_processes(call)
    for _ in range(10):
        pool.submit(-1, ("exit_hard", 1, 3))
        assert collect(pool, 1) == [Died(task_id=-1, item=1, cause="exited with status 3")]
    pool.submit(0, ("tell_pids",))
    assert len(values(collect(pool, 1))) == 1


def test_an_answer_given_before_the_death_counts(
    run_processes: RunProcesses, collect: Collect, watch_ends: WatchEnds, make_gate: MakeGate
) -> None:
    told = make_gate()
    pool = run_processes(lambda task, mark: os.write(told.write, b"%d" % os.getpid()))
    pool.submit(0, None)
    pid = int(os.read(told.read, 100))
    (worker,) = pool._workers.values()
    select.select([worker.results], [], [])
    ends = watch_ends([pid])
    os.kill(pid, signal.SIGKILL)
    assert ends.wait() == []
    while Path(f"/proc/{pid}").exists():
        os.sched_yield()
    assert values(collect(pool, 1)) == [len(str(pid))]


def test_tasks_queued_behind_a_death_are_run_elsewhere(
    run_processes: RunProcesses, collect: Collect, make_gate: MakeGate, tmp_path: Path
) -> None:
    begun, gate = make_gate(), make_gate()

    def work(task: str, mark: Mark) -> str:
        if task == "wait":
            mark.begin(77)
            begun.open()
            gate.pass_through()
        return str(os.getpid()) if task == "who" else task

    pool = run_processes(work, prefetch=3)
    pool.submit(0, "who")
    (pid,) = values(collect(pool, 1))
    for task_id, task in enumerate(["wait", "a", "b", "c", "d"], start=1):
        pool.submit(task_id, task)
    begun.pass_through()
    (worker,) = pool._workers.values()
    assert list(worker.assigned) == [1, 2, 3, 4]
    os.kill(int(pid), signal.SIGKILL)
    events = collect(pool, 5)
    assert events[0] == Died(task_id=1, item=77, cause="was killed by signal SIGKILL")
    assert values(events) == ["a", "b", "c", "d"]


def test_slow_tasks_are_not_queued_behind(
    run_processes: RunProcesses, collect: Collect, make_gate: MakeGate
) -> None:
    gate = make_gate()

    def work(task: int, mark: Mark) -> int:
        if task == 0:
            gate.pass_through()
        return task

    pool = run_processes(work, jobs=2, prefetch=5)
    for task in range(20):
        pool.submit(task, task)
    assert sorted(values(collect(pool, 19))) == list(range(1, 20))
    gate.open()
    assert values(collect(pool, 1)) == [0]


def test_random_kills_leave_one_event_for_each_task(
    run_processes: RunProcesses, seeded: Random
) -> None:
    def work(task: int, mark: Mark) -> int:
        mark.begin(task)
        total = sum(range(task % 7 * 1000))
        mark.end()
        return total

    pool = run_processes(work, jobs=3, prefetch=2)
    events: list[Event] = []
    for task in range(1000):
        pool.submit(task, task)
    while len(events) < 1000:
        more = pool.wait(60)
        assert more
        events += more
        if seeded.random() < 0.05 and pool.worker_pids:
            try:
                os.kill(seeded.choice(pool.worker_pids), signal.SIGKILL)
            except ProcessLookupError:
                continue
    assert sorted(event.task_id for event in events) == list(range(1000))
    deaths = [event for event in events if isinstance(event, Died)]
    assert all(event.item in (None, event.task_id) for event in deaths)
    assert len(deaths) + len(values(events)) == 1000
    assert pool.wait() == []


def test_what_a_dead_worker_started_ends_with_it(
    run_processes: RunProcesses, collect: Collect, watch_ends: WatchEnds, make_gate: MakeGate
) -> None:
    told = make_gate()

    def start_sleep(task: None, mark: Mark) -> None:
        child = subprocess.Popen(["sleep", "1000"])
        os.write(told.write, b"%d %d\n" % (os.getpid(), child.pid))
        child.wait()

    pool = run_processes(start_sleep)
    pool.submit(0, None)
    pid, child = map(int, os.read(told.read, 100).split())
    ends = watch_ends([child])
    os.kill(pid, signal.SIGKILL)
    assert ends.wait() == []
    (event,) = collect(pool, 1)
    assert event == Died(task_id=0, item=None, cause="was killed by signal SIGKILL")


STILLBORN = """
import os
from batten.errors import InterruptedRunError
from batten.executors.processes.pool import ProcessExecutor

forks = []

def end_second_generation():
    forks.append(1)
    if len(forks) == 2:
        os._exit(9)

os.register_at_fork(after_in_child=end_second_generation)
pool = ProcessExecutor(2)
pool.start(lambda task, mark: task)
pool.submit(0, None)
try:
    pool.wait()
except InterruptedRunError as error:
    print(error.what)
pool.stop()
"""


def test_workers_that_end_before_any_work_end_the_run() -> None:
    command = [sys.executable, "-c", STILLBORN]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (
        told
        == "5 workers in a row ended before they took any work; the last exited with status 9.\n"
    )


# Time limits


def test_an_item_over_the_limit_is_killed_alone(
    run_processes: RunProcesses, collect: Collect, watch_ends: WatchEnds
) -> None:
    def work(task: int, mark: Mark) -> int:
        for item in range(10 * task, 10 * task + 3):
            mark.begin(item)
            if item == 11:
                subprocess.run(["sleep", "1000"], check=False)
            mark.end()
        return task

    pool = run_processes(work, jobs=2, timeout_seconds=0.2)
    for task in range(6):
        pool.submit(task, task)
    events = {event.task_id: event for event in collect(pool, 6)}
    late = events.pop(1)
    assert isinstance(late, TimedOut)
    assert late.item == 11
    assert late.limit_seconds == 0.2
    assert sorted(values(list(events.values()))) == [0, 2, 3, 4, 5]


def test_the_limit_is_for_items_and_not_for_tasks(
    run_processes: RunProcesses, collect: Collect, make_gate: MakeGate
) -> None:
    gate = make_gate()

    def work(task: int, mark: Mark) -> int:
        gate.pass_through()
        return task

    pool = run_processes(work, timeout_seconds=0.01)
    pool.submit(0, 0)
    assert pool.wait(0.05) == []
    gate.open()
    assert values(collect(pool, 1)) == [0]


def test_a_long_limit_is_no_trouble(run_processes: RunProcesses, collect: Collect) -> None:
    pool = run_processes(call, timeout_seconds=1e12)
    pool.submit(0, ("tell_pids",))
    assert len(values(collect(pool, 1))) == 1


# What crosses the pipes


def test_work_and_its_captured_values_are_inherited(
    run_processes: RunProcesses, collect: Collect
) -> None:
    class Local:
        def __reduce__(self) -> Any:
            raise TypeError("not to be pickled")

    local, factor = Local(), 3
    pool = run_processes(lambda task, mark: (task * factor, type(local).__name__))
    pool.submit(0, 5)
    assert values(collect(pool, 1)) == [(15, "Local")]


def test_large_tasks_and_results_block_nobody(
    run_processes: RunProcesses, collect: Collect
) -> None:
    pool = run_processes(lambda task, mark: task, jobs=2, prefetch=4)
    tasks = {task_id: os.urandom(1_000_000) for task_id in range(20)}
    for task_id, task in tasks.items():
        pool.submit(task_id, task)
    events = collect(pool, 20)
    assert {event.task_id: event.value for event in events if isinstance(event, Finished)} == tasks


class TwoArgumentsError(Exception):
    """Pickles, but does not unpickle."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} at {where}")


class Unloadable:
    def __reduce__(self) -> Any:
        return int, ("not a number",)


def test_what_does_not_pickle_is_raised_as_text(
    run_processes: RunProcesses, collect: Collect
) -> None:
    def work(task: str, mark: Mark) -> Any:
        class LocalError(Exception):
            pass

        if task == "local":
            raise LocalError("mine")
        if task == "arguments":
            raise TwoArgumentsError("odd", "here")
        return Unloadable() if task == "unloadable" else lambda: None

    pool = run_processes(work)
    for task_id, task in enumerate(["local", "arguments", "lambda", "unloadable"]):
        pool.submit(task_id, task)
    events = collect(pool, 4)
    raised = [event for event in events if isinstance(event, Raised)]
    assert len(raised) == 4
    local, arguments, value, unloadable = raised
    for event, text in [(local, "mine"), (arguments, "odd at here"), (unloadable, "unpickled")]:
        assert isinstance(event.error, FailedRunError)
        assert text in str(event.error)
    assert "pickle" in str(value.error)
    assert "work" in local.trace


# What workers hold and hear


def list_handles() -> set[str]:
    links = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            links.add(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            continue
    return links


def name_kinds(links: set[str]) -> list[str]:
    return sorted(link.split(":")[0] for link in links)


def test_workers_hold_nothing_of_the_driver_and_of_each_other(
    run_processes: RunProcesses,
    collect: Collect,
    in_flight: Path,
    make_marks: MakeFile,
    tmp_path: Path,
) -> None:
    # From now on Arrow makes a pipe of its own in each forked process: that is nobody else's.
    pyarrow.csv.read_csv(io.BytesIO(b"a\n1\n"))
    before = list_handles() | {os.devnull}
    pool = run_processes(lambda task, mark: list_handles() - before, jobs=3, in_flight=make_marks)
    seen: set[frozenset[str]] = set()
    with open(tmp_path / "lock", "w"):
        for round_number in range(2):
            for task_id in range(30):
                pool.submit(task_id, None)
            now = set(map(frozenset, values(collect(pool, 30))))
            seen |= now
            assert len(seen) > 1
            for held in now:
                # Its tasks and answers; and its standard output and error, which are everybody's.
                shared = set().union(*(seen - {held})) & held
                assert name_kinds(list_handles() & held) == [str(in_flight), "pipe", "pipe"]
                assert name_kinds(shared) == [str(in_flight), "pipe", "pipe"]
                assert set(name_kinds(set(held))) == {str(in_flight), "pipe"}
            if round_number == 0:
                for pid in pool.worker_pids:
                    os.kill(pid, signal.SIGKILL)


def test_a_worker_ignores_what_stops_the_driver_and_its_children_do_not(
    run_processes: RunProcesses, collect: Collect
) -> None:
    def work(task: None, mark: Mark) -> tuple[int, int | None]:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        program = subprocess.Popen(["sleep", "1000"])
        program.terminate()
        forked = multiprocessing.get_context("fork").Process(target=signal.pause)
        forked.start()
        forked.terminate()
        forked.join()
        return program.wait(), forked.exitcode

    pool = run_processes(work)
    for task_id in range(20):
        pool.submit(task_id, None)
    assert values(collect(pool, 20)) == [(-signal.SIGTERM, -signal.SIGTERM)] * 20


def test_a_forked_copy_of_a_worker_answers_nothing(
    run_processes: RunProcesses, collect: Collect
) -> None:
    def work(task: None, mark: Mark) -> int:
        child = os.fork()
        return os.waitpid(child, 0)[1] if child else 99

    pool = run_processes(work)
    for task_id in range(5):
        pool.submit(task_id, None)
    assert values(collect(pool, 5)) == [0] * 5
    assert pool.wait(0) == []


def test_a_worker_that_closes_its_pipes_is_ended(
    run_processes: RunProcesses, collect: Collect
) -> None:
    def work(task: int, mark: Mark) -> int:
        if task == 0:
            mark.begin(8)
            os.closerange(3, 1000)
            signal.pause()
        return task

    pool = run_processes(work)
    pool.submit(0, 0)
    pool.submit(1, 1)
    assert collect(pool, 2) == [
        Died(task_id=0, item=8, cause="was killed by signal SIGKILL"),
        Finished(task_id=1, value=1),
    ]


# Stopping, and what can't be had


def test_stop_ends_workers_that_hang_and_what_they_started(
    run_processes: RunProcesses, collect: Collect, watch_ends: WatchEnds, make_gate: MakeGate
) -> None:
    told = make_gate()

    def start_sleep(task: None, mark: Mark) -> None:
        child = subprocess.Popen(["sleep", "1000"])
        os.write(told.write, b"%d %d %d\n" % (os.getpid(), os.getppid(), child.pid))
        child.wait()

    pool = run_processes(start_sleep, jobs=2)
    pool.submit(0, None)
    pool.submit(1, None)
    told_bytes = b""
    while told_bytes.count(b"\n") < 2:
        told_bytes += os.read(told.read, 100)
    pids = list(map(int, told_bytes.split()))
    ends = watch_ends(pids)
    pool.stop()
    assert not any(Path(f"/proc/{pid}").exists() for pid in {*pids[0:2], *pids[3:5]})
    assert ends.wait() == []


def test_what_was_in_hand_is_told_when_the_nursery_dies_and_others_go_on(
    run_processes: RunProcesses, collect: Collect, watch_ends: WatchEnds, make_gate: MakeGate
) -> None:
    told = make_gate()

    def start_sleep(task: int | None, mark: Mark) -> int:
        if task is not None:
            return os.getppid()
        mark.begin(70)
        child = subprocess.Popen(["sleep", "1000"])
        os.write(told.write, b"%d %d %d\n" % (os.getpid(), os.getppid(), child.pid))
        child.wait()
        return 0

    pool = run_processes(start_sleep, jobs=2)
    pool.submit(0, None)
    worker, nursery, child = map(int, os.read(told.read, 100).split())
    ends = watch_ends([worker, nursery, child])
    assert pool.wait(0) == []
    os.kill(nursery, signal.SIGKILL)
    (died,) = collect(pool, 1)
    cause = "was killed with the process that keeps the workers"
    assert died == Died(task_id=0, item=70, cause=cause)
    assert ends.wait() == []
    pool.submit(1, 1)
    (event,) = collect(pool, 1)
    assert isinstance(event, Finished)
    assert event.value != nursery
    pool.stop()
    pool.stop()


def test_tasks_that_wait_outlive_the_nursery(run_processes: RunProcesses, collect: Collect) -> None:
    """An item that kills the nursery each time, among others, costs itself alone."""

    def kill_parent(task: int, mark: Mark) -> int:
        mark.begin(task)
        if task == 5:
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
        mark.end()
        return task

    pool = run_processes(kill_parent, jobs=2, prefetch=3)
    left, died, ended = set(range(12)), [], set()
    for task in left:
        pool.submit(task, task)
    while len(ended) + len(died) < 12 + 2:
        for event in pool.wait(60):
            if isinstance(event, Finished):
                ended.add(event.value)
                continue
            assert isinstance(event, Died)
            if event.item is None or event.item != 5:
                pool.submit(event.task_id, event.task_id)
                continue
            died.append(event.item)
            if len(died) < 3:
                pool.submit(5, 5, in_new_process=True)
    assert ended == left - {5}


def test_nurseries_that_die_with_nothing_in_hand_end_the_run(
    run_processes: RunProcesses, make_gate: MakeGate
) -> None:
    told = make_gate()

    def tell_nursery(task: None, mark: Mark) -> None:
        os.write(told.write, b"%d\n" % os.getppid())
        signal.pause()

    pool = run_processes(tell_nursery)
    pool.submit(0, None)
    for _ in range(4):
        os.kill(int(os.read(told.read, 100)), signal.SIGKILL)
        assert pool.wait(60) == [Died(task_id=0, item=None, cause=ANY)]
        pool.submit(0, None)
    os.kill(int(os.read(told.read, 100)), signal.SIGKILL)
    assert pool.wait(60) == [Died(task_id=0, item=None, cause=ANY)]
    pool.submit(0, None)
    with pytest.raises(InterruptedRunError) as caught:
        pool.wait(60)
    assert caught.value.safe
    pool.stop()


def test_a_task_that_wants_a_new_process_gets_one(
    run_processes: RunProcesses, collect: Collect
) -> None:
    pool = run_processes(call, jobs=2)
    seen = []
    for task_id in range(6):
        pool.submit(task_id, ("tell_pids",), in_new_process=task_id >= 2)
        ((pid, _),) = values(collect(pool, 1))
        seen.append(pid)
    assert len(set(seen[2:]) - set(seen[:2])) == 4


def expect_storage_error(pool: ProcessExecutor) -> None:
    pool.submit(1, ("tell_pids",))
    with pytest.raises(StorageError) as caught:
        pool.wait(60)
    error: BattenError = caught.value
    assert "cannot start a worker process" in error.what
    assert "again" in error.next


def test_no_handles_left_in_the_driver(run_processes: RunProcesses) -> None:
    pool = run_processes(call)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        expect_storage_error(pool)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("most", [0, 3, 5])
def test_no_worker_to_be_had_by_the_nursery(
    run_processes: RunProcesses, collect: Collect, most: int
) -> None:
    """Nor may it even wait for its workers, where it may have few files open."""
    pool = run_processes(call, jobs=2)
    pool.submit(0, ("tell_pids",))
    ((pid, nursery),) = values(collect(pool, 1))
    resource.prlimit(nursery, resource.RLIMIT_NOFILE, (most, most))
    os.kill(pid, signal.SIGKILL)
    expect_storage_error(pool)


def say_much(mark: Mark, size: int) -> int:
    os.write(1, b"x" * size)
    return os.getpid()


def test_the_end_of_the_nursery_loses_nothing_that_was_printed(watch_ends: WatchEnds) -> None:
    """A reader that reads nothing until the workers have ended still gets all of it."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    told, tell = os.pipe()
    wait, go_on = os.pipe()
    driver = os.fork()
    if not driver:
        os.dup2(writer, 1)
        pool = ProcessExecutor(1)
        pool.start(call)
        pool.submit(0, ("say_much", 20_000))
        (event,) = pool.wait(60)
        os.write(tell, str(values([event])[0]).encode())
        os.read(wait, 1)
        pool.stop()
        os._exit(0)
    os.close(writer)
    ends = watch_ends([int(os.read(told, 100))])
    os.write(go_on, b"x")
    assert not ends.wait()
    with open(reader, "rb") as file:
        assert len(file.read()) == 20_000
    os.waitpid(driver, 0)
    for each in (told, tell, wait, go_on):
        os.close(each)


def test_no_process_to_be_had_for_the_nursery(in_flight: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = os.listdir("/proc/self/fd")
    pool = ProcessExecutor(1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(StorageError):
            pool.start(call)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    pool.stop()
    assert os.listdir("/proc/self/fd") == before


def test_two_pools_do_not_hold_each_other_up(run_processes: RunProcesses, collect: Collect) -> None:
    first = run_processes(call, jobs=2)
    first.submit(0, ("tell_pids",))
    collect(first, 1)
    second = run_processes(call)
    first.stop()
    second.submit(0, ("tell_pids",))
    assert len(values(collect(second, 1))) == 1


def test_a_pool_within_a_worker(run_processes: RunProcesses, collect: Collect) -> None:
    def nest(task: int, mark: Mark) -> int:
        inner = ProcessExecutor(1)
        inner.start(lambda task, mark: task + 1)
        inner.submit(0, task)
        (event,) = inner.wait(60)
        inner.stop()
        assert isinstance(event, Finished)
        return int(event.value)

    pool = run_processes(nest)
    pool.submit(0, 41)
    assert values(collect(pool, 1)) == [42]


def test_marks_of_the_dead_are_cleared_once_they_are_told(
    run_processes: RunProcesses, collect: Collect, in_flight: Path, make_marks: MakeFile
) -> None:
    pool = run_processes(call, in_flight=make_marks)
    pool.submit(0, ("exit_hard", 6, 3))
    collect(pool, 1)
    assert read_in_flight(in_flight.read_bytes()) == []
