"""What went wrong in journals of this kind before, each as a test of its own."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

import batten
from batten.model.disk.records import encode_record
from batten.model.disk.trees.journal import Journal, Operation, OperationKind, Phase
from batten.storage.changing import steps

if TYPE_CHECKING:
    from conftest import JobFolder, Notes

TAKING_SPACE = ("stage.create", "stage.write", "link", "replace.rename", "make_folder")


def change_in_place(change: batten.Transaction) -> None:
    os.truncate(change.protect("old.md"), 1)
    change.write("reached.md", "now")


def kill_in_place(notes: Notes) -> None:
    """Killed with `old.md` half changed in place."""
    notes.kill_at("stage.create", "000002", change_in_place)
    assert notes.contents()["old.md"] == "o"


def kill_half_done(notes: Notes) -> None:
    """Killed with `new.md` in place and `old.md` not yet."""

    def work(change: batten.Transaction) -> None:
        change.write("new.md", "new")
        change.write("old.md", "changed")

    notes.kill_at("replace.rename", "notes/old.md", work)
    assert notes.contents()["old.md"] == "old"


@contextmanager
def failing(code: int, *kinds: str, name: str = "") -> Iterator[None]:
    """Durable steps of these kinds, on names with `name` in them, fail."""

    def observe(moment: str, step: str, where: str) -> None:
        if moment == "before" and step in kinds and name in where:
            raise OSError(code, os.strerror(code), where)

    steps.observer = observe
    try:
        yield
    finally:
        steps.observer = None


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_have_the_usual_mode_and_keep_theirs(notes: Notes, mask: int, expected: int) -> None:
    (notes.root / "old.md").chmod(0o640)
    (notes.root / "pages/one.md").chmod(0o604)
    before = os.umask(mask)
    try:
        with batten.transaction(notes.root) as change:
            change.write("new/file.md", "new")
            change.write("old.md", "changed")
            change.replace("copied.md", notes.root / "pages/two.md")
            change.move("pages/one.md", "moved.md")
    finally:
        os.umask(before)

    def mode(name: str) -> int:
        return stat.S_IMODE((notes.root / name).stat().st_mode)

    assert mode("new/file.md") == mode("copied.md") == expected
    assert mode("new") == 0o777 & ~mask
    assert (mode("old.md"), mode("moved.md")) == (0o640, 0o604)


def test_nothing_staged_is_left_after_control_c(notes: Notes) -> None:
    before = notes.contents()
    with pytest.raises(KeyboardInterrupt), batten.transaction(notes.root) as change:  # noqa: PT012
        change.write("new.md", "new")
        os.truncate(change.protect("old.md"), 0)
        os.kill(os.getpid(), signal.SIGINT)
    assert notes.contents() == before
    assert notes.left_over() == []


def test_what_a_kill_left_in_staging_goes_with_the_next_change(notes: Notes) -> None:
    notes.kill_at("stage.sync", "000001", lambda change: change.write("new.md", "new"))
    assert notes.staged()
    notes.recover()
    assert notes.left_over() == []


@pytest.mark.parametrize("times", [1, 2])
def test_what_could_not_be_deleted_is_tried_again_by_the_same_change(
    notes: Notes, times: int
) -> None:
    """There may be no other change, and who diagnoses the tree would be told of orphans."""
    failures = iter([errno.ENOSPC] * times)

    def observe(moment: str, step: str, name: str) -> None:
        is_staged = step == "delete" and "/staging/" in name
        if moment == "before" and is_staged and (code := next(failures, None)):
            raise OSError(code, os.strerror(code), name)

    steps.observer = observe
    try:
        with batten.transaction(notes.root) as change:
            change.write("new.md", "new")
            change.write("old.md", "changed")
    finally:
        steps.observer = None
    assert next(failures, None) is None
    assert notes.left_over() == []
    assert notes.contents()["new.md"] == "new"


def test_backups_made_before_the_journal_go_with_the_next_change(notes: Notes) -> None:
    before = notes.contents()
    notes.kill_at("replace.rename", "JOURNAL", change_in_place)
    assert len(notes.staged()) == 2
    notes.recover()
    assert notes.contents() == before
    assert notes.left_over() == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"put", b"pot"),
        lambda data: os.urandom(len(data)),
        lambda data: bytes(len(data)),
    ],
    ids=["empty", "truncated", "changed", "garbage", "zeroes"],
)
def test_a_journal_that_cannot_be_read_is_set_aside_and_blocks_nothing(
    notes: Notes, damage: object
) -> None:
    assert callable(damage)
    kill_half_done(notes)
    data = damage(notes.journal.read_bytes())
    staged = {path.read_bytes() for path in notes.staged()}
    notes.journal.write_bytes(data)
    with pytest.warns(RuntimeWarning, match="set aside"), batten.read_lock(notes.root):
        pass
    assert not notes.journal.exists()
    assert {path.read_bytes() for path in notes.evidence()} == staged | {data}
    with batten.transaction(notes.root) as change:
        change.write("later.md", "later")
    assert notes.contents()["later.md"] == "later"


def test_a_backup_that_is_gone_costs_no_live_file(notes: Notes) -> None:
    kill_in_place(notes)
    for path in notes.staged():
        path.unlink()
    before = notes.contents()
    for _ in range(3):
        with pytest.raises(batten.RefusedError, match="not there"):
            notes.recover()
        assert notes.contents() == before
        assert notes.journal.exists()


def test_a_disk_that_stays_full_costs_neither_file_nor_backup(notes: Notes) -> None:
    kill_in_place(notes)
    for _ in range(10):
        with failing(errno.ENOSPC, *TAKING_SPACE), pytest.raises(batten.StorageError, match="full"):
            notes.recover()
        assert notes.contents()["old.md"] == "o"
        assert "old" in {path.read_text() for path in notes.staged()}
    notes.recover()
    assert notes.contents()["old.md"] == "old"
    assert notes.left_over() == []


def test_a_failed_recovery_grants_no_lock_so_nothing_committed_is_undone(notes: Notes) -> None:
    kill_in_place(notes)
    with failing(errno.EIO, "replace.rename", name="old.md"):
        for _ in range(3):
            with pytest.raises(batten.StorageError), batten.transaction(notes.root):
                pytest.fail("the lock was granted")
            with pytest.raises(batten.StorageError), batten.read_lock(notes.root):
                pytest.fail("the lock was granted")
    with batten.transaction(notes.root) as change:
        assert change.read("old.md") == b"old"
        change.write("old.md", "committed")
    notes.recover()
    assert notes.contents()["old.md"] == "committed"


def test_a_rollback_that_fails_is_told_and_done_by_the_next(notes: Notes) -> None:
    with (  # noqa: PT012
        failing(errno.ENOSPC, "link"),
        pytest.raises(ZeroDivisionError) as raised,
        batten.transaction(notes.root) as change,
    ):
        change_in_place(change)
        raise ZeroDivisionError
    assert "next use of the tree" in "".join(raised.value.__notes__)
    assert notes.contents()["old.md"] == "o"
    notes.recover()
    assert notes.contents()["old.md"] == "old"


@pytest.mark.parametrize("kill", [kill_in_place, kill_half_done])
def test_a_copy_of_the_tree_is_recovered_without_touching_the_original(
    notes: Notes, kill: object, job: JobFolder
) -> None:
    assert callable(kill)
    kill(notes)
    copied = notes.root.parent / "elsewhere"
    copied.mkdir()
    shutil.copytree(notes.root, copied / "other")
    shutil.copytree(notes.control.parent, copied / "other.batten")
    before = notes.contents(), notes.left_over()
    with batten.transaction(copied / "other"):
        pass
    assert (notes.contents(), notes.left_over()) == before
    notes.recover()
    for name, text in notes.contents().items():
        assert text is None or (copied / "other" / name).read_text() == text


@pytest.mark.parametrize("path", ["../outside", "/tmp/outside", "pages/../../outside", "", "a//b"])
def test_a_journal_that_names_a_file_outside_is_set_aside(notes: Notes, path: str) -> None:
    outside = notes.root.parent / "outside"
    outside.write_text("outside")
    notes.recover()
    journal = Journal(
        phase=Phase.COMMITTED,
        change="c",
        token="",
        operations=[Operation(action=OperationKind.DELETE, path=path, before="file 7 0")],
        time="",
    )
    notes.journal.write_bytes(encode_record(journal))
    with pytest.warns(RuntimeWarning, match="the field .path. is"):
        notes.recover()
    assert outside.read_text() == "outside"
    assert [file.name for file in notes.evidence()] == ["JOURNAL"]


@pytest.mark.parametrize("link", ["pages", "pages/deep"])
def test_a_folder_that_became_a_link_in_place_is_a_folder_again(notes: Notes, link: str) -> None:
    outside = notes.root.parent / "outside"
    outside.mkdir()
    (outside / "here.md").write_text("outside")
    with batten.transaction(notes.root) as change:
        change.write("pages/deep/here.md", "here")
    before = notes.contents()
    with suppress(KeyError), batten.transaction(notes.root) as change:
        change.protect("pages")
        shutil.rmtree(notes.root / link)
        (notes.root / link).symlink_to(outside)
        raise KeyError
    assert notes.contents() == before
    assert (outside / "here.md").read_text() == "outside"
    (kept,) = (notes.control / "set-aside").iterdir()
    assert kept.readlink() == outside


@pytest.mark.parametrize(
    "operation",
    [
        Operation(action=OperationKind.PUT, path="old.md"),
        Operation(action=OperationKind.RESTORE, path="old.md", staged=-7),
        Operation(action=OperationKind.DELETE, path="old.md", staged=1),
    ],
    ids=lambda operation: str(operation.action),
)
def test_a_journal_that_makes_no_sense_is_set_aside(notes: Notes, operation: Operation) -> None:
    before = notes.contents()
    notes.recover()
    journal = Journal(phase=Phase.COMMITTED, change="c", token="", operations=[operation], time="")
    notes.journal.write_bytes(encode_record(journal))
    with pytest.warns(RuntimeWarning, match="not a staged file|the field .staged. is"):
        notes.recover()
    assert notes.contents() == before


def test_what_comes_to_nothing_leaves_nothing_staged(notes: Notes) -> None:
    with batten.transaction(notes.root) as change:
        change.write("new.md", "new")
        change.delete("new.md")
    assert notes.left_over() == []


def test_a_journal_is_not_followed_through_a_symbolic_link(notes: Notes) -> None:
    def work(change: batten.Transaction) -> None:
        change.delete("pages/one.md")
        change.write("pages/new.md", "new")

    notes.kill_at("delete", "one.md", work)
    outside = notes.root.parent / "outside"
    (notes.root / "pages").rename(outside)
    (notes.root / "pages").symlink_to(outside)
    with pytest.raises(batten.RefusedError, match="symbolic link"):
        notes.recover()
    assert sorted(path.name for path in outside.iterdir()) == ["one.md", "two.md"]
    (notes.root / "pages").unlink()
    outside.rename(notes.root / "pages")
    notes.recover()
    assert "pages/new.md" in notes.contents()
    assert "pages/one.md" not in notes.contents()


@pytest.mark.parametrize("path", ["../outside", "/outside", "pages/../../x", "", ".", "a//b", "a/"])
def test_no_call_takes_a_path_out_of_the_tree(notes: Notes, path: str) -> None:
    with batten.transaction(notes.root) as change:
        for call in (
            lambda: change.write(path, ""),
            lambda: change.delete(path),
            lambda: change.move("old.md", path),
            lambda: change.move(path, "new.md"),
            lambda: change.protect(path),
            lambda: change.read(path),
            lambda: change.make_folder(path),
        ):
            with pytest.raises(batten.UsageError):
                call()


def test_no_call_follows_a_symbolic_link_out_of_the_tree(notes: Notes) -> None:
    outside = notes.root.parent / "outside"
    outside.mkdir()
    (outside / "file").write_text("outside")
    (notes.root / "link").symlink_to(outside)
    (notes.root / "file-link").symlink_to(outside / "file")
    with batten.transaction(notes.root) as change:
        for call in (
            lambda: change.write("link/file", ""),
            lambda: change.delete("link/file"),
            lambda: change.move("old.md", "link/new"),
            lambda: change.protect("link/file"),
            lambda: change.read("file-link"),
        ):
            with pytest.raises(batten.RefusedError, match="symbolic link"):
                call()
    with (
        pytest.raises(batten.RefusedError, match="symbolic link"),
        batten.transaction(notes.root) as change,
    ):
        change.protect("file-link")
    with batten.transaction(notes.root) as change:
        change.write("file-link", "a file now")
        change.delete("link")
    assert (outside / "file").read_text() == "outside"
    assert (notes.root / "file-link").read_text() == "a file now"
    assert not (notes.root / "link").is_symlink()


def test_a_writer_in_place_does_not_reach_the_backup(notes: Notes) -> None:
    with batten.transaction(notes.root) as change:
        live = change.protect("old.md").stat().st_ino
        assert live not in {path.stat().st_ino for path in notes.staged()}
    kill_in_place(notes)
    notes.recover()
    assert notes.contents()["old.md"] == "old"


def test_a_database_is_restored_with_its_side_files(notes: Notes) -> None:
    path = notes.root / "index.sqlite"
    with closing(sqlite3.connect(path)) as first:
        first.execute("pragma journal_mode = wal")
        first.execute("create table words (word text)")
        first.execute("insert into words values ('kept')")
        first.commit()
        shutil.copytree(notes.root, notes.root.parent / "copy")
    shutil.rmtree(notes.root)
    (notes.root.parent / "copy").rename(notes.root)
    assert (notes.root / "index.sqlite-wal").stat().st_size > 0

    def work(change: batten.Transaction) -> None:
        connection = sqlite3.connect(change.protect("index.sqlite"))
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.execute("insert into words values ('lost')")
        connection.commit()
        change.write("reached.md", "now")

    notes.kill_at("stage.create", "000004", work)
    notes.recover()
    with closing(sqlite3.connect(path)) as index:
        assert index.execute("select word from words").fetchall() == [("kept",)]
        assert index.execute("pragma integrity_check").fetchall() == [("ok",)]


def test_what_someone_else_changed_meanwhile_is_kept_as_evidence(notes: Notes) -> None:
    kill_half_done(notes)
    (notes.root / "old.md").write_text("by hand")
    notes.recover()
    assert notes.contents()["old.md"] == "changed"
    assert [path.read_text() for path in notes.evidence()] == ["by hand"]


def test_other_filesystems_get_a_durable_copy(notes: Notes) -> None:
    with failing(errno.EXDEV, "link"), batten.transaction(notes.root) as change:
        change.write("new.md", "new")
        change.write("old.md", "changed")
        change.move("pages/two.md", "moved.md")
    assert notes.contents() == {
        "new.md": "new",
        "old.md": "changed",
        "moved.md": "two",
        "pages": None,
        "pages/one.md": "one",
    }
    assert notes.left_over() == []


def test_a_copy_to_another_filesystem_may_be_killed(notes: Notes) -> None:
    def work(change: batten.Transaction) -> None:
        steps.observer, killing = None, steps.observer
        change.write("new.md", "new")

        def observe(moment: str, step: str, where: str) -> None:
            if step == "link":
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), where)
            if killing is not None:
                killing(moment, step, where)

        steps.observer = observe

    notes.kill_at("stage.write", ".batten", work)
    assert any(path.name.endswith(".batten") for path in notes.root.iterdir())
    with failing(errno.EXDEV, "link"):
        notes.recover()
    assert notes.contents()["new.md"] == "new"
    assert not any(path.name.endswith(".batten") for path in notes.root.iterdir())


def test_a_symbolic_link_moves_as_itself(notes: Notes) -> None:
    (notes.root / "link").symlink_to("old.md")
    with batten.transaction(notes.root) as change:
        change.move("link", "other")
    assert os.readlink(notes.root / "other") == "old.md"
    with failing(errno.EXDEV, "link"), batten.transaction(notes.root) as change:
        change.move("other", "third")
    assert os.readlink(notes.root / "third") == "old.md"
    assert notes.left_over() == []
