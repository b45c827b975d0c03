"""Where an output can't lie is told before anything is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.jobs.loading.job_folder import show_path


def double(number: int) -> dict[str, int]:
    return {"double": 2 * number}


def pipeline(output: Path) -> batten.Pipeline:
    return batten.from_range(4).map(double).write_parquet(output)


def test_a_link_that_leads_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("out")
    with pytest.raises(batten.RefusedError, match="is a symbolic link"):
        pipeline(tmp_path / "out").run(executor="serial")


def test_a_file_takes_no_link_s_place(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").symlink_to("nowhere")
    made = batten.from_range(3).map(double).write_csv(tmp_path / "rows.csv")
    with pytest.raises(batten.RefusedError, match="is a symbolic link"):
        made.run(executor="serial")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]
    assert (tmp_path / "rows.csv").is_symlink()


def test_a_file_lies_not_among_the_parts(tmp_path: Path) -> None:
    made = pipeline(tmp_path / "out").write_csv(tmp_path / "out/rows.csv")
    with pytest.raises(batten.RefusedError, match="the folder of the parts"):
        made.run(executor="serial")
    assert list(tmp_path.iterdir()) == []


def test_a_symbolic_link_is_refused_and_its_folder_is_not(tmp_path: Path) -> None:
    """A link can't be exchanged for what replaces it."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    linked = pipeline(tmp_path / "out")
    with pytest.raises(batten.RefusedError, match="is a symbolic link") as refused:
        linked.run(executor="serial")
    assert f"Name the folder itself: {show_path(tmp_path / 'disk')};" in refused.value.next
    finalized = pipeline(tmp_path / "first").finalize(same, into=tmp_path / "out")
    with pytest.raises(batten.RefusedError, match="is a symbolic link"):
        finalized.run(executor="serial")
    assert sorted(os.listdir(tmp_path)) == ["disk", "out"]

    (tmp_path / "above").symlink_to(tmp_path)
    assert pipeline(tmp_path / "above" / "disk").run(executor="serial").status == "complete"


def same(table):  # type: ignore[no-untyped-def]
    return table


@pytest.mark.parametrize("place", ["out/more", "out.batten/more", "out.batten/staged/a/b"])
def test_within_another_dataset(tmp_path: Path, place: str) -> None:
    pipeline(tmp_path / "out").run(executor="serial")
    inner = pipeline(tmp_path / place)
    with pytest.raises(batten.RefusedError, match="lies within another dataset"):
        inner.run(executor="serial")
    assert batten.diagnose(tmp_path / "out").state == "COMPLETE"
    assert os.listdir(tmp_path / "out") == ["part-000000.parquet"]


@pytest.mark.parametrize(
    "write",
    [
        lambda made, out: made.write_jsonl(out / "more.jsonl"),
        lambda made, out: made.write_sqlite(out / "more.db", "rows"),
        lambda made, out: made.write_delta(out / "table"),
        lambda made, out: made.write_tree(out / "notes", commit=write_note),
    ],
    ids=["file", "sqlite", "delta", "tree"],
)
@pytest.mark.parametrize("folder", ["out", "out.batten", "link"])
def test_no_sink_writes_into_another_dataset(tmp_path: Path, write: Any, folder: str) -> None:
    """It would be a stranger's file there, and go when that one is computed anew."""
    pipeline(tmp_path / "out").run(executor="serial")
    (tmp_path / "link").symlink_to("out")
    before = sorted(tmp_path.rglob("*"))
    writing = pipeline(tmp_path / "mine").options(batch_size=1)
    with pytest.raises(batten.RefusedError, match="lies within another dataset"):
        write(writing, tmp_path / folder).run(executor="serial")
    assert sorted(tmp_path.rglob("*")) == before


def write_note(transaction: batten.Transaction, number: int, prepared: dict[str, int]) -> None:
    transaction.write(f"{number}.txt", str(prepared["double"]))


def test_within_a_live_tree(tmp_path: Path) -> None:
    """A tree belongs to others, too; what batten keeps of its pipeline lies beside it."""
    notes = tmp_path / "notes"
    batten.from_range(2).map(double).write_tree(notes, commit=write_note).run(executor="serial")
    assert pipeline(notes / "index").run(executor="serial").status == "complete"


@pytest.mark.parametrize("is_finalized", [False, True])
def test_a_tree_that_transactions_change(is_finalized: bool, tmp_path: Path) -> None:
    """A part would lie among its files."""
    notes = tmp_path / "notes"
    with batten.transaction(notes) as change:
        change.write("0.txt", "0")
    refused = pipeline(tmp_path / "first").finalize(same, into=notes)
    with pytest.raises(batten.RefusedError, match="that transactions change") as error:
        (refused if is_finalized else pipeline(notes)).run(executor="serial")
    assert f"batten diagnose {show_path(notes)}" in error.value.next
    assert sorted(os.listdir(tmp_path)) == ["notes", "notes.batten"]
    assert (os.listdir(notes), os.listdir(tmp_path / "notes.batten")) == (["0.txt"], ["tree"])


@pytest.mark.parametrize("is_linked", [False, True])
def test_a_tree_that_the_pipeline_itself_changes(is_linked: bool, tmp_path: Path) -> None:
    """Whoever changed it before; and again, when its own control folder is there."""
    notes = tmp_path / "notes"
    with batten.transaction(notes) as change:
        change.write("kept.txt", "kept")
    (tmp_path / "above").symlink_to(tmp_path)
    root = tmp_path / "above" / "notes" if is_linked else notes
    writing = batten.from_range(2).map(double).write_tree(root, commit=write_note)
    statuses = [writing.run(executor="serial").status for _ in range(2)]
    assert statuses == ["complete", "nothing-to-do"]
    assert sorted(os.listdir(notes)) == ["0.txt", "1.txt", "kept.txt"]


def test_a_dataset_whose_folder_was_locked_as_a_tree_is_still_one(tmp_path: Path) -> None:
    made = pipeline(tmp_path / "out")
    made.run(executor="serial")
    with batten.read_lock(tmp_path / "out"):
        pass
    assert (tmp_path / "out.batten/tree").is_dir()
    assert made.run(executor="serial").status == "nothing-to-do"
