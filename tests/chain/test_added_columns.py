"""A column that was added upstream, with nulls in the rows there were: they are no other rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

import batten
from batten.chain.rows import DatasetReader
from batten.chain.verifying import verify_chain

if TYPE_CHECKING:
    from conftest import Pair

WIDEN = {"accept_change": True, "add_columns": True}


def _split_wider(path: Path) -> list[dict[str, Any]]:
    return [
        {"word": word, "length": len(word), "last": word[-1]} for word in path.read_text().split()
    ]


def run_wider(pair: Pair, **options: Any) -> None:
    """A column can be added only with a row that has it."""
    pair.write(8, "more")
    source = batten.from_files(pair.folder / "in" / "*.txt", removed="drop")
    settings = {"batch_size": 3, "stop_when": None}
    made = source.flat_map(_split_wider).options(**settings).write_parquet(pair.up)
    made.run(executor="serial", **(options or WIDEN))


@pytest.mark.parametrize("columns", [None, ["word", "length"]])
def test_rows_that_were_taken_over_are_not_computed_again(
    pair: Pair, columns: list[str] | None
) -> None:
    pair.run_first()
    pair.run_second(columns=columns)
    run_wider(pair)
    rows = pq.read_table(pair.up).to_pylist()
    assert [row["last"] for row in rows] == [None] * 16 + ["e"]
    report = pair.run_second(columns=columns)
    assert (report.changed_items, report.executed_items) == (0, 1)
    assert pair.called == ["more"]
    pair.check_closed()
    assert verify_chain(pair.down).status == "sound"


def test_batches_that_were_taken_over_are_neither_read_nor_behind(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.run_first()
    pair.run_second()
    run_wider(pair)
    assert "of which 1 of 4 batches is new" in batten.diagnose(pair.down).reason
    read: list[int] = []
    load = DatasetReader.load
    monkeypatch.setattr(
        DatasetReader,
        "load",
        lambda own, number, *at: read.append(number) or load(own, number, *at),
    )
    pair.run_second()
    assert (pair.called, set(read)) == (["more"], {3})
    assert batten.diagnose(pair.down).state == "COMPLETE"
    pair.check_closed()


def test_a_value_in_the_new_column_is_another_row(pair: Pair) -> None:
    pair.run_first()
    pair.run_second()
    run_wider(pair)
    pair.run_second()
    pair.write(4, "a4 b4 ")
    run_wider(pair, resume="if_possible")
    pair.run_second()
    assert pair.called == ["a4", "b4"], "its file was read again, and has the column now"
    pair.check_closed()


def test_what_was_seen_may_be_lost(pair: Pair) -> None:
    """Then rows are compared by what they hold: nulls of a new column are nothing new."""
    pair.run_first()
    pair.run_second()
    run_wider(pair)
    (pair.folder / "down.batten" / "plan" / "upstream.json").unlink()
    pair.run_second()
    assert pair.called == ["more"]
    pair.check_closed()
