"""What every storage must do, run on each."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from batten.errors import BusyError, RefusedError, StorageError
from batten.storage.base import Folder, Put
from batten.storage.changing import publishing, setting_aside, steps
from batten.storage.failures import is_of_wrong_kind
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.locks import current_holder
from batten.storage.twin.memory import MemoryStorage

STAGING = "out.batten/staging"


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    made: Folder = LocalStorage(tmp_path) if request.param == "local" else MemoryStorage()
    for folder in ("out", STAGING):
        made.ensure_folder(folder)
    return made


def observe(storage: Folder, observer: steps.Observer, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = storage if isinstance(storage, MemoryStorage) else steps
    monkeypatch.setattr(owner, "observer", observer)


def record(seen: list[tuple[str, str]], moment: str, step: str, name: str) -> None:
    seen.append((moment, step))


def names(storage: Folder, folder: str) -> set[str]:
    return {entry.name for entry in storage.list(folder)}


def test_a_staged_file_is_published_once_and_keeps_its_first_content(storage: Folder) -> None:
    storage.stage(f"{STAGING}/one", b"first", is_synced=True)
    storage.stage(f"{STAGING}/two", b"second", is_synced=False)
    assert storage.publish(f"{STAGING}/one", "out/part")
    assert not storage.publish(f"{STAGING}/two", "out/part")
    assert not storage.publish(f"{STAGING}/one", "out/part")
    assert storage.read("out/part") == b"first"
    assert names(storage, STAGING) == {f"{STAGING}/one", f"{STAGING}/two"}
    storage.delete(f"{STAGING}/one")
    assert storage.read("out/part") == b"first"


def test_staging_is_exclusive(storage: Folder) -> None:
    storage.stage("out/x", b"1", is_synced=False)
    with pytest.raises(StorageError) as caught:
        storage.stage("out/x", b"2", is_synced=False)
    assert caught.value.errno == errno.EEXIST
    assert storage.read("out/x") == b"1"


def test_staging_takes_any_memory(storage: Folder) -> None:
    storage.stage("out/x", memoryview(b"0123456789")[2:5], is_synced=True)
    storage.stage("out/empty", b"", is_synced=True)
    assert storage.read("out/x") == b"234"
    assert storage.read("out/empty") == b""


def test_replace_replaces_and_takes_the_staged_name_away(storage: Folder) -> None:
    for data in (b"old", b"new"):
        storage.stage(f"{STAGING}/x", data, is_synced=True)
        storage.replace(f"{STAGING}/x", "out/x")
        assert storage.read("out/x") == data
    assert names(storage, STAGING) == set()


def test_replacing_a_file_by_itself_does_nothing(storage: Folder) -> None:
    storage.stage(f"{STAGING}/x", b"same", is_synced=True)
    storage.publish(f"{STAGING}/x", "out/x")
    storage.replace(f"{STAGING}/x", "out/x")
    assert storage.read("out/x") == storage.read(f"{STAGING}/x") == b"same"


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, None), (0, 4), (3, 4), (8, 4), (20, 4), (-4, None), (-4, 2), (-99, 3)],
)
def test_reading_a_range(storage: Folder, offset: int, length: int | None) -> None:
    data = b"0123456789"
    storage.stage("out/x", data, is_synced=False)
    start = max(10 + offset, 0) if offset < 0 else offset
    expected = data[start:] if length is None else data[start : start + length]
    assert storage.read("out/x", offset=offset, length=length) == expected
    with storage.open("out/x") as file:
        file.seek(start)
        assert file.read(-1 if length is None else length) == expected


def test_more_than_is_expected_is_not_read(storage: Folder) -> None:
    storage.stage("out/x", b"0123456789", is_synced=False)
    assert storage.read("out/x", bytes_max=10) == b"0123456789"
    assert storage.read("out/x", offset=-4, bytes_max=4) == b"6789"
    assert storage.read("out/x", length=4, bytes_max=4) == b"0123"
    for offset, length in ((0, None), (0, 10), (-10, None)):
        with pytest.raises(StorageError) as caught:
            storage.read("out/x", offset=offset, length=length, bytes_max=9)
        assert is_of_wrong_kind(caught.value)
    assert "larger than any file of its kind" in str(caught.value)


def test_a_missing_file_is_told_apart_from_a_failure(storage: Folder) -> None:
    for read in (storage.read, storage.open):
        with pytest.raises(FileNotFoundError):
            read("out/none")
        with pytest.raises(FileNotFoundError):
            read("none/none")
    assert storage.find("out/none") is None
    assert storage.find("none/none") is None
    assert list(storage.list("none")) == []
    assert list(storage.list_names("none")) == []
    storage.delete("out/none")
    storage.delete("none/none")


def test_many_small_files_are_read_like_each_of_them(storage: Folder) -> None:
    storage.stage("out/empty", b"", is_synced=False)
    storage.stage("out/x", b"1" * 4095, is_synced=False)
    storage.ensure_folder("out/folder")
    found = list(storage.read_each("out", ["x", "none", "folder", "empty", "x"]))
    assert found == [b"1" * 4095, None, None, b"", b"1" * 4095]
    for size in (4096, 5000):
        storage.stage(f"out/{size}", b"2" * size, is_synced=False)
        assert list(storage.read_each("out", [str(size)])) in ([None], [b"2" * size])
    assert list(storage.read_each("none", ["x", "y"])) == [None, None]


def test_finding_and_listing_tell_sizes_and_kinds(storage: Folder) -> None:
    storage.stage("out/x", b"123", is_synced=False)
    storage.ensure_folder("out/folder")
    listed = {entry.name: entry for entry in storage.list("out")}
    assert set(listed) == {"out/x", "out/folder"}
    assert sorted(storage.list_names("out")) == ["folder", "x"]
    assert (listed["out/x"].size, listed["out/x"].is_folder) == (3, False)
    assert listed["out/folder"].is_folder
    found = storage.find("out/x")
    assert found is not None
    assert listed["out/x"] == found._replace(version="")
    assert listed["out/x"].modified_seconds > 1_600_000_000
    assert names(storage, "") == {"out", "out.batten"}
    found = storage.find("out")
    assert found is not None
    assert found.is_folder


def test_folders_are_made_with_their_parents_and_deleted_when_empty(storage: Folder) -> None:
    for _ in range(2):
        storage.ensure_folder("a/b/c")
    storage.ensure_folder("")
    storage.stage("a/b/c/x", b"", is_synced=False)
    with pytest.raises(StorageError) as caught:
        storage.delete("a/b/c")
    assert caught.value.errno == errno.ENOTEMPTY
    storage.delete("a/b/c/x")
    storage.delete("a/b/c")
    assert names(storage, "a/b") == set()
    storage.ensure_folder("a/b/c")
    assert names(storage, "a/b") == {"a/b/c"}


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda s: s.stage("none/x", b"", is_synced=False), errno.ENOENT),
        (lambda s: s.stage("out/file/x", b"", is_synced=False), errno.ENOTDIR),
        (lambda s: s.publish("out/none", "out/x"), errno.ENOENT),
        (lambda s: s.publish("out/file", "none/x"), errno.ENOENT),
        (lambda s: s.replace("out/none", "out/x"), errno.ENOENT),
        (lambda s: s.replace("out/file", "out/folder"), errno.EISDIR),
        (lambda s: s.sync_names("none"), errno.ENOENT),
        (lambda s: s.sync_names("out/file"), errno.ENOTDIR),
        (lambda s: s.ensure_folder("out/file"), errno.ENOTDIR),
        (lambda s: s.ensure_folder("out/file/x"), errno.ENOTDIR),
        (lambda s: s.read("out/folder"), errno.EISDIR),
        (lambda s: s.open("out/folder"), errno.EISDIR),
        (lambda s: s.read("out/file/x"), errno.ENOTDIR),
        (lambda s: s.find("out/file/x"), errno.ENOTDIR),
        (lambda s: list(s.list("out/file")), errno.ENOTDIR),
        (lambda s: s.delete("out/file/x"), errno.ENOTDIR),
        (lambda s: s.lock("none/lock", current_holder()), errno.ENOENT),
        (lambda s: s.lock("out/folder", current_holder()), errno.EISDIR),
    ],
)
def test_a_misplaced_name_is_an_error_in_three_sentences(
    storage: Folder, call: Callable[[Folder], object], code: int
) -> None:
    storage.stage("out/file", b"kept", is_synced=False)
    storage.ensure_folder("out/folder")
    with pytest.raises(StorageError) as caught:
        call(storage)
    assert caught.value.errno == code
    assert caught.value.what
    assert caught.value.safe
    assert caught.value.next
    assert storage.read("out/file") == b"kept"


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "out/../../x", "out/..", ".", "./x", "a//b", "out/", "", "a\0b"]
)
def test_names_that_lead_elsewhere_are_refused(storage: Folder, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: storage.stage(name, b"", is_synced=False),
        lambda: storage.publish(name, "out/x"),
        lambda: storage.publish("out/x", name),
        lambda: storage.replace(name, "out/x"),
        lambda: storage.replace("out/x", name),
        lambda: storage.read(name),
        lambda: storage.open(name),
        lambda: storage.delete(name),
        lambda: storage.append_log(name, b""),
        lambda: storage.lock(name, current_holder()),
        lambda: storage.observe_lock(name),
    ]
    if name:  # The empty name is the storage itself, where a folder is meant.
        calls += [
            lambda: storage.sync_names(name),
            lambda: storage.ensure_folder(name),
            lambda: storage.find(name),
            lambda: list(storage.list(name)),
        ]
    storage.stage("out/x", b"", is_synced=False)
    for call in calls:
        with pytest.raises(ValueError, match="not a name within a storage"):
            call()


def test_logs_grow_by_lines_and_never_fail(storage: Folder) -> None:
    storage.append_log("out/log", b"one")
    storage.append_log("out/log", b"two\n")
    storage.append_log("none/log", b"lost")
    assert storage.read("out/log") == b"one\ntwo\n"


def test_a_lock_is_held_by_one_and_names_it(storage: Folder) -> None:
    holder = current_holder()
    name = "out.batten/lock"
    assert storage.observe_lock(name) is None
    with storage.lock(name, holder) as lock:
        assert storage.observe_lock(name) == holder
        with pytest.raises(BusyError) as caught:
            storage.lock(name, holder)
        assert str(holder.pid) in caught.value.what
        assert holder.host in caught.value.what
        assert holder.since in caught.value.what
        assert "wait" in caught.value.safe
        assert "batten diagnose" in caught.value.next
    lock.release()
    assert storage.observe_lock(name) is None
    assert storage.read(name) == b""
    storage.lock(name, holder).release()


def test_create_is_exclusive_and_leaves_nothing_behind(storage: Folder) -> None:
    assert publishing.create(storage, STAGING, "out/x", b"1") is Put.MADE
    assert publishing.create(storage, STAGING, "out/x", b"2") is Put.OTHER
    assert publishing.create(storage, STAGING, "out/x", b"1") is Put.SAME
    assert publishing.create_many(
        storage, STAGING, [("out/x", b"3"), ("out/y", b"4"), ("out.batten/z", b"5")]
    ) == [Put.OTHER, Put.MADE, Put.MADE]
    assert publishing.create_many(storage, STAGING, []) == []
    assert storage.read("out/x") == b"1"
    assert storage.read("out/y") == b"4"
    assert names(storage, STAGING) == set()


def test_create_many_shares_the_syncs_of_folders(
    storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []
    observe(storage, partial(record, seen), monkeypatch)
    publishing.create_many(storage, STAGING, [(f"out/{n}", b"") for n in range(5)])
    assert seen.count(("before", "sync_names")) == 1
    assert seen.count(("after", "stage.sync")) == 5


def test_set_aside_can_be_repeated_and_never_replaces(storage: Folder) -> None:
    publishing.create(storage, STAGING, "out/x", b"evidence")
    for number, data in enumerate((b"evidencE", b"evidence and more", b"evid")):
        publishing.create(storage, STAGING, f"out/{number}", data)
        with pytest.raises(RefusedError):
            setting_aside.set_aside(storage, "out/x", f"out/{number}")
        assert storage.read("out/x") == b"evidence"
        assert storage.read(f"out/{number}") == data
    for _ in range(2):
        setting_aside.set_aside(storage, "out/x", "out.batten/x")
        assert storage.read("out.batten/x") == b"evidence"
        assert storage.find("out/x") is None
    with pytest.raises(FileNotFoundError):
        setting_aside.set_aside(storage, "out/none", "out.batten/none")


def test_many_set_aside_together_share_the_syncs_of_their_folders(
    storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        publishing.create(storage, STAGING, f"out/{number}", b"evidence")
    moves = [(f"out/{number}", f"out.batten/{number}") for number in range(5)]
    seen: list[tuple[str, str]] = []
    observe(storage, partial(record, seen), monkeypatch)
    setting_aside.set_aside_many(storage, moves)
    done = [step for moment, step in seen if moment == "after"]
    assert done == [*["publish.link"] * 5, "sync_names", *["delete"] * 5, "sync_names"]
    assert names(storage, "out") == set()
    setting_aside.set_aside_many(storage, moves)
    assert [storage.read(to) for _, to in moves] == [b"evidence"] * 5


def test_if_one_of_many_can_not_be_set_aside_none_loses_its_name(storage: Folder) -> None:
    for number in range(3):
        publishing.create(storage, STAGING, f"out/{number}", b"evidence")
    publishing.create(storage, STAGING, "out.batten/1", b"other")
    moves = [(f"out/{number}", f"out.batten/{number}") for number in range(3)]
    with pytest.raises(RefusedError):
        setting_aside.set_aside_many(storage, moves)
    assert [storage.read(name) for name, _ in moves] == [b"evidence"] * 3
    assert storage.read("out.batten/1") == b"other"


def test_both_storages_do_the_same_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[list[tuple[str, str]]] = []
    for storage in (LocalStorage(tmp_path), MemoryStorage()):
        storage.ensure_folder("")
        seen: list[tuple[str, str]] = []
        observe(storage, partial(record, seen), monkeypatch)
        for folder in ("out", STAGING, "out"):
            storage.ensure_folder(folder)
        with storage.lock("out.batten/lock", current_holder()):
            for _ in range(2):
                publishing.create(storage, STAGING, "out/x", b"1")
            publishing.replace(storage, STAGING, "out/x", b"2")
            setting_aside.set_aside(storage, "out/x", "out/y")
            storage.append_log("out/log", b"line")
            storage.delete("out/none")
        storage.ensure_folder(STAGING)
        done.append(seen)
        assert {step for _, step in seen} <= set(steps.STEPS)
    assert done[0] == done[1]


def test_a_tree_is_deleted_with_all_that_is_in_it(storage: Folder) -> None:
    for folder in ("out", "out/a", "out/a/deep", "out/kept"):
        storage.ensure_folder(folder)
    for name in ("out/a/one", "out/a/deep/two", "out/kept/three"):
        storage.stage(name, b"text", is_synced=False)
    storage.delete_tree("out/a")
    storage.delete_tree("out/a")
    storage.delete_tree("out/kept/three")
    assert {entry.name for entry in storage.list("out")} == {"out/kept"}
    assert list(storage.list("out/kept")) == []
