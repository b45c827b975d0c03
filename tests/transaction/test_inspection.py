"""`batten diagnose`, `recover` and `clean` of a tree: each state and exit code, what is done."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import batten
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.locks import current_holder
from batten.storage.local.tree import TREES_OPEN_MAX

if TYPE_CHECKING:
    from conftest import JobFolder, Notes


def change_files(change: batten.Transaction) -> None:
    change.write("new.md", "new")
    change.write("old.md", "changed")
    change.delete("pages/one.md")


def change_in_place(change: batten.Transaction) -> None:
    change.protect("old.md").write_text("half")
    change.make_folder("reached")
    change.write("reached/here", "now")


JOB = """
def write(change, number, prepared):
    change.write(f"{number}.md", str(prepared["twice"]))

pipeline = (
    batten.from_range(2).map(lambda number: {"twice": 2 * number}).write_tree("notes", commit=write)
)
"""
CHANGED = {"new.md": "new", "old.md": "changed", "pages": None, "pages/two.md": "two"}


@pytest.fixture
def half_done(notes: Notes) -> Notes:
    """Committed, and killed before the second of two renames."""
    notes.kill_at("replace.rename", "notes/old.md", change_files)
    assert notes.contents() != CHANGED
    return notes


def test_at_rest(notes: Notes, job: JobFolder) -> None:
    notes.recover()
    ended = job.batten("diagnose", "notes", "--json")
    assert (ended.code, ended.json["state"], ended.json["findings"]) == (0, "COMPLETE", [])
    assert "the tree is whole" in job.batten("diagnose", "notes").out


def test_never_changed_by_a_transaction(notes: Notes, job: JobFolder) -> None:
    assert job.batten("diagnose", "notes", "--json").json["state"] == "UNKNOWN"


def test_a_committed_change_is_completed(half_done: Notes, job: JobFolder) -> None:
    before = job.snapshot()
    ended = job.batten("diagnose", "notes", "--json")
    assert (ended.code, ended.json["state"]) == (12, "RECOVERY_PENDING")
    assert {finding["path"] for finding in ended.json["findings"]} >= {"notes/old.md"}
    assert ended.json["next"] == "batten recover notes"

    dry = job.batten("recover", "notes", "--dry-run", "--json")
    assert dry.code == 0
    assert {"do": "roll forward", "path": "notes/old.md", "why": "put"} in dry.json["steps"]
    assert job.snapshot() == before

    done = job.batten("recover", "notes", "--json")
    assert (done.code, done.json["state"]) == (0, "COMPLETE")
    assert half_done.contents() == CHANGED
    assert half_done.left_over() == []
    assert "nothing to recover" in job.batten("recover", "notes").out


VERIFY, SHOW = ("verify", "notes"), ("show", "notes")
LOOKS = (VERIFY, SHOW, ("export", "--allow-incomplete", "notes", "rows.csv"))
CLEAN = (("clean", "notes"), ("clean", "--dry-run", "notes"))


def test_what_only_transactions_change_is_no_dataset(notes: Notes, job: JobFolder) -> None:
    """No command vouches for it, or has a job run that there is not."""
    notes.recover()
    before = job.snapshot()
    for words in LOOKS:
        refused = job.batten(*words)
        assert (refused.code, refused.out) == (5, "")
        assert "only transactions change" in refused.told[0]
        assert refused.told[2].endswith("batten diagnose notes")
    assert job.snapshot() == before


@pytest.mark.parametrize("has_dataset", [False, True])
def test_a_pending_change_is_told_by_all(has_dataset: bool, notes: Notes, job: JobFolder) -> None:
    """Also beside the records of a job that puts items into the same tree."""
    if has_dataset:
        assert job.write(JOB).run("--quiet", "--jobs", "1").code == 0
    notes.kill_at("replace.rename", "notes/old.md", change_files)
    before = job.snapshot()
    for words in (*LOOKS, *CLEAN):
        refused = job.batten(*words)
        assert (refused.code, refused.out) == (5, "")
        assert refused.told[0] == "notes.batten/tree/JOURNAL: a change was begun and not finished."
        assert refused.told[2].endswith("batten recover notes")
    assert job.snapshot() == before

    assert job.batten("recover", "notes").code == 0
    assert [job.batten(*words).code for words in CLEAN] == [0, 0]
    assert job.batten(*SHOW).code == (0 if has_dataset else 5)


def test_a_job_that_lost_a_record_is_not_taken_for_none(notes: Notes, job: JobFolder) -> None:
    assert job.write(JOB).run("--quiet", "--jobs", "1").code == 0
    (notes.control.parent / "dataset.json").unlink()
    assert job.batten("diagnose", "notes", "--json").json["state"] == "CORRUPT"
    assert job.batten(*VERIFY).code == 4


def test_what_was_changed_in_place_is_undone(notes: Notes, job: JobFolder) -> None:
    before = notes.contents()
    notes.kill_at("stage.create", "000002", change_in_place)
    assert notes.contents() != before
    assert job.batten("diagnose", "notes").code == 12
    assert job.batten("recover", "notes").code == 0
    assert notes.contents() == before
    assert notes.left_over() == []


def test_leftovers_without_a_journal_are_cleaned(notes: Notes, job: JobFolder) -> None:
    notes.kill_at("stage.sync", "000001", change_files)
    ended = job.batten("diagnose", "notes", "--json")
    assert (ended.code, ended.json["state"]) == (11, "COMPLETE_WITH_ORPHANS")
    assert len(ended.json["orphans"]) == 2
    assert job.batten("clean", "notes", "--older-than", "1h", "--json").json["kept"] == 2
    assert len(job.batten("clean", "notes", "--dry-run", "--json").json["removed"]) == 2
    assert len(job.batten("clean", "notes", "--json").json["removed"]) == 2
    assert job.batten("diagnose", "notes", "--json").json["state"] == "COMPLETE"


def test_while_a_transaction_is_under_way(notes: Notes, job: JobFolder) -> None:
    with batten.transaction(notes.root) as change:
        change.write("new.md", "new")
        ended = job.batten("diagnose", "notes", "--json")
        assert (ended.code, ended.json["state"]) == (0, "RUNNING")
        busy = job.batten("recover", "notes")
        assert busy.code == 6
        assert "'" + str(notes.root) + "'" in busy.told[0]


def test_a_journal_that_cannot_be_read(half_done: Notes, job: JobFolder) -> None:
    half_done.journal.write_bytes(half_done.journal.read_bytes()[:-20])
    ended = job.batten("diagnose", "notes", "--json")
    assert (ended.code, ended.json["state"]) == (12, "RECOVERY_PENDING")
    assert ended.json["findings"][0]["code"] == "unreadable-journal"
    assert "may be half done" in ended.json["reason"]
    assert "may be half done" in ended.json["readers"]
    after = job.batten("recover", "notes", "--json")
    assert (after.code, after.json["state"], after.json["action"]) == (5, "UNKNOWN", "look")
    assert {finding["code"] for finding in after.json["findings"]} == {"set-aside"}
    assert "JOURNAL" in {path.name for path in half_done.evidence()}
    assert "may be half done" in after.json["steps"][0]["why"]

    # Until what was set aside is deleted, nothing says that the tree is whole.
    again = job.batten("diagnose", "notes", "--json")
    assert again.code == 5
    for told in (after.json, again.json):
        assert "may be half done" in told["reason"]
        assert "may be half done" in told["readers"]
        assert told["next"].endswith(
            f": rm -r notes.batten/tree/set-aside/{half_done.evidence()[0].parent.name}"
        )
        assert "whole" not in told["reason"] + told["next"] + told["readers"]
    shutil.rmtree(half_done.evidence()[0].parent)
    assert "the tree is whole" in job.batten("diagnose", "notes").out


def test_a_journal_of_a_newer_version(half_done: Notes, job: JobFolder) -> None:
    half_done.journal.write_text('{"format_version": 1000}')
    before = job.snapshot()
    ended = job.batten("diagnose", "notes", "--json")
    assert (ended.json["state"], ended.json["readers"]) == (
        "UNKNOWN",
        "a tree in which a change may be half done",
    )
    refused = job.batten("recover", "notes")
    assert refused.code == 5
    assert "newer" in refused.told[0]
    assert job.snapshot() == before


def test_what_is_lost_blocks_until_it_is_set_aside(half_done: Notes, job: JobFolder) -> None:
    for lost in (path for path in half_done.staged() if path.read_text() == "changed"):
        lost.unlink()
    before = job.snapshot()
    ended = job.batten("diagnose", "notes", "--json")
    assert (ended.code, ended.json["state"], ended.json["missing"]) == (
        4,
        "INCONSISTENT",
        ["old.md"],
    )
    refused = job.batten("recover", "notes")
    assert refused.code == 5
    assert "--set-aside-journal" in refused.told[2]
    with pytest.raises(batten.RefusedError), batten.transaction(half_done.root):
        pass
    with pytest.raises(batten.RefusedError), batten.read_lock(half_done.root):
        pass
    assert job.snapshot() == before

    assert job.batten("recover", "notes", "--set-aside-journal").code == 5
    assert job.batten("diagnose", "notes", "--json").json["state"] == "UNKNOWN"
    assert b"new" in {path.read_bytes() for path in half_done.evidence()}
    assert "may be half done" in job.batten("diagnose", "notes").out


def test_a_busy_tree_says_so_after_the_time_given(notes: Notes) -> None:
    notes.recover()
    with LocalStorage(notes.control).lock("lock", current_holder()):
        with pytest.raises(batten.BusyError), batten.transaction(notes.root, wait_seconds=0):
            pass
        with pytest.raises(batten.BusyError), batten.read_lock(notes.root, wait_seconds=0):
            pass


def test_who_looks_at_many_trees_keeps_few_folders_open(tmp_path: Path) -> None:
    counts = []
    for number in range(2 * TREES_OPEN_MAX):
        (tmp_path / str(number)).mkdir()
        with batten.transaction(tmp_path / str(number) / "tree") as change:
            change.write("a/b", "text")
        assert batten.diagnose(tmp_path / str(number) / "tree").state == "COMPLETE"
        counts.append(len(os.listdir("/proc/self/fd")))
    assert max(counts) == max(counts[:TREES_OPEN_MAX])
