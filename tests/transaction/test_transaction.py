"""A transaction on real files: what it does to a tree, and what it leaves alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import batten

if TYPE_CHECKING:
    from conftest import Notes

OLD = {"old.md": "old", "pages": None, "pages/one.md": "one", "pages/two.md": "two"}


def test_leaving_the_block_commits_everything(notes: Notes, tmp_path: Path) -> None:
    (tmp_path / "source").write_text("from elsewhere")
    with batten.transaction(notes.root) as change:
        change.write("new/deep/file.md", "new")
        change.write("old.md", b"changed")
        change.replace("copied.md", tmp_path / "source")
        change.delete("pages/one.md")
        change.move("pages/two.md", "second.md")
        change.make_folder("empty")
        assert notes.contents() == OLD
    assert notes.contents() == {
        "copied.md": "from elsewhere",
        "empty": None,
        "new": None,
        "new/deep": None,
        "new/deep/file.md": "new",
        "old.md": "changed",
        "pages": None,
        "second.md": "two",
    }
    assert notes.left_over() == []


def test_an_exception_undoes_everything_and_is_raised_again(notes: Notes) -> None:
    with pytest.raises(ZeroDivisionError), batten.transaction(notes.root) as change:  # noqa: PT012
        change.write("new/file.md", "new")
        change.write("old.md", "changed")
        change.delete("pages")
        raise ZeroDivisionError
    assert notes.contents() == OLD
    assert notes.left_over() == []


def test_what_was_protected_and_changed_in_place_is_restored(notes: Notes) -> None:
    with pytest.raises(ZeroDivisionError), batten.transaction(notes.root) as change:  # noqa: PT012
        path = change.protect("old.md")
        os.truncate(path, 0)
        (notes.root / "old.md-wal").write_text("side file")
        folder = change.protect("pages")
        (folder / "one.md").unlink()
        (folder / "two.md").write_text("changed")
        (folder / "deep").mkdir()
        (folder / "deep" / "new.md").write_text("new")
        made = change.protect("index/database")
        made.write_text("new")
        raise ZeroDivisionError
    assert notes.contents() == OLD
    assert notes.left_over() == []


def test_what_was_protected_stays_when_it_commits(notes: Notes) -> None:
    with batten.transaction(notes.root) as change:
        change.protect("old.md").write_text("in place")
        change.write("new.md", "staged")
    assert notes.contents() == OLD | {"old.md": "in place", "new.md": "staged"}
    assert notes.left_over() == []


def test_a_token_is_there_with_the_change(notes: Notes) -> None:
    assert not batten.has_token(notes.root, "batch 1")
    with batten.transaction(notes.root, token="batch 1") as change:
        change.write("new.md", "new")
    assert batten.has_token(notes.root, "batch 1")
    assert not batten.has_token(notes.root, "batch 2")
    with pytest.raises(batten.RefusedError), batten.transaction(notes.root, token="batch 1"):
        pass


def test_a_token_is_found_where_a_power_cut_took_the_lock_file_alone(notes: Notes) -> None:
    """The journal had its name, and nothing of it was done yet."""
    notes.kill_at(
        "replace.rename",
        "JOURNAL",
        lambda c: c.write("new.md", "new"),
        moment="after",
        token="batch",
    )
    (notes.control / "lock").unlink()
    assert batten.has_token(notes.root, "batch")
    assert notes.contents() == OLD | {"new.md": "new"}
