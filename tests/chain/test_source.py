"""A dataset as the source of another: what changed there is computed here, and nothing else."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten
from batten.chain.rows import DatasetReader
from batten.chain.verifying import verify_chain
from batten.cli.text.chain_text import list_verified_lines
from batten.errors import BattenError, RefusedError, UsageError
from batten.ledger.upstream import load_looked
from batten.model.disk.names import Layout
from batten.storage.local.folder import LocalStorage

if TYPE_CHECKING:
    from conftest import Pair

BAD = "bad"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batches upstream that are read."""
    numbers: list[int] = []
    load = DatasetReader.load

    def noted(reader: DatasetReader, number: int, start: int = 0) -> Any:
        numbers.append(number)
        return load(reader, number, start)

    monkeypatch.setattr(DatasetReader, "load", noted)
    return numbers


def test_each_row_upstream_is_an_item_with_its_key(pair: Pair) -> None:
    pair.run_first()
    report = pair.run_second()
    assert (report.status, report.executed_items) == ("complete", 16)
    assert pair.read()["00.txt"] == "A0"
    assert pair.read()["//row-2:00.txt"] == "B0"
    pair.check_closed()
    assert pair.run_second().status == "nothing-to-do"


def test_only_what_changed_is_computed_and_only_its_batch_is_read(
    pair: Pair, reads: list[int]
) -> None:
    pair.run_first()
    pair.run_second()
    pair.write(4, "a4 changed")
    pair.run_first()
    reads.clear()
    report = pair.run_second()
    assert (report.changed_items, report.executed_items) == (1, 1)
    assert pair.called == ["changed"]
    assert set(reads) == {1}
    pair.check_closed()
    reads.clear()
    assert pair.run_second().status == "nothing-to-do"
    assert reads == []


def test_keys_stay_the_same_along_a_chain(pair: Pair) -> None:
    pair.run_first()
    pair.run_second()
    third = batten.from_dataset(pair.down).map(_copy).write_parquet(pair.folder / "third")
    third.run(executor="serial")
    keys = [row["key"] for row in pq.read_table(pair.folder / "third").to_pylist()]
    assert keys == list(pair.read())


def _copy(row: dict[str, Any]) -> dict[str, Any]:
    return {"loud": row["loud"]}


def test_what_is_extended_gone_mended_and_made_anew_is_followed(pair: Pair) -> None:
    pair.write(2, BAD)
    pair.run_first()
    pair.run_second()
    pair.check_closed()
    pair.write(2, "a2 b2")
    pair.run_first(retry_quarantined=True)
    assert pair.run_second().executed_items == 2
    assert pair.called == ["a2", "b2"]
    pair.check_closed()
    pair.write(8, "more")
    pair.remove(5)
    pair.write(0, "a0 b0 c0")
    pair.write(1, "a1")
    pair.run_first()
    report = pair.run_second()
    assert (report.removed_items, sorted(pair.called)) == (3, ["c0", "more"])
    pair.check_closed()
    pair.run_first(fresh=True)
    assert pair.run_second().executed_items == 0
    pair.check_closed()
    for number in (0, 6):
        pair.write(number, f"again{number}")
    pair.run_first(fresh=True)
    pair.run_second()
    assert sorted(pair.called) == ["again0", "again6"]
    pair.check_closed()


def test_what_has_moved_is_found_where_it_lies_now(pair: Pair, reads: list[int]) -> None:
    """A first row more moves all others of its batch, and the plan keeps the places of before."""
    pair.write(0, BAD)
    pair.fails_on = "a1"
    pair.run_first()
    pair.run_second()
    pair.write(0, "x y z")
    pair.run_first()
    pair.run_second()
    assert pair.called == ["x", "y", "z"]
    reads.clear()
    assert pair.run_second().status == "nothing-to-do"
    assert reads == []
    pair.fails_on = ""
    assert pair.run_second(run={"retry_quarantined": True}).quarantined == 0
    assert (pair.called, set(reads)) == (["a1"], {0})
    pair.check_closed()


def test_all_rows_may_go(pair: Pair) -> None:
    pair.run_first()
    pair.run_second()
    for number in range(8):
        pair.write(number, "")
    pair.run_first()
    assert pair.run_second().removed_items == 16
    assert pair.read() == {}
    pair.write(3, "back")
    pair.run_first()
    pair.run_second()
    pair.check_closed()


def test_rows_that_are_gone_are_kept_where_that_is_wanted(pair: Pair) -> None:
    pair.run_first()
    pair.run_second(removed="keep")
    pair.remove(5)
    pair.run_first()
    for _ in range(2):
        report = pair.run_second(removed="keep")
        assert (report.status, report.vanished_items) == ("nothing-to-do", 2)
    assert len(pair.read()) == 16


def test_changes_may_be_ignored(pair: Pair) -> None:
    pair.run_first()
    pair.run_second()
    pair.write(5, "other rows")
    pair.run_first()
    assert pair.run_second(changed="ignore").status == "nothing-to-do"
    assert pair.read()["05.txt"] == "A5"
    pair.write(8, "new")
    pair.run_first()
    assert pair.run_second(changed="ignore").executed_items == 1


def test_columns_that_are_not_wanted_may_change(pair: Pair) -> None:
    pair.run_first()
    pair.run_second(columns=["word"])
    longer = batten.from_files(pair.folder / "in" / "*.txt", removed="drop")
    made = longer.flat_map(_with_other_length).options(batch_size=3).write_parquet(pair.up)
    made.run(executor="serial", fresh=True)
    assert pair.run_second(columns=["word"]).status == "nothing-to-do"


def _with_other_length(path: Path) -> list[dict[str, Any]]:
    return [{"word": word, "length": 0} for word in path.read_text().split()]


def test_a_column_may_be_the_key(pair: Pair) -> None:
    pair.write(7, "a0 only")
    pair.run_first()
    accounts = pair.run_second(key="word").accounts
    assert accounts is not None
    assert (accounts.committed, accounts.duplicate) == (15, 1)
    assert pair.read()["a0"] == "A0"
    pair.remove(0)
    pair.run_first()
    pair.run_second(key="word")
    assert pair.read()["a0"] == "A0", "the second row of the key was there, and is the first now"
    assert "b0" not in pair.read()
    with pytest.raises(UsageError, match="no column 'nothing'"):
        batten.from_dataset(pair.up, key="nothing").map(dict).write_parquet(
            pair.folder / "other"
        ).run(executor="serial")


def test_a_finalized_dataset_is_read_by_its_rows(pair: Pair) -> None:
    def sort(table: pa.Table) -> pa.Table:
        return table.sort_by([("word", "descending")]).select(["word"])

    final = pair.folder / "final"
    first = pair.first().finalize(sort, into=final)
    second = batten.from_dataset(final).map(pair.shout).options(batch_size=2)
    for words in ("a9 b9", "a9", "a9 b9 c9"):
        pair.write(4, words)
        first.run(executor="serial")
        second.write_parquet(pair.down).run(executor="serial")
        expected = {
            str(number): row["word"].upper()
            for number, row in enumerate(pq.read_table(final).to_pylist())
        }
        assert pair.read() == expected
        assert batten.diagnose(pair.down).state == "COMPLETE"
    chain = verify_chain(pair.down)
    told = [
        line.split() for line in list_verified_lines(chain) if line.strip().startswith("closes")
    ]
    assert chain.status == "sound"
    assert " ".join(told[0]).endswith("was finalized from the rows that are here")
    assert " ".join(told[1]).startswith(f"closes {len(pair.read())} rows, each an item of")


def test_datasets_of_0_1_are_read(tmp_path: Path) -> None:
    with tarfile.open(Path(__file__).with_name("datasets_of_0_1.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    squares = batten.from_dataset(tmp_path / "out").map(_pass).write_parquet(tmp_path / "down")
    squares.run(executor="serial")
    rows = pq.read_table(tmp_path / "down").to_pylist()
    assert [row["key"] for row in rows] == ["0", "1", "2", "4", "5", "6", "7"]
    assert [row["square"] for row in rows] == [0, 1, 4, 16, 25, 36, 49]
    words = batten.from_dataset(tmp_path / "several").map(_pass).write_parquet(tmp_path / "words")
    words.run(executor="serial")
    rows = pq.read_table(tmp_path / "words").to_pylist()
    assert [(row["key"], row["word"]) for row in rows] == [
        ("a", "one"),
        ("//row-2:a", "two"),
        ("b", "three"),
    ]
    assert squares.run(executor="serial").status == "nothing-to-do"


def _pass(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "key"}


def refused(pair: Pair, kind: type[BattenError] = RefusedError) -> BattenError:
    with pytest.raises(kind) as caught:
        pair.run_second()
    return caught.value


def test_what_is_not_there_is_refused(pair: Pair) -> None:
    assert "NEW" in refused(pair).what
    assert not (pair.folder / "down.batten").exists(), "nothing is begun"


def test_what_is_unfinished_is_refused(pair: Pair) -> None:
    pair.run_first(limit=4)
    assert "INTERRUPTED" in refused(pair).what
    pair.run_first()
    pair.run_second()
    pair.write(9, "more")
    pair.run_first(limit=8)
    assert batten.diagnose(pair.up).state == "INTERRUPTED"
    assert "INTERRUPTED" in refused(pair).what
    assert len(pair.read()) == 16


def test_what_is_damaged_is_refused(pair: Pair) -> None:
    pair.run_first()
    pair.run_second()
    part = pair.up / "part-000001.parquet"
    whole = part.read_bytes()
    part.unlink()
    assert "INCONSISTENT" in refused(pair).what
    part.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    pair.write(9, "more")
    (pair.folder / "down.batten" / "plan" / "upstream.json").unlink()
    error = refused(pair)
    assert "its digest differs" in error.what
    assert "batten verify" in error.next
    assert len(pair.read()) == 16


def test_a_foreign_folder_a_tree_and_whole_tables_are_refused(pair: Pair) -> None:
    pair.up.mkdir()
    (pair.up / "rows.parquet").write_bytes(b"no")
    assert "UNKNOWN" in refused(pair).what
    shutil.rmtree(pair.up)
    with batten.transaction(pair.up) as tx:
        tx.write("a.txt", "a")
    assert "is no dataset" in refused(pair, UsageError).what
    table = pair.folder / "table.csv"
    table.write_text("a\n1\n")
    made = pair.folder / "made.csv"
    batten.from_tables(table=table).apply(_take).write_csv(made).run()
    with pytest.raises(UsageError, match="whole tables"):
        batten.from_dataset(made).map(dict).write_parquet(pair.down).run()


def _take(table: pa.Table) -> pa.Table:
    return table


def test_a_link_is_refused_and_the_folder_named(pair: Pair) -> None:
    pair.run_first()
    os.rename(pair.up, pair.folder / "real")
    os.rename(pair.folder / "up.batten", pair.folder / "real.batten")
    pair.up.symlink_to("real")
    assert "real" in refused(pair).next
    (pair.folder / "up.batten").symlink_to("real.batten")
    refused(pair)


def test_a_moved_dataset_is_the_same_one(pair: Pair) -> None:
    """The job is to say where it lies now; then nothing is computed again."""
    pair.run_first()
    pair.run_second()
    os.rename(pair.up, pair.folder / "there")
    os.rename(pair.folder / "up.batten", pair.folder / "there.batten")
    assert "NEW" in refused(pair).what
    moved = batten.from_dataset(pair.folder / "there").map(pair.shout).options(batch_size=2)
    report = moved.write_parquet(pair.down).run(executor="serial", accept_change=True)
    assert (report.executed_items, report.changed_items) == (0, 0)


def test_the_own_output_is_no_source(pair: Pair) -> None:
    with pytest.raises(UsageError, match="both what the pipeline reads and what it makes"):
        batten.from_dataset(pair.down).map(dict).write_parquet(pair.down).run()


def test_one_that_is_at_work_is_refused(pair: Pair) -> None:
    def ask(row: dict[str, Any]) -> dict[str, Any]:
        found = refused(pair)
        return {"state": found.what}

    source = batten.from_range(1).map(lambda number: {"number": number}).map(ask)
    source.write_parquet(pair.up).run(executor="serial")
    (row,) = pq.read_table(pair.up).to_pylist()
    assert "RUNNING" in row["state"]


def test_one_that_changes_while_it_is_read_ends_the_run(pair: Pair) -> None:
    pair.run_first()

    def shout(row: dict[str, Any]) -> dict[str, Any]:
        if row["word"] == "a0" and not (pair.folder / "done").exists():
            (pair.folder / "done").touch()
            pair.write(7, "other words")
            pair.run_first()
        return {"loud": row["word"].upper()}

    source = batten.from_dataset(pair.up).map(shout).options(batch_size=2)
    second = source.write_parquet(pair.down)
    with pytest.raises(RefusedError, match="was changed while the run was at work"):
        second.run(executor="serial")
    second.run(executor="serial")
    pair.check_closed()


def test_one_that_changes_while_it_is_planned_is_seen(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.run_first()
    load = DatasetReader.load

    def change(reader: DatasetReader, number: int, start: int = 0) -> Any:
        monkeypatch.setattr(DatasetReader, "load", load)
        pair.write(7, "other words")
        pair.run_first()
        return load(reader, number, start)

    monkeypatch.setattr(DatasetReader, "load", change)
    with pytest.raises(RefusedError, match=r"its digest differs|was changed while"):
        pair.run_second()
    pair.run_second()
    pair.check_closed()


@pytest.mark.parametrize("damage", [b"", b"{}", b"\0" * 100])
def test_what_was_seen_may_be_lost_or_damaged(pair: Pair, damage: bytes) -> None:
    pair.run_first()
    pair.run_second()
    seen = pair.folder / "down.batten" / "plan" / "upstream.json"
    seen.write_bytes(damage) if damage else seen.unlink()
    pair.write(3, "changed")
    pair.run_first()
    assert pair.run_second().changed_items == 1
    pair.check_closed()
    assert load_looked(LocalStorage(pair.folder), Layout("down")) is not None


def test_a_limited_plan_takes_the_rest_later(pair: Pair) -> None:
    pair.run_first()
    assert pair.run_second(run={"limit": 3}).status == "limited"
    assert pair.run_second().executed_items == 13
    pair.check_closed()
