"""What every executor keeps to."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from batten.errors import StorageError
from batten.executors.base import Event, Executor, Finished, Mark, Raised, Work
from batten.executors.marks import MakeFile, read_in_flight
from batten.storage.local.folder import LocalStorage

DEADLINE_SECONDS = 15.0

Collect = Callable[[Executor, int], list[Event]]
MakeExecutor = Callable[..., Executor]


class Gate:
    """Where work waits until the test lets it through, one call each."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()

    def pass_through(self) -> None:
        os.read(self.read, 1)

    def open(self, times: int = 1) -> None:
        os.write(self.write, b"x" * times)


def collect_events(executor: Executor, count: int) -> list[Event]:
    """So many events; fails where they don't come."""
    events: list[Event] = []
    while len(events) < count:
        more = executor.wait(DEADLINE_SECONDS)
        assert more, f"{len(events)} events of {count} came before the deadline"
        events += more
    return events


def start(executor: Executor, work: Work) -> Executor:
    executor.start(work)
    return executor


def double(task: int, mark: Mark) -> int:
    mark.begin(task)
    mark.end()
    return 2 * task


def open_files() -> set[tuple[str, str]]:
    """The handles of this process, and what each of them is of."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one with which the folder was listed
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
    return found


class ExecutorContract:
    """Subclass it in a test module, as `class TestMine(ExecutorContract)`, with the one method.

    `runs_in_wait`: it runs tasks in the caller's thread, one at a time. `can_kill`: the death of a
    worker is survived, and time limits are enforced."""

    runs_in_wait: bool = False
    can_kill: bool = False

    def make_executor(self, jobs: int, *, in_flight: MakeFile | None = None) -> Executor:
        """Make the executor that is tried.

        Args:
            jobs: How many items it has in hand at a time.
            in_flight: Makes the file of its marks; by default there is none.

        Returns:
            The executor, not started.

        Raises:
            NotImplementedError: The test class does not give this method.
        """
        raise NotImplementedError

    @pytest.fixture
    def make(self) -> Iterator[MakeExecutor]:
        made: list[Executor] = []

        def make_executor(jobs: int = 2, **options: Any) -> Executor:
            made.append(self.make_executor(jobs, **options))
            return made[-1]

        yield make_executor
        for executor in made:
            executor.stop()

    @pytest.fixture
    def collect(self) -> Collect:
        return collect_events

    @pytest.fixture
    def make_gate(self) -> Iterator[Callable[[], Gate]]:
        gates: list[Gate] = []

        def make() -> Gate:
            gates.append(Gate())
            return gates[-1]

        yield make
        for gate in gates:
            os.close(gate.read)
            os.close(gate.write)

    @pytest.fixture
    def in_flight(self, tmp_path: Path) -> Path:
        return tmp_path / "run.inflight"

    @pytest.fixture
    def make_marks(self, in_flight: Path) -> MakeFile:
        """Makes the file of that path, as a run does."""
        return partial(LocalStorage(in_flight.parent).create_shared, in_flight.name)

    def test_each_task_gives_one_event_with_its_value(
        self, make: MakeExecutor, collect: Collect
    ) -> None:
        executor = start(make(), double)
        for task_id in range(200):
            executor.submit(task_id, task_id + 1)
        events = collect(executor, 200)
        values = {event.task_id: event.value for event in events if isinstance(event, Finished)}
        assert values == {task_id: 2 * (task_id + 1) for task_id in range(200)}
        assert executor.wait() == []

    def test_tasks_may_be_submitted_while_others_run(
        self, make: MakeExecutor, collect: Collect
    ) -> None:
        executor = start(make(), double)
        finished = []
        executor.submit(0, 0)
        for task_id in range(1, 50):
            executor.submit(task_id, task_id)
            finished += [event.task_id for event in collect(executor, 1)]
        finished += [event.task_id for event in collect(executor, 50 - len(finished))]
        assert sorted(finished) == list(range(50))

    def test_one_worker_runs_tasks_in_the_order_of_submission(
        self, make: MakeExecutor, collect: Collect
    ) -> None:
        begun: list[int] = []

        def note(task: int, mark: Mark) -> list[int]:
            begun.append(task)
            return list(begun)

        executor = start(make(1), note)
        for task in range(30):
            executor.submit(task, task)
        last = max(collect(executor, 30), key=lambda event: event.task_id)
        assert isinstance(last, Finished)
        assert last.value == list(range(30))

    def test_an_exception_ends_its_task_alone(self, make: MakeExecutor, collect: Collect) -> None:
        def fail_at_three(task: int, mark: Mark) -> int:
            if task == 3:
                mark.begin(33)
                raise MemoryError("too big")
            return task

        executor = start(make(), fail_at_three)
        for task in range(6):
            executor.submit(task, task)
        events = sorted(collect(executor, 6), key=lambda event: event.task_id)
        assert [type(event) for event in events] == [Finished] * 3 + [Raised] + [Finished] * 2
        raised = events[3]
        assert isinstance(raised, Raised)
        assert isinstance(raised.error, MemoryError)
        assert str(raised.error) == "too big"
        assert "fail_at_three" in raised.trace

    def test_nothing_outstanding_gives_nothing_at_once(self, make: MakeExecutor) -> None:
        executor = start(make(), double)
        assert executor.wait() == []
        assert executor.wait(1e12) == []

    @pytest.mark.parametrize("seconds", [0, 0.01])
    def test_waiting_ends_when_the_time_is_up(
        self,
        make: MakeExecutor,
        make_gate: Callable[[], Any],
        collect: Collect,
        seconds: float,
    ) -> None:
        gate = make_gate()
        executor = make()
        if self.runs_in_wait:
            pytest.skip("runs the task in wait")
        start(executor, lambda task, mark: gate.pass_through())
        executor.submit(0, None)
        assert executor.wait(seconds) == []
        gate.open()
        assert collect(executor, 1) == [Finished(task_id=0, value=None)]

    def test_the_item_in_hand_is_in_the_file(
        self, make: MakeExecutor, collect: Collect, in_flight: Path, make_marks: MakeFile
    ) -> None:
        def read_own(task: int, mark: Mark) -> tuple[bytes, bytes]:
            mark.begin(task)
            during = in_flight.read_bytes()
            mark.end()
            return during, in_flight.read_bytes()

        executor = start(make(1, in_flight=make_marks), read_own)
        executor.submit(0, 123456789012)
        (event,) = collect(executor, 1)
        assert isinstance(event, Finished)
        assert [read_in_flight(data) for data in event.value] == [[123456789012], []]
        executor.stop()
        assert read_in_flight(in_flight.read_bytes()) == []

    @pytest.mark.parametrize("fails", [False, True])
    def test_no_item_is_in_hand_after_its_task(
        self,
        make: MakeExecutor,
        collect: Collect,
        in_flight: Path,
        make_marks: MakeFile,
        fails: bool,
    ) -> None:
        def forget_the_end(task: int, mark: Mark) -> None:
            mark.begin(task)
            if fails:
                raise ValueError

        executor = start(make(1, in_flight=make_marks), forget_the_end)
        executor.submit(0, 5)
        collect(executor, 1)
        assert read_in_flight(in_flight.read_bytes()) == []

    def test_a_file_of_marks_is_never_taken_over(
        self, make: MakeExecutor, in_flight: Path, make_marks: MakeFile
    ) -> None:
        in_flight.write_text("evidence")
        executor = make(in_flight=make_marks)
        with pytest.raises(StorageError) as caught:
            executor.start(double)
        assert str(in_flight) in str(caught.value)
        executor.stop()
        assert in_flight.read_text() == "evidence"

    def test_stopping_leaves_nothing_behind(self, make: MakeExecutor, collect: Collect) -> None:
        """What other tests left may end meanwhile."""
        handles, threads = open_files(), set(threading.enumerate())
        for submitted in (0, 1, 100):
            executor = start(make(), double)
            for task_id in range(submitted):
                executor.submit(task_id, task_id)
            if submitted:
                executor.wait()
            executor.stop()
            executor.stop()
        assert open_files() - handles == set()
        assert set(threading.enumerate()) - threads == set()

    def test_stopping_before_starting_does_nothing(self, make: MakeExecutor) -> None:
        make().stop()

    def test_slots_are_the_jobs(self, make: MakeExecutor) -> None:
        executor = make(3)
        assert executor.slots == (1 if self.runs_in_wait else 3)
        assert executor.can_kill == self.can_kill

    def test_marks_say_when_no_further_item_is_to_be_begun(
        self, make: MakeExecutor, collect: Collect
    ) -> None:
        executor = start(make(), lambda task, mark: mark.is_draining)
        executor.submit(0, 0)
        told = collect(executor, 1)
        executor.drain()
        executor.submit(1, 1)
        told += collect(executor, 1)
        assert [event.value for event in told if isinstance(event, Finished)] == [False, True]
