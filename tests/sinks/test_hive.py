"""Folders of files by the values of columns: what readers find, and what keeps them whole."""

from __future__ import annotations

import contextlib
import datetime
import random
import shutil
import sqlite3
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.changes import FolderChange, find_change, run_plainly
from batten.crashlab.points import MakeFault
from batten.crashlab.sweeping import FAILURES, KILLS, disturb
from batten.errors import InconsistentError, RefusedError, UsageError
from batten.pipeline.pipeline import Pipeline
from batten.sinks.files import hive

BATTEN = str(Path(sys.executable).with_name("batten"))
TEXTS = ["a b", "x/y", "", "ü=%", None, "..", "a:b*?", "a b"]


def give(number: int) -> dict[str, Any]:
    day = datetime.date(2026, 4, 1 + number % 3)
    return {"day": day, "kind": TEXTS[number % len(TEXTS)], "value": number}


def job(folder: Path, count: int = 10, by: Any = "kind", function: Any = give) -> Pipeline:
    made = batten.from_range(count).map(function).options(batch_size=3)
    return made.write_parquet(folder / "out", partition_by=by)


def rows_of(count: int, *names: str) -> list[dict[str, Any]]:
    rows = [{"key": number, **give(number)} for number in range(count)]
    return [{name: row[name] for name in (*names, "key")} for row in rows] if names else rows


def by_key(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["key"])


def files_of(folder: Path) -> dict[str, bytes]:
    paths = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    return {str(path.relative_to(folder / "out")): path.read_bytes() for path in paths}


def test_every_reader_finds_the_rows_and_the_values_of_the_partitions(tmp_path: Path) -> None:
    import duckdb
    import polars

    report = job(tmp_path).run(executor="serial")
    assert report.status == "complete"
    out, expected = tmp_path / "out", rows_of(10, "value", "kind")

    def found(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return by_key([{name: row[name] for name in ("value", "kind", "key")} for row in rows])

    assert found(pq.read_table(out).to_pylist()) == expected
    assert found(ds.dataset(out, partitioning="hive").to_table().to_pylist()) == expected
    assert found(polars.read_parquet(out).to_dicts()) == expected
    query = f"SELECT * FROM read_parquet('{out}/**/*.parquet', hive_partitioning=true)"
    with duckdb.connect() as connection:
        assert found(connection.sql(query).to_arrow_table().to_pylist()) == expected
    assert [dict(row) for row in batten.open(out)] == rows_of(10)
    assert (out / "kind=x%2Fy").is_dir()
    assert batten.diagnose(out).state == "COMPLETE"


def test_several_columns_are_folders_in_folders(tmp_path: Path) -> None:
    job(tmp_path, by=["day", "kind"]).run(executor="serial")
    assert (tmp_path / "out/day=2026-04-01/kind=a%20b/part-000000.parquet").is_file()
    table = ds.dataset(tmp_path / "out", partitioning="hive").to_table()
    assert by_key(table.select(["value", "key"]).to_pylist()) == rows_of(10, "value")


def test_items_that_change_and_go_follow_and_nothing_to_do_changes_nothing(tmp_path: Path) -> None:
    def run(items: list[dict[str, Any]]) -> Any:
        source = batten.from_items(items, key="id", removed="drop")
        made = source.map(lambda item: {"kind": item["kind"]}).options(batch_size=2)
        return made.write_parquet(tmp_path / "out", partition_by="kind").run(executor="serial")

    items = [{"id": f"i{number}", "kind": "ab"[number % 2]} for number in range(5)]
    run(items)
    before = files_of(tmp_path)
    assert run(items).status == "nothing-to-do"
    assert files_of(tmp_path) == before
    run([{**items[0], "kind": "c"}, *items[2:]])
    found = {row["key"]: row["kind"] for row in pq.read_table(tmp_path / "out").to_pylist()}
    assert found == {"i0": "c", "i2": "a", "i3": "b", "i4": "a"}
    assert batten.diagnose(tmp_path / "out").state == "COMPLETE"


def test_another_division_is_made_anew_without_a_call(tmp_path: Path) -> None:
    job(tmp_path).run(executor="serial")
    report = job(tmp_path, by="day").run(executor="serial")
    assert report.executed_items == 0
    names = {name.partition("/")[0] for name in files_of(tmp_path)}
    assert names == {"day=2026-04-01", "day=2026-04-02", "day=2026-04-03"}


def test_fresh_and_added_columns_replace_it_in_one_step(tmp_path: Path) -> None:
    def wide(number: int) -> dict[str, Any]:
        return {**give(number), "half": number / 2}

    job(tmp_path).run(executor="serial")
    job(tmp_path, 11, function=wide).run(executor="serial", accept_change=True, add_columns=True)
    found = by_key(pq.read_table(tmp_path / "out").to_pylist())
    assert [row["half"] for row in found] == [None] * 10 + [5.0]
    job(tmp_path, 4, function=wide).run(executor="serial", fresh=True)
    found = by_key(pq.read_table(tmp_path / "out").to_pylist())
    assert [row["half"] for row in found] == [0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    ("by", "function", "told"),
    [
        ("key", give, "the column is the key"),
        ("other", give, "the column is not there"),
        ("value", lambda number: {"value": number / 2, "x": 1}, "which is double"),
    ],
)
def test_what_can_not_divide_is_refused(tmp_path: Path, by: str, function: Any, told: str) -> None:
    with pytest.raises(RefusedError, match=told):
        job(tmp_path, by=by, function=function).run(executor="serial")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out.batten"]


def test_too_many_partitions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hive, "PARTITIONS_MAX", 3)
    with pytest.raises(RefusedError, match="more than 3 partitions"):
        job(tmp_path).run(executor="serial")
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    assert job(tmp_path).run(executor="serial").executed_items == 0


@pytest.mark.parametrize("by", [[], "", ["a", "a"], [1]])
def test_names_that_are_none_are_refused(tmp_path: Path, by: Any) -> None:
    with pytest.raises(UsageError, match="partition_by="):
        job(tmp_path, by=by)


def test_a_folder_of_others_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(RefusedError, match="batten did not make"):
        job(tmp_path).run(executor="serial")
    assert (tmp_path / "out/mine.txt").read_text() == "mine"


@pytest.mark.parametrize("harm", ["foreign", "gone", "changed", "flipped", "folder gone", "a link"])
def test_harm_is_seen_and_never_replaced(tmp_path: Path, harm: str) -> None:
    from batten.inspect.verifying.verify import verify

    job(tmp_path).run(executor="serial")
    part = tmp_path / "out/kind=a%20b/part-000000.parquet"
    data = part.read_bytes()
    match harm:
        case "foreign":
            shutil.copy(part, part.with_name("more.parquet"))
        case "gone":
            part.unlink()
        case "changed":
            part.write_bytes(data + b"x")
        case "flipped":
            part.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
        case "a link":
            part.parent.rename(tmp_path / "elsewhere")
            part.parent.symlink_to(tmp_path / "elsewhere")
        case "folder gone":
            shutil.rmtree(tmp_path / "out")
    assert not verify(tmp_path / "out").is_sound
    if harm == "flipped":
        return
    diagnosis = batten.diagnose(tmp_path / "out")
    is_gone = harm == "folder gone"
    assert diagnosis.state == ("INTERRUPTED" if is_gone else "INCONSISTENT"), diagnosis
    if harm in ("foreign", "a link"):
        # What is to be moved away is that alone.
        named = "kind=a%20b" if harm == "a link" else "kind=a%20b/more.parquet"
        assert diagnosis.next.startswith(f"{tmp_path}/out/{named}: move it out"), diagnosis.next
    before = files_of(tmp_path)
    if is_gone:
        assert job(tmp_path, 11).run(executor="serial").executed_items == 1
        assert len(pq.read_table(tmp_path / "out")) == 11
        return
    with pytest.raises(InconsistentError):
        job(tmp_path, 11).run(executor="serial")
    assert files_of(tmp_path) == before


JOB = """
    import batten

    def work(number):
        return {"kind": "abc"[number % 3], "value": number * FACTOR}

    FACTOR = 1
    pipeline = batten.from_range(7).map(work).options(batch_size=3).write_parquet(
        "out", partition_by="kind"
    )
"""
COMMAND = [BATTEN, "run", "job.py", "--jobs", "1", "--quiet"]
COURSES = {
    "first": ("", "", []),
    "extended": ("range(7)", "range(9)", []),
    "fresh": ("FACTOR = 1", "FACTOR = 2", ["--fresh"]),
}
EXIT_ENVIRONMENT = 7


@pytest.fixture(params=COURSES)
def course(request: pytest.FixtureRequest, tmp_path: Path) -> FolderChange:
    """Readers find the old folder whole, or the new one."""
    old, new, words = COURSES[request.param]
    base = tmp_path / "base"
    base.mkdir()
    text = textwrap.dedent(JOB)
    (base / "job.py").write_text(text)
    if old:
        run_plainly(COMMAND, base)
        (base / "job.py").write_text(text.replace(old, new))
    return find_change(
        base,
        [*COMMAND, *words],
        ["out"],
        files_of,
        files_of(base),
        is_at_once=True,
        check_more=check_beside,
        codes=frozenset({0, EXIT_ENVIRONMENT}),
    )


def check_beside(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    assert names <= {"job.py", "out", "out.batten", "__pycache__"}


@needs_tracing
@pytest.mark.parametrize("faults", [KILLS, FAILURES], ids=["killed", "fails"])
@pytest.mark.parametrize("sample", [3, pytest.param(None, marks=pytest.mark.crash)])
def test_disturbed_at_any_call(
    course: FolderChange,
    faults: Sequence[MakeFault],
    sample: int | None,
    tmp_path: Path,
    seeded: random.Random,
) -> None:
    experiment = course.experiment(folders=lambda folder: [folder])
    disturb(experiment, tmp_path, seeded=seeded, faults=faults, sample=sample)


@pytest.mark.parametrize("value", [hive.NULL, "a" * 300])
@pytest.mark.parametrize("is_first", [True, False])
def test_an_item_that_no_folder_can_be_named_for_is_set_aside(
    value: str, is_first: bool, tmp_path: Path
) -> None:
    def place(number: int) -> dict[str, Any]:
        return {"kind": value if number == 3 else f"k{number % 2}", "x": number}

    divided, table = tmp_path / "divided", tmp_path / "rows.db"
    made = batten.from_range(7).map(place).options(batch_size=2)
    if is_first:
        written = made.write_parquet(divided, partition_by="kind").write_sqlite(table, "rows")
    else:
        written = made.write_sqlite(table, "rows").write_parquet(divided, partition_by="kind")
    with pytest.warns(batten.QuarantinedWarning):
        report = written.run(executor="serial", progress=False)
    assert report.rows == 6
    assert report.accounts is not None
    assert report.accounts.quarantined == 1
    rows = [row for each in sorted(divided.rglob("*.parquet")) for row in pq.read_table(each)["x"]]
    assert sorted(row.as_py() for row in rows) == [0, 1, 2, 4, 5, 6]
    with contextlib.closing(sqlite3.connect(table)) as base:
        assert base.execute("SELECT count(*) FROM rows").fetchone() == (6,)
    assert batten.diagnose(divided if is_first else table).state == "COMPLETE"
