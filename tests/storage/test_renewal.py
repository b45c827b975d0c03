"""Names that could not be made durable are made anew, however often the disk or the power fails."""

from __future__ import annotations

from itertools import count

import pytest

from batten.errors import StorageError
from batten.model.disk.names import UNSYNCED
from batten.model.disk.runs.holders import Holder
from batten.storage.changing.publishing import create
from batten.storage.twin.memory import MemoryLock, MemoryStorage
from batten.storage.twin.power_cuts import CutPower, FailSync, PowerLost

CONTROL = "out.batten"
FILES = {f"out/{number:02}": str(number).encode() for number in range(12)}


def lock(storage: MemoryStorage) -> MemoryLock:
    return storage.lock(f"{CONTROL}/lock", Holder(pid=1, host="here", since="now", boot="1"))


def left_unsynced() -> MemoryStorage:
    """One file was removed and many were made, and the folder could not be synced."""
    storage = MemoryStorage()
    for folder in ("out", CONTROL):
        storage.ensure_folder(folder)
    create(storage, CONTROL, "out/-gone", b"gone")
    with lock(storage):
        storage.delete("out/-gone")
        for name, data in FILES.items():
            storage.stage(f"{CONTROL}/made", data, is_synced=True)
            storage.replace(f"{CONTROL}/made", name)
        storage.observer = FailSync(1)
        with pytest.raises(StorageError):
            storage.sync_names("out")
        storage.observer = None
    return storage


def list_output(storage: MemoryStorage) -> dict[str, bytes | None]:
    return {name: data for name, data in storage.snapshot().items() if name.startswith("out/")}


def list_records(storage: MemoryStorage) -> list[str]:
    names = [name for name in storage.snapshot() if name.startswith(f"{CONTROL}/{UNSYNCED}")]
    return [name for name in names if not name.endswith("-made")]


def test_a_process_whose_renewal_failed_renews_the_same_names_again() -> None:
    """Each second name belongs to the number of a name in the record, so that must not change."""
    for number in count(1):
        storage = left_unsynced()
        storage.observer = failing = FailSync(number)
        try:
            with lock(storage):
                assert failing.count < number
        except StorageError:
            assert failing.count >= number
        storage.observer = None
        with lock(storage):
            assert list_output(storage) == FILES
            assert not list_records(storage)
        assert all(list_output(each) == FILES for each in storage.surviving_states("weak"))
        if failing.count < number:
            break
    assert number > 2


def test_no_power_cut_leaves_second_names_without_the_record_of_them() -> None:
    """The next failure would take them for its own, and put one file at the name of another."""
    for number in count(1):
        storage = left_unsynced()
        storage.observer = CutPower(number)
        try:
            with lock(storage):
                break
        except PowerLost:
            pass
        for state in storage.surviving_states("weak"):
            left = list_records(state)
            assert f"{CONTROL}/{UNSYNCED}" in left or not left
    assert number > 2
