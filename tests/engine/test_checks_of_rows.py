"""Rows that a check does not pass are quarantined with the reason; rows may keep their input."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten
from batten.run.identity import identify_pipeline


def _double(row: dict[str, Any]) -> dict[str, Any]:
    row.pop("name", None)
    return {"double": row["n"] * 2, "n": -row["n"]}


async def _double_later(row: dict[str, Any]) -> dict[str, Any]:
    return _double(row)


def _both(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"sign": sign} for sign in (1, -1)]


ITEMS = [{"id": "a", "n": 1, "name": "x"}, {"id": "b", "n": 2, "name": "y"}]


def _rows(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return rows


@pytest.mark.parametrize("function", [_double, _double_later])
def test_a_row_keeps_the_columns_of_its_item(function: Any, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(each) + "\n" for each in ITEMS))
    pipeline = batten.from_jsonl(tmp_path / "in.jsonl", key="id").map(function, keep_input=True)
    pipeline.write_parquet(tmp_path / "out").run(jobs=1)
    assert [list(row.items()) for row in _rows(tmp_path / "out")] == [
        [("key", "a"), ("id", "a"), ("n", -1), ("name", "x"), ("double", 2)],
        [("key", "b"), ("id", "b"), ("n", -2), ("name", "y"), ("double", 4)],
    ]


def test_each_of_many_rows_keeps_them(tmp_path: Path) -> None:
    pipeline = batten.from_items(ITEMS, key="id").flat_map(_both, keep_input=True)
    pipeline.write_parquet(tmp_path / "out").run(executor="serial")
    assert [(row["n"], row["sign"]) for row in _rows(tmp_path / "out")] == [
        *((1, 1), (1, -1), (2, 1), (2, -1))
    ]


class Score(TypedDict):
    score: float
    note: str | None


def _score(row: dict[str, Any]) -> Score:
    return {"score": row["n"], "note": None}


def test_declared_columns_stand_after_those_of_the_item(tmp_path: Path) -> None:
    pipeline = batten.from_items(ITEMS, key="id").map(_score, keep_input=True)
    pipeline.options(key_column="id").write_parquet(tmp_path / "out").run(executor="serial")
    schema = pq.read_schema(tmp_path / "out" / "part-000000.parquet")
    assert [f"{each.name}: {each.type}" for each in schema] == [
        *("id: string", "n: int64", "name: string", "score: double", "note: string")
    ]


def test_an_item_without_columns_is_told(tmp_path: Path) -> None:
    pipeline = batten.from_range(2).map(lambda n: {"n": n}, keep_input=True)
    pipeline = pipeline.options(stop_when=None)
    pipeline.write_parquet(tmp_path / "out").run(executor="serial")
    (failed, _) = batten.open(tmp_path / "out").quarantined()
    assert failed.error == "keep_input= takes items with columns, and this one is of type int"


def test_what_is_kept_is_in_the_fingerprint() -> None:
    plain = batten.from_items(ITEMS, key="id").map(_score)
    kept = batten.from_items(ITEMS, key="id").map(_score, keep_input=True)
    one, other = (identify_pipeline(each, {}).fingerprint.digest for each in (plain, kept))
    assert one != other


@dataclasses.dataclass
class Row:
    n: int


def _as_row(n: int) -> Row:
    return Row(n)


async def _as_row_later(n: int) -> Row:
    return Row(n)


def _is_small(row: Row) -> Any:
    if row.n == 1:
        return False
    if row.n == 2:
        return "n is 2"
    assert row.n != 3, "n is 3"
    return None if row.n == 4 else True


@pytest.mark.parametrize("function", [_as_row, _as_row_later])
def test_rows_that_do_not_pass_are_quarantined(function: Any, tmp_path: Path) -> None:
    pipeline = batten.from_range(6).map(function).check(_is_small)
    report = pipeline.write_parquet(tmp_path / "out").run(jobs=1)
    assert (report.accounts.committed, report.accounts.quarantined) == (3, 3)
    assert [row["n"] for row in _rows(tmp_path / "out")] == [0, 4, 5]
    failed = {each.key: each.error for each in batten.open(tmp_path / "out").quarantined()}
    assert failed["1"] == "the check _is_small says no"
    assert failed["2"] == "the check _is_small says no: n is 2"
    assert failed["3"].startswith("AssertionError: n is 3")


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        (["a fault"], "returned a list, which says neither yes nor no"),
        ((False, "why"), "returned a tuple, which says neither yes nor no"),
        ({"fault": 1}, "returned a dict, which says neither yes nor no"),
        (pa.array([False]), "returned a BooleanArray, which says neither yes nor no"),
        (iter([True]), "returned a list_iterator, which says neither yes nor no"),
        (math.nan, "says no"),
        (0, "says no"),
        (pa.scalar(False), "says no"),
        (pa.scalar(None, pa.bool_()), "says no"),
        (pa.scalar(True), ""),
        (re.match("a", "a"), ""),
        (7, ""),
    ],
)
def test_only_a_clear_yes_lets_a_row_or_a_batch_pass(
    verdict: Any, told: str, tmp_path: Path
) -> None:
    def rule(given: Any) -> Any:
        return verdict

    of_rows = batten.from_range(1).map(_as_row).check(rule, version="1").options(stop_when=None)
    of_rows.write_parquet(tmp_path / "rows").run(executor="serial")
    failed = [each.error for each in batten.open(tmp_path / "rows").quarantined()]
    assert failed == ([f"the check rule {told}"] if told else [])
    of_batch = batten.from_range(1).map(_as_row).check_batches(rule)
    of_batch = of_batch.write_parquet(tmp_path / "batch")
    if not told:
        assert of_batch.run(executor="serial").status == "complete"
        return
    with pytest.raises(batten.FailedRunError, match=told):
        of_batch.run(executor="serial")


def test_a_check_after_many_rows_fails_their_item(tmp_path: Path) -> None:
    pipeline = batten.from_range(3).flat_map(lambda n: [Row(n), Row(0)]).check(_is_small)
    pipeline.write_parquet(tmp_path / "out").run(executor="serial")
    assert [row["n"] for row in _rows(tmp_path / "out")] == [0, 0]


def test_a_check_after_a_table_fails_its_item_alone(tmp_path: Path) -> None:
    pipeline = (
        batten.from_range(6)
        .map(_as_row)
        .map_batches(lambda table: table)
        .check(lambda row: row["n"] != 2)
    )
    report = pipeline.write_parquet(tmp_path / "out").run(executor="serial")
    assert (report.accounts.committed, report.accounts.quarantined) == (5, 1)


def test_another_check_is_another_job() -> None:
    one = batten.from_range(1).map(_as_row).check(_is_small)
    other = batten.from_range(1).map(_as_row).check(lambda row: True)
    found = {identify_pipeline(each, {}).fingerprint.digest for each in (one, other)}
    assert len(found) == 2


def _sum_is_small(table: pa.Table) -> Any:
    total = sum(table.column("n").to_pylist())
    if total == 35:
        raise ValueError("it is 35")
    return total < 30 or f"the sum is {total}"


@pytest.mark.parametrize("workers", ["serial", "processes"])
def test_a_batch_that_does_not_pass_is_held_back(
    workers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    calls = tmp_path / "calls"
    calls.mkdir()

    def work(n: int) -> Row:
        with (calls / str(n)).open("a") as file:
            file.write(".")
        return Row(n)

    pipeline = batten.from_range(15).map(work).options(batch_size=5).write_parquet("out")
    options: dict[str, Any] = {"executor": "serial"} if workers == "serial" else {"jobs": 2}
    checked = batten.from_range(15).map(work).options(batch_size=5).check_batches(_sum_is_small)
    checked = checked.write_parquet("out")
    # Two workers may finish either batch first.
    held_back = r"Batch (1, 5 rows, is held back.*35|2, 5 rows, is held back.*60)"
    with pytest.raises(batten.FailedRunError, match=held_back) as told:
        checked.run(**options)
    assert "stay staged" in told.value.safe
    assert not (tmp_path / "out" / "part-000001.parquet").exists()
    assert batten.diagnose("out").state == "INTERRUPTED"
    report = pipeline.run(**options)
    assert (report.status, report.rows) == ("complete", 15)
    # Nothing that was finished is called again; what the other worker had in hand may be.
    again = sum(len(each.read_text()) - 1 for each in calls.iterdir())
    assert again <= (0 if workers == "serial" else 1)
