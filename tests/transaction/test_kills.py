"""A program that changes a tree is killed at its system calls, or they fail, and it runs again."""

from __future__ import annotations

import errno
import random
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.faults import Fail
from batten.crashlab.points import AtEachPlace, MakeFault
from batten.crashlab.sweeping import DISK_FAILURES, KILLS, Experiment, Trail, sweep
from batten.crashlab.tracing.system_calls import CallKind

pytestmark = needs_tracing

TOKEN = "the change"
EXIT_FAILED = 7

STAGED = f"""
import sys
import batten

def change_files(change):
    change.write("new/file.md", "new")
    change.write("old.md", "changed")
    change.move("pages/two.md", "second.md")
    change.delete("pages")

def change(work):
    try:
        if batten.has_token("notes", {TOKEN!r}):
            return 0
        with batten.transaction("notes", token={TOKEN!r}) as change:
            work(change)
    except (batten.BattenError, OSError) as error:
        print(type(error).__name__, error, getattr(error, "__notes__", ""), file=sys.stderr)
        return {EXIT_FAILED}
    return 0
"""
IN_PLACE = (
    STAGED
    + """
import contextlib
import sqlite3

def change_all(change):
    path = change.protect("index.sqlite")
    try:
        with contextlib.closing(sqlite3.connect(path)) as index, index:
            index.execute("insert into words values ('new')")
            index.execute("delete from words where word = 'old'")
    except sqlite3.Error as error:
        raise OSError(str(error)) from error
    (change.protect("folder") / "one").write_text("in place")
    change_files(change)
"""
)
PROGRAMS = {
    "staged": STAGED + "sys.exit(change(change_files))",
    "in place": IN_PLACE + "sys.exit(change(change_all))",
}
OLD = {
    "old.md": "old",
    "pages": None,
    "pages/one.md": "one",
    "pages/two.md": "two",
    "folder": None,
    "folder/one": "one",
}
CHANGED = {"new": None, "new/file.md": "new", "old.md": "changed", "second.md": "two"}
NEW = {
    "staged": CHANGED | {"folder": None, "folder/one": "one"},
    "in place": CHANGED | {"folder": None, "folder/one": "in place"},
}
WORDS = {"staged": ["old"], "in place": ["new"]}

FAILURES: list[MakeFault] = [
    *DISK_FAILURES,
    partial(Fail, error=errno.EIO, times=None, kinds=frozenset({CallKind.SYNC})),
    AtEachPlace(partial(Fail, error=errno.EACCES)),
]


def prepare(program: str, folder: Path) -> None:
    (folder / "change.py").write_text(program)
    root = folder / "notes"
    root.mkdir()
    for name, text in OLD.items():
        if text is None:
            (root / name).mkdir()
        else:
            (root / name).write_text(text)
    with closing(sqlite3.connect(root / "index.sqlite")) as index:
        index.execute("pragma journal_mode = wal")
        with index:
            index.execute("create table words (word text)")
            index.execute("insert into words values ('old')")


def contents(root: Path) -> dict[str, str | None]:
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_text()
        for path in sorted(root.rglob("*"))
        if not path.name.startswith("index.sqlite")
    }


def list_words(root: Path) -> list[str]:
    with closing(sqlite3.connect(root / "index.sqlite")) as index:
        assert index.execute("pragma integrity_check").fetchall() == [("ok",)]
        return [word for (word,) in index.execute("select word from words")]


def check_whole(kind: str, folder: Path, trail: Trail) -> None:
    """Whoever takes the lock next, in a copy of the whole, sees all of the change or nothing."""
    last = trail.last
    was_killed = last.returncode < 0 and last.fault is not None
    assert was_killed or last.returncode in (0, EXIT_FAILED), last.stderr
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True, symlinks=True)
        root = Path(copy) / "notes"
        with batten.read_lock(root):
            found = contents(root), list_words(root)
        has_token = batten.has_token(root, TOKEN)
        assert found == ((NEW[kind], WORDS[kind]) if has_token else (OLD, ["old"]))
        with batten.transaction(root):
            assert list((Path(copy) / "notes.batten/tree/staging").iterdir()) == []


def check_done(kind: str, folder: Path, trail: Trail) -> None:
    assert batten.has_token(folder / "notes", TOKEN)
    assert contents(folder / "notes") == NEW[kind]
    assert list((folder / "notes.batten/tree/set-aside").iterdir()) == []


def experiment(kind: str) -> Experiment:
    return Experiment(
        prepare=partial(prepare, PROGRAMS[kind]),
        command=lambda folder: [sys.executable, "change.py"],
        folders=lambda folder: [folder / "notes", folder / "notes.batten"],
        check=partial(check_done, kind),
        check_always=partial(check_whole, kind),
        is_forked=True,
        is_seen_whole=True,
    )


@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash, id="all")])
@pytest.mark.parametrize("kind", PROGRAMS)
def test_killed_anywhere(
    kind: str, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    """And killed again while it recovers."""
    report = sweep(
        experiment(kind),
        tmp_path,
        faults=KILLS,
        sample=sample,
        seed=seeded.getrandbits(32),
        is_twice=True,
    )
    report.raise_on_failures()


@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash, id="all")])
@pytest.mark.parametrize("kind", PROGRAMS)
def test_calls_fail(kind: str, sample: int | None, tmp_path: Path, seeded: random.Random) -> None:
    """And the rerun may fail as well."""
    report = sweep(
        experiment(kind),
        tmp_path,
        faults=FAILURES,
        sample=sample,
        seed=seeded.getrandbits(32),
        is_twice=True,
    )
    report.raise_on_failures()
