"""Acts that belong together pass a folder once, and none of them goes where a link leads."""

from __future__ import annotations

from pathlib import Path

import pytest

from batten.errors import StorageError
from batten.storage.local import LocalStorage


def swap_for_link(folder: Path, elsewhere: Path) -> Path:
    """Where the folder lies now."""
    moved = folder.rename(folder.with_name("moved"))
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    return moved


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
