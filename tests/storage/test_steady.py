"""Acts that belong together pass a folder once, and none of them goes where a link leads."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

import batten
from batten.errors import StorageError
from batten.storage.beneath import OPEN_MAX
from batten.storage.local.folder import LocalStorage


def swap_for_link(folder: Path, elsewhere: Path) -> Path:
    """Where the folder lies now."""
    moved = folder.rename(folder.with_name("moved"))
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    return moved


@pytest.fixture
def few_open_files() -> Iterator[int]:
    """So many, and a few more, can be open at a time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 3 * OPEN_MAX
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + count, hard))
    yield count
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_takes_the_name_of_a_folder_in_between_is_not_touched(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "root")
    storage.ensure_folder("a/b")
    with storage.steady():
        storage.stage("a/b/first", b"1", is_synced=False)
        moved = swap_for_link(tmp_path / "root/a", tmp_path / "elsewhere")
        storage.stage("a/b/second", b"2", is_synced=False)
        storage.publish("a/b/second", "a/b/third")
        storage.delete("a/b/second")
    assert sorted(path.name for path in (moved / "b").iterdir()) == ["first", "third"]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_after_the_block_a_folder_is_passed_anew(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "root")
    storage.ensure_folder("a")
    with storage.steady(), storage.steady():
        storage.stage("a/first", b"1", is_synced=False)
    swap_for_link(tmp_path / "root/a", tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"symbolic link|levels"):
        storage.stage("a/second", b"2", is_synced=False)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_folder_that_the_storage_itself_moves_in_the_block_is_passed_anew(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.ensure_folder("a/b")
    with storage.steady():
        storage.stage("a/b/first", b"1", is_synced=False)
        storage.replace("a", "moved")
        storage.ensure_folder("a/b")
        storage.stage("a/b/second", b"2", is_synced=False)
        storage.delete("a/b/second")
        storage.delete("a/b")
        storage.ensure_folder("a/b")
        storage.stage("a/b/third", b"3", is_synced=False)
    assert [path.name for path in (tmp_path / "moved/b").iterdir()] == ["first"]
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["third"]


def test_two_folders_that_are_exchanged_in_the_block_are_passed_anew(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    for folder in ("a/b", "c/b"):
        storage.ensure_folder(folder)
    with storage.steady():
        storage.stage("a/b/first", b"1", is_synced=False)
        storage.stage("c/b/second", b"2", is_synced=False)
        storage.exchange("a", "c")
        assert sorted(storage.list_names("a/b")) == ["second"]
        assert sorted(storage.list_names("c/b")) == ["first"]


def test_a_block_keeps_no_more_folders_open_than_others_do(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    with storage.steady():
        for number in range(5 * OPEN_MAX):
            storage.ensure_folder(f"{number}")
            storage.stage(f"{number}/file", b"1", is_synced=False)
        assert len(os.listdir("/proc/self/fd")) - before <= 2 * OPEN_MAX
    assert storage.read("0/file") == b"1"


def test_a_change_in_many_folders_keeps_few_open(tmp_path: Path, few_open_files: int) -> None:
    tree = tmp_path / "tree"
    for data in (b"1", b"2"):
        with batten.transaction(tree) as change:
            for number in range(2 * few_open_files):
                change.write(f"{number}/file", data)
    files = list(tree.glob("*/file"))
    assert len(files) == 2 * few_open_files
    assert {file.read_bytes() for file in files} == {b"2"}
