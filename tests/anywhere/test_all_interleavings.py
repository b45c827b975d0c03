"""All interleavings of a run and two workers, with the very code that both sides keep count by.

A worker may die or stop anywhere, and go on at any later time; the run may give up a worker that
lives; a look may show what was there before. Whatever happens, each item is taken once, of somebody
who had staged it; and as long as items are left, somebody can go on.

With a line of the code taken out the search must find harm, and tests see to it that it does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from batten.anywhere.assigning import Assigning, Doing, Heard
from batten.model.disk.runs.workers import BegunTask, Hand, Register

RUN = "run"


class Harm(Exception):
    """What must never be."""


@dataclass
class Worker:
    """What it knows; `version` is that of its register, 0 while it has none."""

    name: str
    has: Doing
    version: int = 0
    begun: tuple[tuple[int, str], ...] = ()
    is_unwritten: bool = True
    is_dead: bool = False

    def copy(self) -> Worker:
        other = copy.copy(self)
        other.has = copy.copy(self.has)
        own = vars(other.has)
        for name in ("_waiting", "_begun", "_events"):
            own[name] = own[name].copy()
        return other

    def key(self) -> Any:
        own = vars(self.has)
        told = tuple((event.number, event.task) for event in own["_events"])
        counts = (own["_beat"], own["_taken"], own["_number"], own["is_leaving"])
        has = (tuple(own["_waiting"]), tuple(own["_begun"]), told, counts)
        return (self.name, self.version, self.begun, self.is_unwritten, self.is_dead, has)


@dataclass
class World:
    """`boards` are the last two; `registers` what lies there, each with its version."""

    run: Assigning
    workers: list[Worker]
    queue: tuple[str, ...]
    items: tuple[str, ...] = ()
    boards: tuple[tuple[Hand, ...], ...] = ((),)
    beat: int = 0
    registers: dict[str, tuple[int, Register]] = field(default_factory=dict)
    staged: frozenset[str] = frozenset()
    taken: tuple[str, ...] = ()
    given_up: int = 0
    deaths: int = 0

    def copy(self) -> World:
        other = copy.copy(self)
        other.run = copy.copy(self.run)
        knows = vars(other.run)
        knows["_workers"] = {name: copy.copy(each) for name, each in knows["_workers"].items()}
        for each in knows["_workers"].values():
            each.tasks = each.tasks.copy()
        other.workers = [worker.copy() for worker in self.workers]
        other.registers = self.registers.copy()
        return other

    def key(self) -> Any:
        """Of what lies there a version tells the content."""
        known = tuple(
            (each.name, each.version, each.heard, each.begun, tuple(each.tasks))
            for each in vars(self.run)["_workers"].values()
        )
        boards = tuple(
            tuple(
                (hand.worker, hand.heard, tuple(task.number for task in hand.tasks))
                for hand in board
            )
            for board in self.boards
        )
        registers = tuple(
            (name, version, tuple((event.number, event.task) for event in register.events))
            for name, (version, register) in sorted(self.registers.items())
        )
        return (
            (known, self.run.has_changed),
            tuple(worker.key() for worker in self.workers),
            (self.queue, self.items, boards, self.beat, registers),
            (self.staged, self.taken, self.given_up, self.deaths),
        )


def give(world: World) -> bool:
    number = len(world.items) + 1
    if not world.queue or not world.run.give(number, world.queue[0]):
        return False
    world.items += world.queue[:1]
    world.queue = world.queue[1:]
    return True


def write_board(world: World) -> bool:
    if not world.run.has_changed:
        return False
    world.run.has_changed = False
    world.beat += 1
    world.boards = (world.boards[-1], tuple(world.run.hands()))
    return True


def look(world: World, name: str) -> bool:
    version, register = world.registers[name]
    if world.run.is_known(name, str(version)):
        return False
    for heard in world.run.see(register, str(version), now=0.0):
        item = world.items[heard.task - 1]
        if item not in world.staged:
            raise Harm(f"{item} is taken, and nobody has staged it")
        if item in world.taken:
            raise Harm(f"{item} is taken twice")
        world.taken += (item,)
    return True


def give_up(world: World, name: str) -> bool:
    if name not in world.run.names():
        return False
    world.given_up += 1
    world.queue += tuple(world.items[lost.task - 1] for lost in world.run.forget(name))
    del world.registers[name]
    return True


def see_board(worker: Worker, board: tuple[Hand, ...], beat: int) -> bool:
    before = worker.key()
    worker.has.see(board, beat)
    begins = tuple(worker.has.begin(""))
    worker.begun += begins
    worker.is_unwritten = bool(begins)
    return worker.key() != before


def write_register(world: World, worker: Worker) -> bool:
    """One whose register was taken away is given up, and begins anew under another name."""
    found = world.registers.get(worker.name)
    if worker.version and (found is None or found[0] != worker.version):
        name = worker.name + "+"
        worker.name, worker.has, worker.version, worker.begun = name, Doing(name, slots=1), 0, ()
        return True
    worker.version += 1
    worker.is_unwritten = False
    register = Register(
        worker=worker.name,
        run=RUN,
        host="",
        pid=0,
        since="",
        slots=1,
        begins=[BegunTask(task=task, since="") for task in worker.has.begins],
        events=worker.has.events,
    )
    world.registers[worker.name] = (worker.version, register)
    return True


def do(world: World, worker: Worker) -> bool:
    """Stage what was begun, and note that it is to be told."""
    task, item = worker.begun[0]
    worker.begun = worker.begun[1:]
    world.staged |= {item}
    worker.has.tell(task, "done", is_end=True)
    worker.is_unwritten = True
    return True


def die(world: World, worker: Worker) -> bool:
    world.deaths += 1
    worker.is_dead = True
    return True


Move = Callable[[World], bool]


def moves(world: World, given_up_max: int, deaths_max: int) -> Iterator[Move]:
    yield give
    yield write_board
    for name in world.registers:
        yield lambda w, n=name: look(w, n)  # type: ignore[misc]
        if world.given_up < given_up_max:
            yield lambda w, n=name: give_up(w, n)  # type: ignore[misc]
    for place, worker in enumerate(world.workers):
        if worker.is_dead:
            continue
        # A worker writes now and then without news, and so finds out that it is given up.
        is_gone = worker.name not in world.registers
        if worker.is_unwritten or is_gone:
            yield lambda w, p=place: write_register(w, w.workers[p])  # type: ignore[misc]
        if not worker.is_unwritten:
            for back in range(len(world.boards)):
                yield lambda w, p=place, b=back: see_board(  # type: ignore[misc]
                    w.workers[p], w.boards[-1 - b], w.beat - b
                )
        if worker.begun and not worker.is_unwritten:
            yield lambda w, p=place: do(w, w.workers[p])  # type: ignore[misc]
        if world.deaths < deaths_max:
            yield lambda w, p=place: die(w, w.workers[p])  # type: ignore[misc]


def explore(items: str, workers: int, *, given_up_max: int, deaths_max: int = 0) -> int:
    """How many states there are. Raises `Harm`."""
    names = [f"worker-{number}" for number in range(workers)]
    first = World(
        run=Assigning(RUN, gone_seconds=1.0),
        workers=[Worker(name, Doing(name, slots=1)) for name in names],
        queue=tuple(items),
    )
    seen, todo = {first.key()}, [first]
    while todo:
        world = todo.pop()
        can_go_on = False
        for move in moves(world, given_up_max, deaths_max):
            after = world.copy()
            if not move(after):
                continue
            can_go_on = True
            key = after.key()
            if key not in seen:
                seen.add(key)
                todo.append(after)
        may_hang = all(worker.is_dead for worker in world.workers) or world.deaths
        if not can_go_on and len(world.taken) < len(items) and not may_hang:
            raise Harm(f"nobody goes on, and only {world.taken} are taken")
    return len(seen)


def test_no_item_is_lost_or_taken_twice() -> None:
    assert explore("ab", 1, given_up_max=1) > 1000
    assert explore("a", 2, given_up_max=0, deaths_max=1) > 1000


@pytest.mark.crash
def test_nor_with_two_workers_and_more_items() -> None:
    assert explore("ab", 2, given_up_max=0) > 10_000
    assert explore("a", 2, given_up_max=1, deaths_max=1) > 10_000


def test_the_search_finds_work_that_an_old_look_takes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def see(self: Doing, hands: Iterable[Hand], beat: int) -> None:
        look_at(self, hands, beat)
        vars(self)["_beat"] = 0

    look_at = Doing.see
    monkeypatch.setattr(Doing, "see", see)
    with pytest.raises(Harm, match="nobody goes on"):
        explore("ab", 1, given_up_max=1)


def test_the_search_finds_answers_that_are_heard_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def hear(self: Assigning, register: Register, version: str, now: float) -> list[Heard]:
        see(self, register, version, now)
        return [Heard(task=e.task, is_end=True, text=e.text) for e in register.events]

    see = Assigning.see
    monkeypatch.setattr(Assigning, "see", hear)
    with pytest.raises(Harm, match="taken twice"):
        explore("ab", 1, given_up_max=1)


def test_the_search_finds_work_that_nobody_gets_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(self: Assigning, name: str) -> list[Any]:
        give_away(self, name)
        return []

    give_away = Assigning.forget
    monkeypatch.setattr(Assigning, "forget", forget)
    with pytest.raises(Harm, match="nobody goes on"):
        explore("ab", 1, given_up_max=1)
