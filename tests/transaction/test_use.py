"""How transactions nest, see themselves, exclude each other, and cost no more than is touched."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.tracing.laboratory import run_traced
from batten.crashlab.tracing.system_calls import ALL, CHANGING, CallKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Notes


def test_a_block_within_a_block_is_part_of_it(notes: Notes) -> None:
    with batten.transaction(notes.root) as outer:
        with batten.transaction(notes.root) as inner, batten.read_lock(notes.root):
            assert inner is outer
            inner.write("new.md", "new")
        assert "new.md" not in notes.contents()
    assert notes.contents()["new.md"] == "new"


def test_a_failed_block_within_a_block_fails_all(notes: Notes) -> None:
    before = notes.contents()
    with pytest.raises(batten.RefusedError), batten.transaction(notes.root) as outer:  # noqa: PT012
        outer.write("new.md", "new")
        with pytest.raises(ZeroDivisionError), batten.transaction(notes.root):
            raise ZeroDivisionError
    assert notes.contents() == before
    assert notes.left_over() == []


def test_reading_cannot_become_writing(notes: Notes) -> None:
    with (
        batten.read_lock(notes.root),
        batten.read_lock(notes.root / ".." / notes.root.name),
        pytest.raises(batten.UsageError, match="for reading"),
        batten.transaction(notes.root),
    ):
        pytest.fail("it was granted")
    with batten.transaction(notes.root) as change:
        change.write("new.md", "new")


def test_what_was_written_can_be_read_and_changed_again(notes: Notes) -> None:
    with batten.transaction(notes.root) as change:
        change.write("old.md", "first")
        assert change.read("old.md") == b"first"
        change.write("old.md", "second")
        change.move("old.md", "moved/here.md")
        assert not change.exists("old.md")
        assert change.read("moved/here.md") == b"second"
        change.move("moved", "again")
        assert not change.exists("moved")
        change.write("old.md/is/a/folder/now.md", "now")
        change.delete("pages")
        change.write("pages", "a file now")
        change.write("short", "lived")
        change.delete("short")
        with pytest.raises(FileNotFoundError):
            change.read("short")
        with pytest.raises(FileNotFoundError):
            change.delete("moved")
        with pytest.raises(batten.RefusedError):
            change.write("pages/one.md", "below a file")
        with pytest.raises(batten.RefusedError):
            change.write("again", "where a folder is")
        with pytest.raises(batten.RefusedError):
            change.move("again", "again/within")
    assert notes.contents() == {
        "again": None,
        "again/here.md": "second",
        "old.md": None,
        "old.md/is": None,
        "old.md/is/a": None,
        "old.md/is/a/folder": None,
        "old.md/is/a/folder/now.md": "now",
        "pages": "a file now",
    }
    assert notes.left_over() == []


def test_a_folder_moves_with_all_that_is_in_it(notes: Notes) -> None:
    inode = (notes.root / "pages/two.md").stat().st_ino
    with batten.transaction(notes.root) as change:
        change.delete("pages/one.md")
        change.write("pages/three.md", "three")
        change.move("pages", "deep/chapters")
        with pytest.raises(batten.RefusedError):
            change.move("deep", "deep/chapters")
    assert notes.contents() == {
        "deep": None,
        "deep/chapters": None,
        "deep/chapters/three.md": "three",
        "deep/chapters/two.md": "two",
        "old.md": "old",
    }
    assert (notes.root / "deep/chapters/two.md").stat().st_ino == inode


def test_names_need_not_be_text(notes: Notes) -> None:
    name = os.fsdecode(b"caf\xe9.md")
    with batten.transaction(notes.root) as change:
        change.write(name, "coffee")
        change.write("ü/日本.md", "text")
        change.write("n" * 255, "long")
    assert (notes.root / name).read_text() == "coffee"
    assert notes.left_over() == []


def test_what_is_protected_is_changed_in_place_only(notes: Notes) -> None:
    with batten.transaction(notes.root) as change:
        change.protect("pages").joinpath("one.md").write_text("in place")
        change.protect("pages/one.md")
        with pytest.raises(batten.UsageError):
            change.write("pages/one.md", "staged")
        with pytest.raises(batten.UsageError):
            change.delete("pages")
        change.write("old.md", "staged")
        with pytest.raises(batten.UsageError):
            change.protect("new.md") and change.move("old.md", "new.md")
    assert notes.contents()["pages/one.md"] == "in place"


def test_nothing_can_be_done_after_the_end(notes: Notes) -> None:
    with batten.transaction(notes.root) as change:
        pass
    with pytest.raises(batten.UsageError):
        change.write("new.md", "new")


def test_a_forked_child_commits_nothing(notes: Notes) -> None:
    before = notes.contents()
    with batten.transaction(notes.root) as change:
        change.write("new.md", "new")
        child = os.fork()
        if child == 0:
            try:
                with pytest.raises(batten.UsageError):
                    change.write("child.md", "child")
                with pytest.raises(batten.BusyError):
                    batten.transaction(notes.root, wait_seconds=0).__enter__()
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert notes.contents() == before
    assert notes.contents()["new.md"] == "new"


def test_a_root_has_one_lock_whatever_it_is_called(notes: Notes) -> None:
    link = notes.root.parent / "link"
    link.symlink_to(notes.root)
    with (
        batten.transaction(notes.root),
        batten.transaction(link) as change,
    ):
        change.write("new.md", "new")
    assert notes.contents()["new.md"] == "new"


@pytest.mark.parametrize("root", ["/", "\0", "missing", "old.md"])
def test_what_cannot_be_read_as_a_tree(notes: Notes, root: str) -> None:
    with pytest.raises(batten.UsageError), batten.read_lock(os.path.join(notes.root, root)):
        pass


@pytest.mark.parametrize("token", ["\udce9", "x" * (1 << 21)])
def test_a_token_that_no_journal_can_hold_is_refused(notes: Notes, token: str) -> None:
    with (
        pytest.raises(batten.UsageError, match="can't be kept"),
        batten.transaction(notes.root, token=token),
    ):
        pass
    with pytest.raises(batten.UsageError, match="can't be kept"):
        batten.has_token(notes.root, token)
    assert batten.has_token(notes.root, "another") is False


def test_a_root_that_is_not_there_is_made(tmp_path: Path) -> None:
    assert not batten.has_token(tmp_path / "new", "token")
    with batten.transaction(tmp_path / "new") as change:
        change.write("file", "text")
    assert (tmp_path / "new/file").read_text() == "text"


def test_threads_exclude_each_other_and_readers_share(notes: Notes) -> None:
    inside, outside = threading.Event(), threading.Event()
    both = threading.Barrier(2, timeout=30)

    def read() -> None:
        with batten.read_lock(notes.root):
            both.wait()

    def write() -> None:
        with batten.transaction(notes.root) as change:
            inside.set()
            outside.wait(30)
            change.write("new.md", "new")

    readers = [threading.Thread(target=read) for _ in range(2)]
    run_all(readers)
    writer = threading.Thread(target=write)
    writer.start()
    assert inside.wait(30)
    with pytest.raises(batten.BusyError), batten.read_lock(notes.root, wait_seconds=0):
        pass
    with pytest.raises(batten.BusyError), batten.transaction(notes.root, wait_seconds=0):
        pass
    outside.set()
    with batten.read_lock(notes.root):
        assert notes.contents()["new.md"] == "new"
    writer.join()


def run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_reader_under_the_lock_never_sees_half(notes: Notes) -> None:
    """Two files say the same number whenever the lock is held."""
    numbers = [notes.root / "first", notes.root / "second"]
    seen: list[bool] = []

    def write() -> None:
        for _ in range(10):
            with batten.transaction(notes.root) as change:
                number = int(change.read("first")) + 1
                change.write("first", str(number))
                change.write("second", str(number))

    def read() -> None:
        for _ in range(50):
            with batten.read_lock(notes.root):
                first, second = (path.read_text() for path in numbers)
            seen.append(first == second)

    for path in numbers:
        path.write_text("0")
    work: list[Callable[[], None]] = [write, write, read, read]
    run_all([threading.Thread(target=each) for each in work])
    assert all(seen)
    assert len(seen) == 100
    assert numbers[0].read_text() == "20"


PROGRAM = """
import batten
with batten.transaction("notes", token={token!r}) as change:
    for number in range({files}):
        change.write(f"folder-{{number}}/file", "changed")
"""


@needs_tracing
@pytest.mark.parametrize("files", [1, 7])
@pytest.mark.parametrize("token", ["", "token"])
def test_syncs_and_renames_are_few(tmp_path: Path, files: int, token: str) -> None:
    root = tmp_path / "notes"
    for number in range(files):
        (root / f"folder-{number}").mkdir(parents=True)
        (root / f"folder-{number}" / "file").write_text("old")
    with batten.transaction(root):
        pass
    calls = trace(tmp_path, PROGRAM.format(files=files, token=token), CHANGING)
    kinds = [kind for kind, _ in calls]
    assert kinds.count(CallKind.SYNC) <= 2 * files + 4
    assert kinds.count(CallKind.RENAME) <= files + 2


@needs_tracing
def test_the_rest_of_the_tree_is_not_looked_at(tmp_path: Path) -> None:
    """The same calls, of every kind, whatever else lies beside what is changed."""
    traces = []
    for number in (0, 200):
        folder = tmp_path / str(number)
        root = folder / "notes"
        (root / "folder-0").mkdir(parents=True)
        (root / "folder-0" / "file").write_text("old")
        for other in range(number):
            (root / f"other-{other}").write_text("other")
            (root / "folder-0" / f"other-{other}").write_text("other")
        with batten.transaction(root):
            pass
        traces.append(trace(folder, PROGRAM.format(files=1, token=""), ALL))
    first, second = ([kind for kind, _ in calls] for calls in traces)
    assert first == second


def trace(folder: Path, program: str, kinds: frozenset[CallKind]) -> list[tuple[CallKind, str]]:
    traced = run_traced(
        [sys.executable, "-c", program],
        folders=[folder / "notes", folder / "notes.batten"],
        kinds=kinds,
        working_folder=folder,
    )
    assert traced.returncode == 0, traced.stderr
    return [(call.kind, call.path) for call in traced.calls]
