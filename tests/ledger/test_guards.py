"""All interleavings of two runs that carry out the tables of `guards`, on a store without a lock.

Both runs may die anywhere and be started again; each lease may be over at any moment, so they are
at work at once; a request may be carried out at any later time, or never, also after its sender's
death; and contents are never the same twice, but where a retry fails again as before.

The model knows of a step only what its table says. So with a guard taken out of a table it must
find harm, and a test sees to it that it does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from batten.model.rules.guards import (
    COMPLETING,
    PLANNING,
    PUBLISHING,
    RETRYING,
    REVISING,
    ROLLING_UP,
    Guard,
    GuardedStep,
    IfOther,
    Naming,
    Thing,
)

Content = Any
"""Of a part: (epoch, quality, segment, revision): which run made it, for which segment, and of
which revision of its items. Quality 0: an item of it failed; 1: tried again, and it did not. Of a
segment: who planned it. Of versions of items: (revision, epoch)."""

Objects = frozenset[tuple[Any, Content]]
Tables = dict[str, tuple[GuardedStep, ...]]

REAL: Tables = {
    "plan": PLANNING,
    "publish": PUBLISHING,
    "retry": RETRYING,
    "revise": tuple(step for step in REVISING if step.thing is Thing.VERSIONS),
    "roll": ROLLING_UP,
    "complete": COMPLETING,
}


class Task(NamedTuple):
    """The steps of one table, for one segment or batch. `mine` is the content that was made, `seen`
    what was there when it was decided on. `of` is what the name says, if not the content."""

    table: str
    number: int
    mine: Content
    seen: Content = None
    of: Content = None

    @property
    def first(self) -> int:
        """The step that it begins with: where no item failed there is nothing to quarantine."""
        return 1 if self.table in ("publish", "retry") and self.mine[1] == 1 else 0


class Run(NamedTuple):
    """One of the two; it is not at work where its `epoch` is 0. `plan` is how many segments it
    knows of; `tasks` are left to do, of the first of which `at` steps are done. `parts` are those
    that it knows of, until it has rolled them up."""

    epoch: int = 0
    plan: int = 0
    tasks: tuple[Task, ...] = ()
    at: int = 0
    parts: tuple[Content, ...] = ()
    versions: Content = None
    """Those of items, by which it goes."""


class Change(NamedTuple):
    """A request: carried out only where its guard holds."""

    guard: Guard | None
    name: Any
    content: Content
    seen: Content


class State(NamedTuple):
    objects: Objects
    late: tuple[Change, ...]
    runs: tuple[Run, Run]
    epoch: int


ROLLED = 2
"""So many parts have a roll-up in common: all that there may be."""

OLD = (0, 0, "first", 0)
"""The content of the first part, which an earlier run has published."""

BEGIN = State(
    frozenset(
        {
            (("SEGMENT", 0), "first"),
            (("VERSIONS", 0), (0, 0)),
            (("QUARANTINE", 0, OLD), OLD),
            (("QUARANTINE", 0), OLD),
            (("PART", 0), OLD),
            (("RECORD", 0, OLD), OLD),
        }
    ),
    (),
    (Run(), Run()),
    0,
)
"""Whoever adds a name that says nothing of a content finds it there as well."""


def name_of(step: GuardedStep, number: int, content: Content) -> Any:
    by_content = (content,) if step.naming is Naming.BY_CONTENT else ()
    return (step.thing.name, number, *by_content)


def look(objects: Objects) -> tuple[int, tuple[Content, ...]]:
    """How many segments there are, and the part of each, or None."""
    found = dict(objects)
    plan = 0
    while ("SEGMENT", plan) in found:
        plan += 1
    return plan, tuple(found.get(("PART", number)) for number in range(plan))


def apply(objects: Objects, change: Change) -> tuple[Objects, bool]:
    """What is there after it, and whether it was carried out."""
    found = dict(objects)
    there = found.get(change.name)
    if change.guard is Guard.NEW and there is not None:
        return objects, False
    if change.guard is Guard.SEEN and there != change.seen:
        return objects, False
    found[change.name] = change.content
    return frozenset(found.items()), True


def list_goals(epoch: int, objects: Objects) -> Iterator[tuple[Task, ...]]:
    """What a run may come to do, by what it sees at its beginning."""
    plan, parts = look(objects)
    segments = dict(objects)
    missing = tuple(
        Task("publish", number, (epoch, 0, segments["SEGMENT", number], 0))
        for number, part in enumerate(parts)
        if part is None
    )
    versions = segments["VERSIONS", 0]
    wanted = versions[0]
    again = Task("retry", 0, (epoch, 1, "first", wanted), parts[0])
    revised = Task("revise", 0, (wanted + 1, epoch), versions)
    later = Task("retry", 0, (epoch, 1, "first", wanted + 1), parts[0])
    yield (revised, later, *missing)
    if parts[0][3] < wanted:
        yield (again, *missing)
        return
    yield missing
    if plan == 1:
        mine = ("planned by", epoch)
        yield (Task("plan", 1, mine), *missing, Task("publish", 1, (epoch, 0, mine, 0)))
    if parts[0][1] == 0:
        yield (again, *missing)
        yield (Task("retry", 0, parts[0], parts[0]), *missing)


def next_states(
    state: State, tables: Tables, late_max: int, begun_max: int
) -> Iterator[tuple[str, State]]:
    for number, change in enumerate(state.late):
        objects, _ = apply(state.objects, change)
        late = state.late[:number] + state.late[number + 1 :]
        yield f"late: {change}", state._replace(objects=objects, late=late)
    for who, run in enumerate(state.runs):
        if not run.epoch:
            if state.epoch < begun_max:
                epoch = state.epoch + 1
                plan, parts = look(state.objects)
                for goal in list_goals(epoch, state.objects):
                    known = _know(parts, goal)
                    versions = dict(state.objects)["VERSIONS", 0]
                    at = goal[0].first if goal else 0
                    run = Run(epoch, plan, goal, at, known, versions)
                    begun = _with(state, who, run)._replace(epoch=epoch)
                    yield f"{who} begins as {epoch}, and will do {goal}", begun
            continue
        yield f"{who} dies", _with(state, who, Run())
        if run.tasks:
            yield from _take_step(state, who, run, tables, late_max)
        elif run.parts:
            yield f"{who} rolls up", _with(state, who, _roll_up(state, run, tables))
        else:
            yield f"{who} closes the accounts", _with(state, who, _close(state, run, tables))


def _with(state: State, who: int, run: Run) -> State:
    """The two are alike, so it is the same state whichever of them is called the first."""
    runs = (run, state.runs[1 - who])
    return state._replace(runs=runs if runs[0].epoch <= runs[1].epoch else runs[::-1])


def _know(parts: tuple[Content, ...], goal: tuple[Task, ...]) -> tuple[Content, ...]:
    """The parts that a run sees at its beginning and will not replace; empty if it can't come to
    know of all."""
    numbers = [task.number for task in goal if task.table in ("publish", "retry")]
    known = [None if number in numbers else part for number, part in enumerate(parts)]
    known += [None] * (ROLLED - len(known))
    is_full = all(part is not None or number in numbers for number, part in enumerate(known))
    return tuple(known) if is_full and numbers else ()


def _roll_up(state: State, run: Run, tables: Tables) -> Run:
    """It reads the records of the parts that it knows of. The roll-up bears these in its name."""
    found, known = dict(state.objects), run.parts
    record = next(step for step in tables["publish"] if step.thing is Thing.RECORD)
    records = [found.get(name_of(record, number, part)) for number, part in enumerate(known)]
    run = run._replace(parts=())
    if None in records or None in known:
        return run
    return run._replace(tasks=(Task("roll", 0, tuple(records), of=known),), at=0)


def _close(state: State, run: Run, tables: Tables) -> Run:
    """It reads what is there. Each part of the plan that it knows must be there, with a record of
    its own."""
    _, parts = look(state.objects)
    found = dict(state.objects)
    record = next(step for step in tables["publish"] if step.thing is Thing.RECORD)
    is_closed = len(parts) >= run.plan and all(
        part is not None and name_of(record, number, part) in found
        for number, part in enumerate(parts[: run.plan])
    )
    if not is_closed or found["VERSIONS", 0] != run.versions:
        return Run()
    accounts = (run.plan, parts[: run.plan], run.versions)
    return run._replace(tasks=(Task("complete", 0, accounts),), at=0)


def _take_step(
    state: State, who: int, run: Run, tables: Tables, late_max: int
) -> Iterator[tuple[str, State]]:
    task = run.tasks[0]
    step = tables[task.table][run.at]
    name = name_of(step, task.number, task.of or task.mine)
    change = Change(step.guard, name, task.mine, task.seen)
    objects, is_done = apply(state.objects, change)
    there = dict(objects).get(change.name)
    onward = _go_on(run, tables)
    if not is_done and there != task.mine:
        is_alike = step.thing is Thing.PART and there[2:] == task.mine[2:]
        if step.if_other is IfOther.STOP or (step.if_other is IfOther.ADOPT and not is_alike):
            onward = Run()
        elif step.if_other is IfOther.ADOPT:
            onward = _go_on(run._replace(tasks=(task._replace(mine=there), *run.tasks[1:])), tables)
    label = f"{who} {step.thing.name} {change.name}"
    after = _with(state, who, onward)._replace(objects=objects)
    yield f"{label}: {'done' if is_done else 'not'}", after
    if len(state.late) < late_max and change not in state.late:
        late = tuple(sorted((*state.late, change), key=repr))
        yield f"{label}: no answer", state._replace(late=late)


def _go_on(run: Run, tables: Tables) -> Run:
    """The step is done, and what need not be done is passed over."""
    task, at = run.tasks[0], run.at + 1
    if run.parts and tables[task.table][run.at].thing is Thing.PART:
        number = task.number
        run = run._replace(parts=(*run.parts[:number], task.mine, *run.parts[number + 1 :]))
    if task.table == "revise":
        run = run._replace(versions=task.mine)
    if at < len(tables[task.table]):
        return run._replace(at=at)
    if task.table == "complete":
        return Run()
    tasks = run.tasks[1:]
    plan = run.plan + (task.table == "plan")
    return run._replace(tasks=tasks, at=tasks[0].first if tasks else 0, plan=plan)


def find_harm(before: State, after: State, tables: Tables) -> str:
    """What must never be; empty where all is well."""
    plan, parts = look(after.objects)
    _, parts_before = look(before.objects)
    found = dict(after.objects)
    versions, versions_before = found["VERSIONS", 0], dict(before.objects)["VERSIONS", 0]
    if versions != versions_before and versions[0] <= versions_before[0]:
        return "versions are changed by who did not see them"
    for old, new in zip(parts_before, parts, strict=False):
        if old is not None and new is None:
            return "a part is lost"
        if old is None or new == old:
            continue
        if new[3] < old[3]:
            return "rows of earlier versions take the place of later ones"
        if new[3] == old[3] and (new[1] == 0 or old[1] == 1):
            return "a published part is changed by who did not see it"
    steps = {step.thing: step for table in tables.values() for step in table}
    for number in range(plan):
        planned = found["SEGMENT", number]
        if dict(before.objects).get(("SEGMENT", number), planned) != planned:
            return "the plan is changed"
        keys = name_of(steps[Thing.KEYS], number, planned)
        if number and found.get(keys) != planned:
            return "a segment has not its own keys"
        part = parts[number]
        if part is None:
            continue
        if part[2] != planned:
            return "a part is of another plan"
        quarantine = name_of(steps[Thing.QUARANTINE], number, part)
        if part[1] == 0 and found.get(quarantine) != part:
            return "a part has not its own quarantine file"
        if found.get(name_of(steps[Thing.RECORD], number, part), part) != part:
            return "the record is of another part"
    roll_up = found.get(name_of(steps[Thing.ROLL_UP], 0, parts))
    if len(parts) == ROLLED and None not in parts and roll_up is not None:
        names = [name_of(steps[Thing.RECORD], number, part) for number, part in enumerate(parts)]
        if roll_up != tuple(found.get(name) for name in names):
            return "a roll-up is of other records"
    accounts = (plan, parts, versions)
    complete = found.get(name_of(steps[Thing.COMPLETION], 0, accounts))
    if complete not in (None, accounts):
        return "COMPLETE stands over other content"
    if complete is not None and parts[0][3] < versions[0]:
        return "COMPLETE stands over rows of earlier versions"
    return ""


def explore(tables: Tables, *, begun_max: int, late_max: int) -> tuple[int, dict[str, list[str]]]:
    """Two runs at a time, `begun_max` in all; `late_max` requests are late at a time. How many
    states there are, and a way to each kind of harm."""
    seen: dict[State, tuple[State, str] | None] = {BEGIN: None}
    waiting = deque([BEGIN])
    harms: dict[str, list[str]] = {}
    while waiting:
        state = waiting.popleft()
        for label, after in next_states(state, tables, late_max, begun_max):
            if after in seen:
                continue
            seen[after] = (state, label)
            if harm := find_harm(state, after, tables):
                harms.setdefault(harm, _tell_way(seen, after))
                continue
            waiting.append(after)
    return len(seen), harms


def _tell_way(seen: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    way = []
    while (before := seen[state]) is not None:
        state, label = before
        way.append(label)
    return way[::-1]


@pytest.mark.parametrize(
    ("begun_max", "late_max"),
    [(3, 0), (2, 1), pytest.param(3, 1, marks=pytest.mark.crash)],
)
def test_no_interleaving_does_harm(begun_max: int, late_max: int) -> None:
    states, harms = explore(REAL, begun_max=begun_max, late_max=late_max)
    assert harms == {}
    assert states > 5000


def without(table: str, thing: Thing, **changes: Any) -> Tables:
    """The tables, with one step of one of them made otherwise."""
    steps = tuple(step._replace(**changes) if step.thing is thing else step for step in REAL[table])
    assert steps != REAL[table]
    return {**REAL, table: steps}


def by_place(thing: Thing) -> Tables:
    """The tables, with one thing named by its place wherever it is written."""
    return {
        name: tuple(
            step._replace(naming=Naming.BY_PLACE) if step.thing is thing else step for step in steps
        )
        for name, steps in REAL.items()
    }


@pytest.mark.parametrize(
    ("tables", "harm"),
    [
        (without("publish", Thing.PART, guard=None), "a published part is changed"),
        (without("retry", Thing.PART, guard=None), "a published part is changed"),
        (without("plan", Thing.SEGMENT, guard=None), "the plan is changed"),
        (without("plan", Thing.SEGMENT, if_other=IfOther.KEEP), "a part is of another plan"),
        (by_place(Thing.KEYS), "a segment has not its own keys"),
        (by_place(Thing.QUARANTINE), "a part has not its own quarantine file"),
        (by_place(Thing.RECORD), "the record is of another part"),
        (by_place(Thing.ROLL_UP), "a roll-up is of other records"),
        (by_place(Thing.COMPLETION), "COMPLETE stands over other content"),
        (without("revise", Thing.VERSIONS, guard=None), "versions are changed"),
    ],
    ids=[
        "part-new",
        "part-seen",
        "segment",
        "other-plan",
        "keys",
        "quarantine",
        "record",
        "roll-up",
        "complete",
        "versions",
    ],
)
def test_without_one_guard_harm_is_found(tables: Tables, harm: str) -> None:
    _, harms = explore(tables, begun_max=2, late_max=1)
    assert any(each.startswith(harm) for each in harms), harms
