"""While a change is made, recovered or cleaned, or a dataset replaced, somebody swaps a folder for
a link to one outside, before any step: nothing outside changes, and no traceback ends it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import batten
from batten.cli.main import main
from batten.errors import BattenError
from batten.storage.changing import steps


def make_notes(folder: Path) -> None:
    with batten.transaction(folder / "notes") as change:
        change.write("pages/deep/one.md", "one")
        change.write("pages/two.md", "two")
        change.write("old/three.md", "three")


def change_notes(folder: Path) -> None:
    with batten.transaction(folder / "notes") as change:
        change.write("pages/deep/one.md", "new")
        change.write("made/four.md", "four")
        change.move("pages/two.md", "made/two.md")
        change.delete("old")


def half_change(folder: Path) -> None:
    """As a kill leaves it: before the first file takes its place."""
    make_notes(folder)

    def stop(moment: str, step: str, name: str) -> None:
        if step == "replace.rename" and name.startswith("notes/"):
            os._exit(0)

    pid = os.fork()
    if pid == 0:
        steps.observer = stop
        change_notes(folder)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def half_undone(folder: Path) -> None:
    """Killed in its block, so that what was changed in place must be restored."""
    make_notes(folder)
    pid = os.fork()
    if pid == 0:
        with batten.transaction(folder / "notes") as change:
            base = change.protect("pages")
            (base / "deep" / "one.md").write_text("torn")
            (base / "more").write_text("torn")
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def pipeline_at(folder: Path) -> batten.Pipeline:
    source = batten.from_range(6).map(lambda number: {"n": number}).options(batch_size=3)
    return source.write_parquet(folder / "notes")


def make_dataset(folder: Path) -> None:
    pipeline_at(folder).run(jobs=1, executor="serial")


def replace_dataset(folder: Path) -> None:
    pipeline_at(folder).run(jobs=1, executor="serial", fresh=True)


def clean(folder: Path) -> None:
    main(["clean", str(folder / "notes")])


def recover(folder: Path) -> None:
    main(["recover", str(folder / "notes")])


def litter(folder: Path) -> None:
    make_dataset(folder)
    for number in range(3):
        name = f"COMPLETE.host-1-{number:016x}"
        (folder / "notes.batten/staging" / name).write_bytes(b"torn")


ACTS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None], tuple[str, ...]]] = {
    "a change": (
        make_notes,
        change_notes,
        ("notes/pages", "notes/pages/deep", "notes/old", "notes.batten/tree/staging"),
    ),
    "a change that is completed": (
        half_change,
        recover,
        ("notes/pages", "notes/pages/deep", "notes/old", "notes.batten/tree/staging"),
    ),
    "a change that is undone": (
        half_undone,
        recover,
        ("notes/pages", "notes/pages/deep", "notes", "notes.batten/tree", "notes.batten"),
    ),
    "a new dataset": (
        make_dataset,
        replace_dataset,
        (
            *("notes.batten/fresh", "notes.batten/fresh/notes.batten", "notes.batten"),
            *("notes.batten/fresh/replaced", "notes.batten/commits", "notes"),
        ),
    ),
    "orphans": (litter, clean, ("notes.batten/staging", "notes.batten")),
}


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (
            path.lstat().st_mode,
            path.read_bytes() if stat.S_ISREG(path.lstat().st_mode) else b"",
        )
        for path in (folder, *folder.rglob("*"))
    }


class Swap:
    """At the step of that number, a folder goes aside, and a link to its like outside takes its
    name."""

    def __init__(self, at: int, path: Path, victim: Path) -> None:
        self.at, self.path, self.victim = at, path, victim
        self.count = 0
        self.is_done = False

    def __call__(self, moment: str, step: str, name: str) -> None:
        self.count += moment == "before"
        if moment == "before" and self.count == self.at and self.path.is_dir():
            shutil.copytree(self.path, self.victim, symlinks=True)
            for folder in self.victim.rglob("*"):
                if folder.is_dir():
                    (folder / "precious").write_bytes(b"precious")
            (self.victim / "precious").write_bytes(b"precious")
            self.path.rename(self.victim.with_name("aside"))
            self.path.symlink_to(self.victim)
            self.is_done, self.before = True, snapshot(self.victim)


SAMPLE = 16


def _count_steps(folder: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], None]) -> int:
    """How many there are where nobody swaps anything."""
    shutil.copytree(folder / "template", folder / "root", symlinks=True)
    nothing = Swap(0, folder / "nothing", folder / "victim")
    monkeypatch.setattr(steps, "observer", nothing)
    act(folder / "root")
    monkeypatch.setattr(steps, "observer", None)
    shutil.rmtree(folder / "root")
    return nothing.count


@pytest.mark.parametrize("name", ACTS)
@pytest.mark.parametrize("part", [pytest.param(0, marks=pytest.mark.crash), 1])
def test_nothing_outside_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part: int
) -> None:
    """Before every step; without `crash`, before some of them all along."""
    prepare, act, folders = ACTS[name]
    (tmp_path / "template").mkdir()
    prepare(tmp_path / "template")
    stride = max(1, _count_steps(tmp_path, monkeypatch, act) // SAMPLE) if part else 1
    swaps = 0
    for folder in folders:
        at = 1
        while True:
            root = tmp_path / "root"
            shutil.copytree(tmp_path / "template", root, symlinks=True)
            swap = Swap(at, root / folder, tmp_path / "victim")
            monkeypatch.setattr(steps, "observer", swap)
            try:
                act(root)
            except BattenError:
                pass
            finally:
                monkeypatch.setattr(steps, "observer", None)
            if swap.is_done:
                swaps += 1
                assert snapshot(swap.victim) == swap.before, f"{folder} at step {at}"
            for left in ("root", "victim", "aside"):
                shutil.rmtree(tmp_path / left, ignore_errors=True)
            if swap.count < at:
                break
            at += stride
    assert swaps
