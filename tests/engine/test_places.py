"""Where an output can't lie is told before anything is made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import batten
from batten.engine.place import show_path


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


def write_note(transaction: batten.Transaction, number: int, prepared: dict[str, int]) -> None:
    transaction.write(f"{number}.txt", str(prepared["double"]))


def test_within_a_live_tree(tmp_path: Path) -> None:
    """A tree belongs to others, too; what batten keeps of its pipeline lies beside it."""
    notes = tmp_path / "notes"
    batten.from_range(2).map(double).write_tree(notes, commit=write_note).run(executor="serial")
    assert pipeline(notes / "index").run(executor="serial").status == "complete"
