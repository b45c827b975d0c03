"""A transaction on real files: what it does to a tree, and what it leaves alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import batten


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "notes"
    root.mkdir()
    (root / "old.md").write_text("old")
    (root / "pages").mkdir()
    (root / "pages" / "one.md").write_text("one")
    (root / "pages" / "two.md").write_text("two")
    return root


def contents(root: Path) -> dict[str, str | None]:
    """Every file below the root with its text; None for a folder."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_text()
        for path in sorted(root.rglob("*"))
    }


def left_over(root: Path) -> list[str]:
    """What lies in the control folder beyond its folders and the lock."""
    control = root.with_name(root.name + ".batten")
    found = [path for path in control.rglob("*") if path.is_file() and path.name != "lock"]
    return [str(path.relative_to(control)) for path in found]


OLD = {"old.md": "old", "pages": None, "pages/one.md": "one", "pages/two.md": "two"}


def test_leaving_the_block_commits_everything(root: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("from elsewhere")
    with batten.transaction(root) as change:
        change.write("new/deep/file.md", "new")
        change.write("old.md", b"changed")
        change.replace("copied.md", tmp_path / "source")
        change.delete("pages/one.md")
        change.move("pages/two.md", "second.md")
        change.make_folder("empty")
        assert contents(root) == OLD
    assert contents(root) == {
        "copied.md": "from elsewhere",
        "empty": None,
        "new": None,
        "new/deep": None,
        "new/deep/file.md": "new",
        "old.md": "changed",
        "pages": None,
        "second.md": "two",
    }
    assert left_over(root) == []


def test_an_exception_undoes_everything_and_is_raised_again(root: Path) -> None:
    with pytest.raises(ZeroDivisionError), batten.transaction(root) as change:  # noqa: PT012
        change.write("new/file.md", "new")
        change.write("old.md", "changed")
        change.delete("pages")
        raise ZeroDivisionError
    assert contents(root) == OLD
    assert left_over(root) == []


def test_what_was_protected_and_changed_in_place_is_restored(root: Path) -> None:
    with pytest.raises(ZeroDivisionError), batten.transaction(root) as change:  # noqa: PT012
        path = change.protect("old.md")
        os.truncate(path, 0)
        (root / "old.md-wal").write_text("side file")
        folder = change.protect("pages")
        (folder / "one.md").unlink()
        (folder / "two.md").write_text("changed")
        (folder / "deep").mkdir()
        (folder / "deep" / "new.md").write_text("new")
        made = change.protect("index/database")
        made.write_text("new")
        raise ZeroDivisionError
    assert contents(root) == OLD
    assert left_over(root) == []


def test_what_was_protected_stays_when_it_commits(root: Path) -> None:
    with batten.transaction(root) as change:
        change.protect("old.md").write_text("in place")
        change.write("new.md", "staged")
    assert contents(root) == OLD | {"old.md": "in place", "new.md": "staged"}
    assert left_over(root) == []


def test_a_token_is_there_with_the_change(root: Path) -> None:
    assert not batten.has_token(root, "batch 1")
    with batten.transaction(root, token="batch 1") as change:
        change.write("new.md", "new")
    assert batten.has_token(root, "batch 1")
    assert not batten.has_token(root, "batch 2")
    with pytest.raises(batten.RefusedError), batten.transaction(root, token="batch 1"):
        pass
