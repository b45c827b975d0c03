"""What the three models of a crash may lose, and must keep."""

from __future__ import annotations

import random

import pytest

from batten.storage.twin.memory import MemoryStorage
from batten.storage.twin.power_cuts import CutPower, PowerLost
from batten.storage.twin.volatile import BLOCK_BYTES, Model

Snapshot = dict[str, bytes | None]


def found(storage: MemoryStorage, model: Model) -> list[Snapshot]:
    return [state.snapshot() for state in storage.surviving_states(model)]


def made(*folders: str) -> MemoryStorage:
    storage = MemoryStorage()
    for folder in folders:
        storage.ensure_folder(folder)
    return storage


def test_a_killed_process_loses_nothing_and_makes_nothing_durable() -> None:
    storage = made("a")
    storage.stage("a/x", b"data", is_synced=False)
    (after,) = storage.surviving_states("kill")
    assert after.snapshot() == {"a": None, "a/x": b"data"}
    assert {"a": None} in found(after, "ordered")
    storage.delete("a/x")
    assert after.read("a/x") == b"data"


def test_an_ordered_journal_keeps_a_prefix_of_the_changes() -> None:
    storage = made("a", "b")
    for name in ("a/1", "b/2", "a/3"):
        storage.stage(name, b"", is_synced=True)
    states = [set(each) - {"a", "b"} for each in found(storage, "ordered")]
    assert states == [set(), {"a/1"}, {"a/1", "b/2"}, {"a/1", "b/2", "a/3"}]


def test_a_synced_folder_takes_what_came_before_along_when_ordered_and_alone_when_weak() -> None:
    storage = made("a", "b")
    for name in ("a/1", "b/2", "a/3"):
        storage.stage(name, b"", is_synced=True)
    storage.sync_names("b")
    assert all({"a/1", "b/2"} <= set(each) for each in found(storage, "ordered"))
    weak = [set(each) - {"a", "b"} for each in found(storage, "weak")]
    assert len(weak) == 4
    assert {"b/2"} in weak
    assert {"b/2", "a/3"} in weak
    assert all("b/2" in each for each in weak)


def test_a_weak_rename_may_lose_either_of_its_names() -> None:
    storage = made("a", "b")
    storage.stage("a/x", b"data", is_synced=True)
    storage.sync_names("a")
    storage.replace("a/x", "b/x")
    weak = [set(each) - {"a", "b"} for each in found(storage, "weak")]
    assert sorted(map(sorted, weak)) == [[], ["a/x"], ["a/x", "b/x"], ["b/x"]]
    ordered = [set(each) - {"a", "b"} for each in found(storage, "ordered")]
    assert sorted(map(sorted, ordered)) == [["a/x"], ["b/x"]]


def test_what_lies_in_a_lost_folder_is_lost(seeded: random.Random) -> None:
    storage = made("a")
    storage.observer = CutPower(2)  # The folder is made, and its name is not synced.
    with pytest.raises(PowerLost):
        storage.ensure_folder("a/b")
    (state,) = storage.surviving_states("kill")
    state.stage("a/b/x", b"data", is_synced=True)
    state.sync_names("a/b")
    assert {"a": None} in found(state, "weak")
    assert all("a/b/x" in each for each in found(state, "ordered"))
    for _ in range(50):
        names = set(state.crash("weak", seeded).snapshot())
        assert "a/b" in names or "a/b/x" not in names


@pytest.mark.parametrize("model", ["ordered", "weak"])
def test_unsynced_bytes_may_be_lost_and_synced_ones_never(
    model: Model, seeded: random.Random
) -> None:
    storage = made("a")
    data = b"x" * (3 * BLOCK_BYTES)
    storage.stage("a/synced", data, is_synced=True)
    storage.stage("a/not", data, is_synced=False)
    storage.sync_names("a")
    states = found(storage, model)
    states += [storage.crash(model, seeded).snapshot() for _ in range(200)]
    assert all(each["a/synced"] == data for each in states)
    others = {each["a/not"] for each in states}
    assert {data, b"", data[: len(data) // 2]} <= others
    zeroes = [each for each in others if each and b"\0" in each]
    assert bool(zeroes) == (model == "weak")
    if model == "weak":
        first_lost = bytes(BLOCK_BYTES) + data[BLOCK_BYTES:]
        assert {bytes(len(data)), first_lost} <= others
    else:
        assert all(each is not None and data.startswith(each) for each in others)


def test_two_names_of_a_file_tell_the_same(seeded: random.Random) -> None:
    storage = made("a")
    storage.stage("a/x", b"data" * 10, is_synced=False)
    storage.publish("a/x", "a/y")
    storage.sync_names("a")
    for state in [*found(storage, "weak"), storage.crash("weak", seeded).snapshot()]:
        assert state["a/x"] == state["a/y"]


def test_the_power_stays_off() -> None:
    storage = made("a")
    storage.observer = CutPower(1, "after")
    with pytest.raises(PowerLost):
        storage.stage("a/x", b"", is_synced=False)
    storage.observer = None
    for call in (
        lambda: storage.stage("a/y", b"", is_synced=False),
        lambda: storage.find("a"),
        lambda: list(storage.list("a")),
        lambda: storage.read("a/x"),
        lambda: storage.observe_lock("lock"),
        lambda: storage.append_log("a/log", b""),
    ):
        with pytest.raises(PowerLost):
            call()
    assert storage.snapshot() == {"a": None, "a/x": b""}


@pytest.mark.parametrize("model", ["ordered", "weak"])
def test_chance_stays_within_what_the_model_allows(model: Model, seeded: random.Random) -> None:
    """A few unsynced names: every subset, or every prefix, is found, and nothing else."""
    storage = made("a", "b")
    for name in ("a/1", "b/2", "a/3"):
        storage.stage(name, b"", is_synced=True)
    states = {frozenset(storage.crash(model, seeded).snapshot()) - {"a", "b"} for _ in range(500)}
    assert len(states) == (4 if model == "ordered" else 8)
