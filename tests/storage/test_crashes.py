"""The ways to publish, with the power cut at every step, under every model of what is lost."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from batten.storage.changing import publishing, setting_aside
from batten.storage.local.locking.locks import current_holder
from batten.storage.twin.memory import MemoryStorage
from batten.storage.twin.power_cuts import CutPower, PowerLost
from batten.storage.twin.volatile import Model

STAGING = "out.batten/staging"
OLD, NEW = b"old" * 3000, b"new" * 3000
MODELS: tuple[Model, ...] = ("kill", "ordered", "weak")

Act = Callable[[MemoryStorage], None]


def prepared(*, prior: bool) -> MemoryStorage:
    storage = MemoryStorage()
    for folder in ("out", "out.batten", STAGING):
        storage.ensure_folder(folder)
    if prior:
        publishing.create_many(storage, STAGING, [("out/x", OLD), ("out/z", OLD)])
    return storage


def crashed(act: Act, *, prior: bool, model: Model) -> Iterator[tuple[bool, MemoryStorage]]:
    """Every extreme state after a crash before and after each step of `act`, and after all of it,
    with whether `act` had returned."""
    for moment in ("before", "after"):
        for at in count(1):
            storage = prepared(prior=prior)
            storage.observer = CutPower(at, moment)
            try:
                act(storage)
            except PowerLost:
                is_done = False
            else:
                is_done = True
            for state in storage.surviving_states(model):
                yield is_done, state
            if is_done:
                break


def crashed_twice(act: Act, *, prior: bool, model: Model) -> Iterator[tuple[bool, MemoryStorage]]:
    """As `crashed`, then `act` again with a crash at each of its steps; a kill may come first
    and the power fail later."""
    for first in ("kill", model):
        for _, state in crashed(act, prior=prior, model=first):
            for at in count(1):
                storage = state.crash("kill", random.Random(0))
                storage.observer = CutPower(at)
                try:
                    act(storage)
                except PowerLost:
                    is_done = False
                else:
                    is_done = True
                for again in storage.surviving_states(model):
                    yield is_done, again
                if is_done:
                    break


def content(storage: MemoryStorage, name: str) -> bytes | None:
    return storage.snapshot().get(name)


def create(storage: MemoryStorage) -> None:
    publishing.create(storage, STAGING, "out/x", NEW)


def replace(storage: MemoryStorage) -> None:
    publishing.replace(storage, STAGING, "out/x", NEW)


def set_aside(storage: MemoryStorage) -> None:
    setting_aside.set_aside(storage, "out/x", "out.batten/x")


@pytest.mark.parametrize("sweep", [crashed, crashed_twice])
@pytest.mark.parametrize("model", MODELS)
def test_a_created_file_is_whole_or_absent_and_durable_once_it_is_told(
    sweep: Callable[..., Iterator[tuple[bool, MemoryStorage]]], model: Model
) -> None:
    states = sweep(create, prior=False, model=model)
    results = {(is_done, content(state, "out/x")) for is_done, state in states}
    assert results == {(False, None), (False, NEW), (True, NEW)}


@pytest.mark.parametrize("sweep", [crashed, crashed_twice])
@pytest.mark.parametrize("model", MODELS)
def test_creating_never_touches_what_is_there(
    sweep: Callable[..., Iterator[tuple[bool, MemoryStorage]]], model: Model
) -> None:
    assert {content(state, "out/x") for _, state in sweep(create, prior=True, model=model)} == {OLD}


@pytest.mark.parametrize("sweep", [crashed, crashed_twice])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("prior", [False, True])
def test_a_replaced_file_is_the_old_or_the_new(
    sweep: Callable[..., Iterator[tuple[bool, MemoryStorage]]], model: Model, prior: bool
) -> None:
    before = OLD if prior else None
    states = sweep(replace, prior=prior, model=model)
    results = {(is_done, content(state, "out/x")) for is_done, state in states}
    assert results == {(False, before), (False, NEW), (True, NEW)}


@pytest.mark.parametrize("sweep", [crashed, crashed_twice])
@pytest.mark.parametrize("model", MODELS)
def test_a_file_set_aside_is_never_without_a_name(
    sweep: Callable[..., Iterator[tuple[bool, MemoryStorage]]], model: Model
) -> None:
    for is_done, state in sweep(set_aside, prior=True, model=model):
        found = [content(state, name) for name in ("out/x", "out.batten/x")]
        assert OLD in found
        assert set(found) <= {OLD, None}
        assert not is_done or found == [None, OLD]


@pytest.mark.parametrize("sweep", [crashed, crashed_twice])
@pytest.mark.parametrize("model", MODELS)
def test_many_set_aside_together_are_never_without_a_name(
    sweep: Callable[..., Iterator[tuple[bool, MemoryStorage]]], model: Model
) -> None:
    moves = [("out/x", "out.batten/x"), ("out/z", "out.batten/z")]

    def act(storage: MemoryStorage) -> None:
        setting_aside.set_aside_many(storage, moves)

    for is_done, state in sweep(act, prior=True, model=model):
        for name, to in moves:
            found = [content(state, each) for each in (name, to)]
            assert OLD in found
            assert set(found) <= {OLD, None}
            assert not is_done or found == [None, OLD]


@pytest.mark.parametrize("model", MODELS)
def test_many_created_together_are_each_whole_or_absent(model: Model) -> None:
    files = {f"out/{n}": bytes([65 + n]) * 5000 for n in range(3)}

    def create_many(storage: MemoryStorage) -> None:
        publishing.create_many(storage, STAGING, files.items())

    for is_done, state in crashed(create_many, prior=False, model=model):
        for name, data in files.items():
            found = content(state, name)
            assert found == data or (found is None and not is_done)


@pytest.mark.parametrize("model", MODELS)
def test_an_ensured_folder_is_durable_also_if_another_was_killed_while_making_it(
    model: Model,
) -> None:
    def ensure(storage: MemoryStorage) -> None:
        storage.ensure_folder("a/b/c")

    for is_done, state in crashed_twice(ensure, prior=False, model=model):
        assert not is_done or {"a", "a/b", "a/b/c"} <= set(state.snapshot())


@pytest.mark.parametrize("model", MODELS)
def test_locks_do_not_outlive_the_machine(model: Model) -> None:
    storage = prepared(prior=False)
    storage.lock("out.batten/lock", current_holder())
    for state in storage.surviving_states(model):
        assert state.observe_lock("out.batten/lock") is None
        state.lock("out.batten/lock", current_holder())


@pytest.mark.parametrize("model", MODELS)
def test_crashes_by_chance_keep_the_promises_too(model: Model, seeded: random.Random) -> None:
    for _ in range(300):
        storage = prepared(prior=True)
        storage.observer = CutPower(seeded.randint(1, 20), seeded.choice(("before", "after")))
        done: list[str] = []
        try:
            publishing.create(storage, STAGING, "out/y", NEW)
            done.append("create")
            setting_aside.set_aside(storage, "out/y", "out.batten/y")
            done.append("set_aside")
            publishing.replace(storage, STAGING, "out/x", NEW)
            done.append("replace")
        except PowerLost:
            pass
        found = storage.crash(model, seeded).snapshot()
        aside = (found.get("out/y"), found.get("out.batten/y"))
        assert found["out/x"] in ((NEW,) if "replace" in done else (OLD, NEW))
        assert set(aside) <= {NEW, None}
        assert NEW in aside or "create" not in done
        assert aside == (None, NEW) or "set_aside" not in done
