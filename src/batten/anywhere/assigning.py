"""Which worker has which work, as the run keeps it. No I/O, and no clock but the times it is given.

A worker's claim saves work and gives no right: what it stages is named by its content, and only the
run publishes. So the worst that a wrong guess here can cost is that work is done twice. A number is
given to work once. Whatever is told of a number that is not given any more is passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from batten.model.disk.runs.workers import GivenTask, Hand, Register, ToldEvent
from batten.model.value_class import value_class

TASKS_A_SLOT = 2
"""One that is done, and one that waits, so that nobody waits for the next look."""


@value_class
class Heard:
    """What a worker told of a task that it has, or had until it told this `is_end`."""

    task: int
    is_end: bool
    text: str


@value_class
class LostTask:
    """A task of a worker that is gone. `was_begun` as far as the worker had told."""

    task: int
    was_begun: bool
    worker: str
    host: str


@dataclass(kw_only=True)
class _Worker:
    name: str
    host: str
    slots: int
    version: str
    seen_at: float
    heard: int = 0
    is_leaving: bool = False
    begun: frozenset[int] = frozenset()
    tasks: dict[int, str] = field(default_factory=dict)


class Assigning:
    """The workers of one run. One without a sign for `gone_seconds`, by the clock of who looks, is
    gone: nobody's clock is compared with another's."""

    def __init__(self, run: str, *, gone_seconds: float) -> None:
        self._run = run
        self._gone_seconds = gone_seconds
        self._workers: dict[str, _Worker] = {}
        self.has_changed = False

    @property
    def slots(self) -> int:
        """How many tasks the workers do at a time."""
        return sum(worker.slots for worker in self._workers.values() if not worker.is_leaving)

    @property
    def machines(self) -> int:
        return sum(not worker.is_leaving for worker in self._workers.values())

    @property
    def outstanding(self) -> int:
        """Tasks that were given and did not end yet."""
        return sum(len(worker.tasks) for worker in self._workers.values())

    def is_known(self, name: str, version: str) -> bool:
        """Whether this version of a register was looked at."""
        worker = self._workers.get(name)
        return worker is not None and worker.version == version

    def see(self, register: Register, version: str, now: float) -> list[Heard]:
        """A register in a version that was not looked at yet; what it tells that is new."""
        if register.run != self._run:
            return []
        worker = self._workers.get(register.worker)
        if worker is None:
            worker = self._workers[register.worker] = _Worker(
                name=register.worker,
                host=register.host,
                slots=register.slots,
                version=version,
                seen_at=now,
            )
            self.has_changed = True
        worker.version, worker.seen_at = version, now
        worker.begun = frozenset(begun.task for begun in register.begins)
        worker.is_leaving = register.is_leaving
        told = []
        for event in register.events:
            if event.number <= worker.heard:
                continue
            worker.heard = event.number
            self.has_changed = True
            if event.task not in worker.tasks:
                continue
            if event.is_end:
                del worker.tasks[event.task]
            told.append(Heard(task=event.task, is_end=event.is_end, text=event.text))
        return told

    def expire(self, now: float) -> tuple[list[str], list[LostTask]]:
        """The workers that are gone, and what they had. They are forgotten."""
        gone = [
            worker
            for worker in self._workers.values()
            if now - worker.seen_at > self._gone_seconds or (worker.is_leaving and not worker.tasks)
        ]
        return [worker.name for worker in gone], [
            lost for worker in gone for lost in self.forget(worker.name)
        ]

    def forget(self, name: str) -> list[LostTask]:
        """A worker is given up; what it had."""
        worker = self._workers.pop(name, None)
        if worker is None:
            return []
        self.has_changed = True
        return [
            LostTask(
                task=task, was_begun=task in worker.begun, worker=worker.name, host=worker.host
            )
            for task in worker.tasks
        ]

    def give(self, task: int, text: str) -> bool:
        """Whether a worker has a place for it; then it is that worker's."""
        usable = [
            worker
            for worker in self._workers.values()
            if not worker.is_leaving and len(worker.tasks) < TASKS_A_SLOT * worker.slots
        ]
        if not usable:
            return False
        freest = min(usable, key=lambda worker: len(worker.tasks) / worker.slots)
        freest.tasks[task] = text
        self.has_changed = True
        return True

    @property
    def idle_slots(self) -> int:
        """Places where a task would begin at once."""
        return sum(
            max(0, worker.slots - len(worker.tasks))
            for worker in self._workers.values()
            if not worker.is_leaving
        )

    def hands(self) -> list[Hand]:
        """What the board says to each."""
        return [
            Hand(
                worker=worker.name,
                heard=worker.heard,
                tasks=[GivenTask(number=n, text=text) for n, text in worker.tasks.items()],
            )
            for worker in self._workers.values()
        ]

    def names(self) -> Iterator[str]:
        yield from self._workers


class Doing:
    """The other side: what a worker has of its run. No I/O and no clock.

    What the board gives waits until it `begins`, at most `slots` at a time. Who begins writes the
    register first."""

    def __init__(self, worker: str, *, slots: int) -> None:
        self._worker = worker
        self.slots = slots
        self._beat = 0
        self._taken = 0
        self._waiting: dict[int, str] = {}
        self._begun: dict[int, str] = {}
        self._events: list[ToldEvent] = []
        self._number = 0
        self.is_leaving = False

    @property
    def in_hand(self) -> int:
        return len(self._begun)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in hand, and all was heard."""
        return not self._begun and not self._events

    @property
    def begins(self) -> dict[int, str]:
        """What was begun and has not ended, each with its time."""
        return dict(self._begun)

    @property
    def events(self) -> list[ToldEvent]:
        """Those that were not heard."""
        return list(self._events)

    def see(self, hands: Iterable[Hand], beat: int) -> None:
        """What the board says at that beat. A look that shows an earlier one shows nothing new: in
        a shared folder that can be."""
        mine = next((hand for hand in hands if hand.worker == self._worker), None)
        if mine is None or beat <= self._beat:
            return
        self._beat = beat
        given = {task.number: task.text for task in mine.tasks}
        # Numbers rise, so what was taken before is known by its number.
        for number in sorted(given):
            if number > self._taken:
                self._taken = number
                self._waiting[number] = given[number]
        self._waiting = {n: text for n, text in self._waiting.items() if n in given}
        self._events = [event for event in self._events if event.number > mine.heard]

    def begin(self, since: str) -> list[tuple[int, str]]:
        """The tasks that are to be begun now, once the register that says so is written."""
        begun = []
        while self._waiting and len(self._begun) < self.slots and not self.is_leaving:
            number = next(iter(self._waiting))
            begun.append((number, self._waiting.pop(number)))
            self._begun[number] = since
        return begun

    def give_back(self) -> list[tuple[int, str]]:
        """The tasks that were not begun and won't be; what became of them is told like that of
        others."""
        waiting, self._waiting = self._waiting, {}
        return list(waiting.items())

    def tell(self, task: int, text: str, *, is_end: bool) -> None:
        """Something is told of a task."""
        self._number += 1
        event = ToldEvent(number=self._number, task=task, is_end=is_end, text=text)
        self._events.append(event)
        if is_end:
            self._begun.pop(task, None)
