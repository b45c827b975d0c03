"""The contract of stores, run on each, and what an object store in memory does besides."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import pytest

import batten
from batten.errors import StorageError
from batten.storage.base import Put, Store
from batten.storage.changing import publishing
from batten.storage.local.folder import LocalStorage
from batten.storage.twin.fates import Fate
from batten.storage.twin.memory import MemoryStorage
from batten.storage.twin.objects import ChangeRequest, ObjectServer, ObjectStorage, SenderDied
from batten.testing import StoreContract

SOURCE = Path(batten.__file__).parent


class TestLocal(StoreContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def make_store(self) -> Store:
        return LocalStorage(self.path)


class TestMemory(StoreContract):
    def make_store(self) -> Store:
        return MemoryStorage()


class TestObjects(StoreContract):
    def make_store(self) -> Store:
        return ObjectStorage(is_over=lambda: False)


def told(*fates: Fate) -> tuple[ObjectServer, ObjectStorage]:
    """A store, and a client whose changes have these fates; then all goes well."""
    server = ObjectServer()
    left: Iterator[Fate] = iter(fates)

    def choose(change: ChangeRequest) -> Fate:
        return next(left, Fate.DONE)

    return server, ObjectStorage(server, fate=choose)


def test_an_answer_that_was_lost_is_settled_by_a_look() -> None:
    _, store = told(Fate.UNHEARD, Fate.LOST, Fate.UNHEARD, Fate.LOST, Fate.UNHEARD, Fate.LOST)
    made = store.put_new("x", b"1")
    assert made.put is Put.SAME
    assert store.put_new("y", b"1").put is Put.UNKNOWN
    changed = store.put_if("x", b"2", made.version)
    assert changed.put is Put.SAME
    assert store.put_if("x", b"3", changed.version) == (Put.UNKNOWN, changed.version)
    assert store.delete_if("x", changed.version).put is Put.MADE
    store.put_new("z", b"1")


def test_a_change_is_asked_for_until_it_is_known() -> None:
    server, store = told(Fate.LOST, Fate.LATE, Fate.LOST, Fate.DONE)
    assert publishing.create(store, "staging", "x", b"1") is Put.MADE
    server.deliver_late()
    assert store.read("x") == b"1"
    _, dead = told(*repeat(Fate.LOST, publishing.TRIES))
    with pytest.raises(StorageError, match="did not say"):
        publishing.create(dead, "staging", "x", b"1")


def test_a_request_that_comes_late_finds_its_condition_gone() -> None:
    server, store = told(Fate.LATE, Fate.DONE, Fate.LATE)
    assert store.put_new("x", b"late").put is Put.UNKNOWN
    version = store.put_new("x", b"1").version
    server.deliver_late()
    assert store.put_if("x", b"late", version).put is Put.UNKNOWN
    assert store.put_if("x", b"2", version).put is Put.MADE
    server.deliver_late()
    assert store.read("x") == b"2"


def test_a_dead_sender_asks_nothing_more_and_its_request_may_come() -> None:
    server, store = told(Fate.DIES_LATE)
    with pytest.raises(SenderDied):
        store.put_new("x", b"1")
    with pytest.raises(SenderDied):
        store.find("x")
    assert server.objects == {}
    server.deliver_late()
    assert ObjectStorage(server).read("x") == b"1"


def test_nobody_asks_for_the_type_of_a_storage() -> None:
    """What a store can do more it says itself, by `folder` and `local`."""
    kinds = {"LocalStorage", "MemoryStorage", "ObjectStorage", "Store", "Folder", "LocalFolder"}
    asking = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
        and kinds & {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
    ]
    assert asking == []
