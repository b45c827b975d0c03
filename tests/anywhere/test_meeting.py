"""Where a run and its workers meet, on each kind of store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from batten.anywhere.meeting import Meeting
from batten.errors import BusyError
from batten.model.disk.runs.workers import Board, Register
from batten.storage.base import Store
from batten.storage.local.folder import LocalStorage
from batten.storage.twin.memory import MemoryStorage
from batten.storage.twin.objects import ObjectStorage

FOLDER = "rows.batten/workers"
BOARD = Board(
    run="run",
    host="host",
    pid=1,
    version="0",
    fingerprint="f",
    output="rows",
    home="",
    segments=1,
    gone_seconds=1.0,
)
WORKER = Register(worker="one", run="run", host="host", pid=2, since="", slots=1)

MakeStore = Callable[[Path], Store]


def make_folder(path: Path) -> Store:
    return LocalStorage(path)


def make_memory(path: Path) -> Store:
    return MemoryStorage()


def make_objects(path: Path) -> Store:
    return ObjectStorage(is_over=lambda: False)


@pytest.fixture(params=[make_folder, make_memory, make_objects])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    made: Store = request.param(tmp_path)
    return made


def test_the_board_is_read_as_it_was_written_and_counts_the_writes(store: Store) -> None:
    run = Meeting(store, FOLDER)
    assert run.read_board() is None
    run.take_over()
    run.write_board(BOARD)
    run.write_board(replace(BOARD, machines=2))
    assert Meeting(store, FOLDER).read_board() == replace(BOARD, machines=2, beat=2)


def test_a_run_that_was_overtaken_is_told_so_and_changes_nothing(store: Store) -> None:
    first, second = Meeting(store, FOLDER), Meeting(store, FOLDER)
    first.take_over()
    first.write_board(BOARD)
    second.take_over()
    second.write_board(replace(BOARD, run="second"))
    with pytest.raises(BusyError):
        first.write_board(BOARD)
    found = first.read_board()
    assert found is not None
    assert found.run == "second"


def test_a_worker_that_was_given_up_is_told_so(store: Store) -> None:
    run, worker = Meeting(store, FOLDER), Meeting(store, FOLDER)
    version = worker.write_register(WORKER, "")
    assert version
    version = worker.write_register(replace(WORKER, beat=1), version)
    assert version
    ((name, seen),) = run.list_registers()
    assert name == "one"
    run.delete_register(name, seen)
    assert worker.write_register(replace(WORKER, beat=2), version) is None
    assert list(run.list_registers()) == []


def test_a_register_that_changed_since_it_was_seen_is_not_deleted(store: Store) -> None:
    run, worker = Meeting(store, FOLDER), Meeting(store, FOLDER)
    version = worker.write_register(WORKER, "")
    ((name, seen),) = run.list_registers()
    assert worker.write_register(replace(WORKER, beat=1), version or "")
    run.delete_register(name, seen)
    assert [name for name, _ in run.list_registers()] == ["one"]


def test_a_new_run_clears_away_the_registers_of_earlier_ones(store: Store) -> None:
    worker = Meeting(store, FOLDER)
    version = worker.write_register(WORKER, "")
    run = Meeting(store, FOLDER)
    run.take_over()
    run.write_board(BOARD)
    assert worker.write_register(replace(WORKER, beat=1), version or "") is None
    assert run.read_board() is not None


@pytest.mark.parametrize("data", [b"", b"{}", b'{"worker": "two"}'])
def test_what_can_not_be_understood_is_no_register(store: Store, data: bytes) -> None:
    run = Meeting(store, FOLDER)
    store.put_new(f"{FOLDER}/one.json", data)
    store.put_new(f"{FOLDER}/board.json", data)
    seen = run.read_register("one")
    assert seen is not None
    assert seen.register is None
    assert run.read_board() is None
