"""The power is cut at every step of a change and of its recovery, under every model of loss."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import pytest

from batten.errors import StorageError
from batten.model.disk.trees.tree_names import TreeLayout
from batten.storage.changing.publishing import create
from batten.storage.local.tree import TreeLock
from batten.storage.twin.memory_tree import MemoryTree
from batten.storage.twin.power_cuts import CutPower, FailSync, PowerLost
from batten.storage.twin.volatile import Model
from batten.transactions.journals import token_name
from batten.transactions.recovery import recover_tree
from batten.transactions.transaction import Transaction

LAYOUT = TreeLayout("notes")
MODELS: tuple[Model, ...] = ("kill", "ordered", "weak")
TOKEN = "batch 7"
OLD = {
    "notes/old.md": b"old" * 2000,
    "notes/pages": None,
    "notes/pages/one.md": b"one",
    "notes/pages/two.md": b"two",
    "notes/base": b"database",
    "notes/index": None,
    "notes/index/a": b"a",
}
CHANGED = {
    "notes/old.md": b"changed" * 1000,
    "notes/new": None,
    "notes/new/file.md": b"new",
    "notes/second.md": b"two",
}
NEW = CHANGED | {"notes/base": b"database", "notes/index": None, "notes/index/a": b"a"}
IN_PLACE = CHANGED | {
    "notes/base": b"in place",
    "notes/base-wal": b"side",
    "notes/index": None,
    "notes/index/b": b"b",
}


Content = dict[str, bytes | None]
Act = Callable[[MemoryTree], None]


def prepared() -> MemoryTree:
    tree = MemoryTree()
    for folder in (LAYOUT.root, LAYOUT.staging, LAYOUT.tokens, LAYOUT.set_aside):
        tree.ensure_folder(folder)
    for name, data in OLD.items():
        if data is None:
            tree.ensure_folder(name)
        else:
            create(tree, LAYOUT.staging, name, data)
    tree.sync_names(LAYOUT.staging)
    return tree


def content(tree: MemoryTree) -> Content:
    return {
        name: data for name, data in tree.snapshot().items() if name.startswith(LAYOUT.root + "/")
    }


def change_staged(change: Transaction) -> None:
    change.write("old.md", b"changed" * 1000)
    change.write("new/file.md", b"new")
    change.move("pages/two.md", "second.md")
    change.delete("pages")


def change_in_place(tree: MemoryTree, change: Transaction) -> None:
    change.protect("base")
    tree.write_in_place("notes/base", b"in place")
    tree.write_in_place("notes/base-wal", b"side")
    change.protect("index")
    tree.write_in_place("notes/index/b", b"b")
    tree.delete("notes/index/a")


def commit_staged(tree: MemoryTree) -> None:
    change = Transaction(tree, LAYOUT)
    change_staged(change)
    change.commit()


def commit_with_token(tree: MemoryTree) -> None:
    change = Transaction(tree, LAYOUT, token=TOKEN)
    change_staged(change)
    change.commit()


def commit_protected(tree: MemoryTree) -> None:
    change = Transaction(tree, LAYOUT)
    change_in_place(tree, change)
    change_staged(change)
    change.commit()


def roll_back_protected(tree: MemoryTree) -> None:
    change = Transaction(tree, LAYOUT)
    change_in_place(tree, change)
    change_staged(change)
    recover_tree(tree, LAYOUT)


ACTS: list[tuple[Act, Content]] = [
    (commit_staged, NEW),
    (commit_with_token, NEW),
    (commit_protected, IN_PLACE),
    (roll_back_protected, OLD),
]


def cut(act: Act, tree: MemoryTree, at: int, moment: str = "before") -> bool:
    """Whether the act ended before the power was cut."""
    tree.observer = CutPower(at, moment)
    try:
        act(tree)
    except PowerLost:
        return False
    tree.observer = None
    return True


def crashed(
    act: Act, model: Model, chooser: random.Random, sample: int | None
) -> Iterator[tuple[bool, MemoryTree]]:
    """What may be found after a cut before and after each step, and whether the act had ended."""
    for moment in ("before", "after"):
        for at in count(1):
            tree = prepared()
            is_done = cut(act, tree, at, moment)
            for state in sampled(tree, model, chooser, sample):
                yield is_done, state
            if is_done:
                break


def sampled(
    tree: MemoryTree, model: Model, chooser: random.Random, sample: int | None
) -> list[MemoryTree]:
    """States that may be found: all, or that which lost nothing and some others."""
    states = list(tree.surviving_states(model))
    if sample is None:
        return states
    return states[:1] + chooser.sample(states[1:], min(sample, len(states) - 1))


def recover(tree: MemoryTree) -> None:
    recover_tree(tree, LAYOUT)


def check_whole(tree: MemoryTree, act: Act, new: Content, *, is_done: bool) -> Content:
    """After recovery it is old or new, with its token or without, and nothing is left."""
    found = content(tree)
    assert found == new or (found == OLD and not is_done)
    if act is commit_with_token:
        has_token = tree.find(token_name(LAYOUT, TOKEN)) is not None
        assert has_token == (found == new)
    assert tree.find(LAYOUT.journal) is None
    assert list(tree.list(LAYOUT.staging)) == []
    assert list(tree.list(LAYOUT.set_aside)) == []
    return found


@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash, id="all")])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("act", "new"), ACTS)
def test_after_a_power_cut_a_change_is_whole_or_absent(
    act: Act, new: Content, model: Model, sample: int | None, seeded: random.Random
) -> None:
    results = set()
    for is_done, state in crashed(act, model, seeded, sample):
        recover(state)
        found = check_whole(state, act, new, is_done=is_done)
        results.add((is_done, found == OLD))
    assert results == ({(False, True), (True, True)} if new == OLD else _BOTH)


_BOTH = {(False, True), (False, False), (True, False)}


@pytest.mark.parametrize("sample", [5, pytest.param(None, marks=pytest.mark.crash, id="all")])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("act", "new"), ACTS)
def test_recovery_may_lose_power_too(
    act: Act, new: Content, model: Model, sample: int | None, seeded: random.Random
) -> None:
    """Whatever a first recovery has made durable or left, the second ends in the same."""
    for first in dict.fromkeys(("kill", model)):
        found = list(crashed(act, first, seeded, 2))
        if sample is not None:
            found = seeded.sample(found, min(sample, len(found)))
        for was_done, state in found:
            for tree, expected in recovered_twice(state, model, seeded, sample and 2):
                assert expected in (None, check_whole(tree, act, new, is_done=was_done))


@pytest.mark.parametrize(("act", "new"), ACTS)
def test_names_of_which_a_sync_failed_are_made_anew(
    act: Act, new: Content, seeded: random.Random
) -> None:
    """Who takes the lock after that makes durable what was made: a power cut then takes nothing."""
    for number in count(1):
        tree = prepared()
        tree.observer = failing = FailSync(number)
        with suppress(StorageError), held(tree):
            act(tree)
        if failing.count < number:
            break
        for observer in (CutPower(seeded.randint(1, 30)), None):
            tree = tree.restart()
            tree.observer = observer
            with suppress(PowerLost), held(tree):
                recover(tree)
        found = check_whole(tree, act, new, is_done=False)
        assert tree.find(LAYOUT.unsynced) is None
        for state in tree.surviving_states("weak"):
            with held(state):
                recover(state)
            assert check_whole(state, act, new, is_done=False) == found, number
    assert number > 4


def held(tree: MemoryTree) -> TreeLock:
    return tree.hold(LAYOUT.lock, is_shared=False, wait_seconds=None)


def recovered_twice(
    state: MemoryTree, model: Model, chooser: random.Random, sample: int | None
) -> Iterator[tuple[MemoryTree, Content | None]]:
    """Trees of which a first recovery was cut off at each step, and a second not; what there was
    where the first had ended."""
    for at in count(1):
        tree = state.crash("kill", random.Random(0))
        is_recovered = cut(recover, tree, at)
        expected = content(tree) if is_recovered else None
        for again in sampled(tree, model, chooser, sample):
            recover(again)
            yield again, expected
        if is_recovered:
            break
