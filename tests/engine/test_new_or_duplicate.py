"""Keys are told apart as by one table of all of them, however little fits into memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pytest

import batten
from batten.errors import StorageError
from batten.plan.keys import new_or_duplicate
from batten.plan.keys.new_or_duplicate import DUPLICATE, KeyShards, Known
from batten.plan.storing import Row

Answers = list[tuple[Row, Known | None]]


def rows_of(keys: list[str]) -> list[Row]:
    return [(key, place, None, b"version%d" % (place % 10)) for place, key in enumerate(keys)]


def measure(row: dict[str, Any]) -> dict[str, Any]:
    return {"size": row["size"]}


def look_up(planned: list[str], met: int, rows: list[Row]) -> Answers:
    with KeyShards() as shards:
        for number, key in enumerate(planned):
            shards.add_planned(key, (number, number * 2, b"%08d" % number), is_met=number < met)
        return list(shards.look_up(iter(rows)))


def look_up_in_one_table(planned: list[str], met: int, rows: list[Row]) -> Answers:
    table: dict[str | None, Known] = {
        key: (number, number * 2, b"%08d" % number) for number, key in enumerate(planned)
    }
    seen: set[str | None] = set(planned[:met])
    answers: Answers = []
    for row in rows:
        answers.append((row, DUPLICATE if row[0] in seen else table.get(row[0])))
        seen.add(row[0])
    return answers


@pytest.fixture
def _little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some hundred keys make runs, rounds and pieces."""
    monkeypatch.setattr(new_or_duplicate, "_MEMORY_BYTES", 500)
    monkeypatch.setattr(new_or_duplicate, "_PIECE_RECORDS", 2)
    monkeypatch.setattr(new_or_duplicate, "SCAN_BLOCK_ITEMS", 7)
    monkeypatch.setattr(new_or_duplicate, "SHARDS", 16)


@pytest.mark.usefixtures("_little_memory")
@pytest.mark.parametrize("planned", [0, 1, 40, 300])
def test_the_answers_are_those_of_one_table(planned: int, seeded: Random) -> None:
    names = [f"key {number}" for number in range(planned)]
    seeded.shuffle(names)
    found = [f"key {seeded.randrange(planned * 2 + 200)}" for _ in range(600)]
    met = planned // 3
    rows = rows_of(found)
    assert look_up(names, met, rows) == look_up_in_one_table(names, met, rows)


def test_all_of_it_fits_into_memory_where_there_is_little() -> None:
    keys = [f"key {number % 900}" for number in range(1000)]
    rows = rows_of(keys)
    assert look_up(keys[:100], 0, rows) == look_up_in_one_table(keys[:100], 0, rows)


@pytest.mark.usefixtures("_little_memory")
def test_a_run_finds_what_is_new_gone_and_repeated(tmp_path: Path, seeded: Random) -> None:
    def pipeline(keys: list[str]) -> batten.Pipeline:
        made = batten.from_items([{"id": key, "size": len(key)} for key in keys], key="id")
        return made.map(measure).options(batch_size=10).write_parquet(tmp_path / "out")

    first = [f"key {number}" for number in range(100)]
    pipeline(first).run(executor="serial")
    later = [*first[5:], "key 7", *(f"new {number}" for number in range(50)), "new 3"]
    seeded.shuffle(later)
    report = pipeline(later).run(executor="serial")
    assert (report.executed_items, report.vanished_items, report.rows) == (50, 5, 150)
    assert report.accounts is not None
    assert report.accounts.duplicate == 2
    assert pipeline(later).run(executor="serial").status == "nothing-to-do"


@pytest.mark.usefixtures("_little_memory")
def test_nothing_is_left_of_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = rows_of([f"key {number}" for number in range(600)])
    with KeyShards() as shards:
        answers = shards.look_up(iter(rows))
        next(answers)
        assert not os.listdir(tmp_path)
        answers.close()
    assert not os.listdir(tmp_path)


@pytest.mark.usefixtures("_little_memory")
def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    rows = rows_of([f"key {number}" for number in range(600)])
    with pytest.raises(StorageError, match=r"temporary file .* the disk is full"):
        look_up([], 0, rows)
