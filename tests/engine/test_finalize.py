"""A second dataset of all rows of the first: made when something is new, and only then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import batten
from batten.finalize import finalize
from batten.inspect.paths.output_path import locate_output
from batten.inspect.recover import recover_output
from batten.inspect.verifying.verify import verify

if TYPE_CHECKING:
    import duckdb
    import polars as pl


def group(number: int) -> dict[str, Any]:
    return {"group": number % 3, "text": f"text {number}"}


def newest_first(table: pa.Table) -> pa.Table:
    return table.sort_by([("key", "descending")])


def newest_first_lazily(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.sort("key", descending=True)


def newest_first_by_sql(rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return rows.order("key desc")


def pipeline(
    folder: Path, stop: int = 10, function: Callable[..., Any] = newest_first, **options: Any
) -> batten.Pipeline:
    made = batten.from_range(stop).map(group).options(batch_size=4)
    return made.write_parquet(folder / "out").finalize(function, into=folder / "final", **options)


def run(made: batten.Pipeline, **options: Any) -> Any:
    return made.run(executor="serial", **options)


def told(report: Any) -> list[tuple[str, str, int]]:
    return [(Path(f.path).name, f.status, f.rows) for f in report.finalized]


def contents(folder: Path) -> dict[str, bytes]:
    return {part.name: part.read_bytes() for part in folder.iterdir()}


def keys(path: Path) -> list[int]:
    return [row["key"] for row in batten.open(path)]


@pytest.mark.parametrize("function", [newest_first, newest_first_lazily, newest_first_by_sql])
def test_the_result_is_a_dataset_like_any_other(tmp_path: Path, function: Any) -> None:
    report = run(pipeline(tmp_path, function=function))

    assert (report.status, told(report)) == ("complete", [("final", "complete", 10)])
    assert report.to_json()["finalized"][0]["status"] == "complete"
    final = tmp_path / "final"
    assert keys(final) == list(range(9, -1, -1))
    assert keys(tmp_path / "out") == list(range(10))
    diagnosis = batten.diagnose(final)
    assert (diagnosis.state, diagnosis.rows, diagnosis.items.committed) == ("COMPLETE", 10, 10)
    assert verify(final).is_sound
    assert verify(final).findings == ()
    opened = batten.open(final)
    assert opened.schema.names == ["key", "group", "text"]
    assert [(each.status, each.command) for each in opened.runs()] == [("complete", "")]
    assert sorted(os.listdir(tmp_path / "final.batten")) == [
        *("COMPLETE", "commits", "dataset.json", "lock", "plan", "runs", "schema.json"),
        *("staged", "staging"),
    ]


def test_nothing_new_is_nothing_to_do(tmp_path: Path) -> None:
    run(pipeline(tmp_path))
    before = contents(tmp_path / "final")
    times = [part.stat().st_mtime_ns for part in (tmp_path / "final").iterdir()]
    for part in (tmp_path / "out").iterdir():  # of the same size, so that only reading would tell
        part.write_bytes(bytes(part.stat().st_size))

    report = run(pipeline(tmp_path))

    assert (report.status, told(report)) == ("nothing-to-do", [("final", "nothing-to-do", 10)])
    assert contents(tmp_path / "final") == before
    assert [part.stat().st_mtime_ns for part in (tmp_path / "final").iterdir()] == times


def test_after_an_extension_it_is_made_anew(tmp_path: Path) -> None:
    run(pipeline(tmp_path))
    first = contents(tmp_path / "out")
    report = run(pipeline(tmp_path, 12))
    assert (report.executed_items, told(report)) == (2, [("final", "complete", 12)])
    assert keys(tmp_path / "final") == list(range(11, -1, -1))
    assert {name: contents(tmp_path / "out")[name] for name in first} == first


def test_a_changed_function_makes_anew_only_the_second(tmp_path: Path) -> None:
    run(pipeline(tmp_path))
    first = contents(tmp_path / "out")
    report = run(pipeline(tmp_path, function=lambda table: table.slice(0, 3)))
    assert (report.status, report.executed_items) == ("complete", 0)
    assert told(report) == [("final", "complete", 3)]
    assert (keys(tmp_path / "final"), contents(tmp_path / "out")) == ([0, 1, 2], first)


def test_a_version_declares_the_function(tmp_path: Path) -> None:
    run(pipeline(tmp_path, version="1"))
    changed = pipeline(tmp_path, function=lambda table: table.slice(0, 3), version="1")
    # Its name is another, and its version the same: only the name tells them apart.
    assert told(run(changed)) == [("final", "complete", 3)]
    assert told(run(changed)) == [("final", "nothing-to-do", 3)]


def test_the_bytes_are_always_the_same(tmp_path: Path) -> None:
    parts = []
    for name in ("a", "b"):
        run(pipeline(tmp_path / name, function=newest_first_lazily))
        parts.append(contents(tmp_path / name / "final"))
    run(pipeline(tmp_path / "a", function=newest_first_lazily), fresh=True)
    parts.append(contents(tmp_path / "a/final"))
    assert parts[0] == parts[1] == parts[2]


@pytest.mark.parametrize("function", [newest_first, newest_first_lazily, newest_first_by_sql])
def test_parts_are_of_bounded_size(
    tmp_path: Path, function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finalize, "PART_ROWS_MAX", 3)
    report = run(pipeline(tmp_path, 11, function))
    assert told(report) == [("final", "complete", 11)]
    rows = [pq.read_metadata(part).num_rows for part in sorted((tmp_path / "final").iterdir())]
    assert (rows, keys(tmp_path / "final")) == ([3, 3, 3, 2], list(range(10, -1, -1)))
    assert verify(tmp_path / "final").findings == ()


def test_wide_rows_make_parts_of_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(pipeline(tmp_path))
    size = sum(part.stat().st_size for part in (tmp_path / "out").iterdir())
    monkeypatch.setattr(finalize, "PART_BYTES", size // 2)
    assert told(run(pipeline(tmp_path))) == [("final", "complete", 10)]
    assert len(os.listdir(tmp_path / "final")) in (2, 3)


@pytest.mark.parametrize("function", [newest_first, newest_first_lazily, newest_first_by_sql])
def test_no_rows_at_all(tmp_path: Path, function: Any) -> None:
    made = batten.from_range(3).filter(lambda number: number > 5).map(group)
    made = made.options(schema={"group": "int64", "text": "string"}).write_parquet(tmp_path / "out")
    report = run(made.finalize(function, into=tmp_path / "final"))
    assert told(report) == [("final", "complete", 0)]
    final = batten.open(tmp_path / "final")
    assert (final.count_rows(), final.schema.names) == (0, ["key", "group", "text"])
    assert final.to_polars().columns == ["key", "group", "text"]
    assert verify(tmp_path / "final").findings == ()
    assert os.listdir(tmp_path / "final") == []
    assert told(run(made.finalize(function, into=tmp_path / "final")))[0][1] == "nothing-to-do"


def test_each_takes_the_first_dataset(tmp_path: Path) -> None:
    made = pipeline(tmp_path).finalize(lambda table: table.slice(0, 4), into=tmp_path / "deep/few")
    (tmp_path / "deep").mkdir()
    assert told(run(made)) == [("final", "complete", 10), ("few", "complete", 4)]
    assert keys(tmp_path / "deep/few") == [0, 1, 2, 3]
    lineage = json.loads((tmp_path / "deep/few.batten/dataset.json").read_text())
    assert lineage["source"] == "finalized from ../out"
    assert lineage["fingerprint"]["parts"]["data"].startswith("sha256:")


def test_a_limited_run_does_not_finalize(tmp_path: Path) -> None:
    report = run(pipeline(tmp_path), limit=4)
    assert (report.status, told(report)) == ("limited", [("final", "limited", 0)])
    assert not (tmp_path / "final").exists()


def test_a_dry_run_says_what_would_be_done(tmp_path: Path) -> None:
    assert told(run(pipeline(tmp_path), dry_run=True)) == [("final", "planned", 0)]
    run(pipeline(tmp_path))
    assert told(run(pipeline(tmp_path), dry_run=True)) == [("final", "nothing-to-do", 10)]
    assert told(run(pipeline(tmp_path, 12), dry_run=True)) == [("final", "planned", 0)]
    changed = pipeline(tmp_path, function=lambda table: table.slice(0, 3))
    assert told(run(changed, dry_run=True)) == [("final", "planned", 0)]
    assert keys(tmp_path / "final") == list(range(9, -1, -1))


def fails(table: pa.Table) -> pa.Table:
    raise KeyError("no such group")


def fails_late(rows: pl.LazyFrame) -> pl.LazyFrame:
    import polars

    return rows.with_columns(polars.col("text").cast(polars.Int64))


def fails_in_sql(rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return rows.project("cast(text as integer)")


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (fails, "no such group"),
        (fails_late, "conversion"),
        (fails_in_sql, "Conversion"),
        (lambda table: None, "returned a NoneType"),
        (lambda table: table.to_pylist(), "returned a list"),
        (lambda table: pa.table({}), "no columns"),
        (lambda table: pa.Table.from_arrays([table[0], table[0]], ["a", "a"]), "two columns 'a'"),
        (lambda table: table.append_column("x", pa.nulls(10, pa.month_day_nano_interval())), ""),
    ],
)
def test_a_function_that_fails_changes_nothing(tmp_path: Path, function: Any, reason: str) -> None:
    run(pipeline(tmp_path))
    first, second = contents(tmp_path / "out"), contents(tmp_path / "final")
    with pytest.raises(batten.FailedRunError, match=f"(?i)final.*{reason}") as raised:
        run(pipeline(tmp_path, function=function))
    assert raised.value.trace
    assert (contents(tmp_path / "out"), contents(tmp_path / "final")) == (first, second)
    assert batten.diagnose(tmp_path / "final").state == "COMPLETE"
    reached: Any = raised.value.report
    assert (reached.status, reached.rows, reached.accounts.committed) == ("failed", 10, 10)
    assert told(run(pipeline(tmp_path))) == [("final", "nothing-to-do", 10)]
    assert not (tmp_path / "final.batten/fresh").exists()


def test_one_that_failed_at_first_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(batten.FailedRunError):
        run(pipeline(tmp_path, function=fails))
    assert batten.diagnose(tmp_path / "final").state == "INTERRUPTED"
    with pytest.raises(batten.RefusedError):
        batten.open(tmp_path / "final")
    assert told(run(pipeline(tmp_path))) == [("final", "complete", 10)]


@pytest.mark.parametrize("has_run", [False, True])
def test_a_failure_is_told_as_one_and_not_as_a_run_that_did_not_begin(
    tmp_path: Path, has_run: bool
) -> None:
    """Also where nothing else was left to do, and the log of the run would else be of nothing."""
    if has_run:
        batten.from_range(10).map(group).options(batch_size=4).write_parquet(tmp_path / "out").run(
            executor="serial"
        )
    with pytest.raises(batten.FailedRunError):
        run(pipeline(tmp_path, function=fails))
    (hint,) = batten.diagnose(tmp_path / "out").hints
    assert "did not begin" not in hint
    assert "stopped by itself (failed): Finalizing into" in hint
    logs = [
        json.loads(log)
        for path in sorted((tmp_path / "out.batten/runs").glob("*.jsonl"))
        for log in path.read_text().splitlines()
    ]
    assert [log["status"] for log in logs if log["event"] == "stop"][-1] == "failed"
    assert run(pipeline(tmp_path)).finalized[0].status == "complete"
    assert batten.diagnose(tmp_path / "out").hints == ()


def test_another_dataset_is_never_replaced(tmp_path: Path) -> None:
    run(batten.from_range(3).map(group).write_parquet(tmp_path / "final"))
    before = contents(tmp_path / "final")
    for is_fresh in (False, True):
        with pytest.raises(batten.RefusedError, match="not made by finalize"):
            run(pipeline(tmp_path), fresh=is_fresh)
    assert contents(tmp_path / "final") == before
    (tmp_path / "final.batten").rename(tmp_path / "elsewhere")
    (tmp_path / "final").rename(tmp_path / "moved")

    other = batten.from_range(3).map(group).write_parquet(tmp_path / "other")
    other = other.finalize(newest_first, into=tmp_path / "second")
    run(other)
    with pytest.raises(batten.RefusedError, match="finalized from other"):
        run(pipeline(tmp_path).finalize(newest_first, into=tmp_path / "second"))


def test_what_is_not_battens_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "final").mkdir()
    (tmp_path / "final/note.txt").write_text("mine")
    with pytest.raises(batten.RefusedError, match="it holds files"):
        run(pipeline(tmp_path))
    assert os.listdir(tmp_path / "final") == ["note.txt"]
    assert not (tmp_path / "final.batten").exists()


def test_a_damaged_one_is_refused_then_made_anew(tmp_path: Path) -> None:
    run(pipeline(tmp_path))
    before = contents(tmp_path / "final")
    (tmp_path / "final/part-000000.parquet").unlink()
    with pytest.raises(batten.InconsistentError, match="final"):
        run(pipeline(tmp_path))
    place = locate_output(tmp_path / "final")
    recover_output(place, should_recompute=True, is_dry_run=False)
    assert told(run(pipeline(tmp_path))) == [("final", "complete", 10)]
    assert contents(tmp_path / "final") == before


def test_a_changed_first_dataset_is_followed(tmp_path: Path) -> None:
    run(pipeline(tmp_path))
    report = run(
        batten.from_range(10)
        .map(lambda number: {"group": 0, "text": "new"})
        .options(batch_size=4)
        .write_parquet(tmp_path / "out")
        .finalize(newest_first, into=tmp_path / "final"),
        fresh=True,
    )
    assert told(report) == [("final", "complete", 10)]
    assert {row["text"] for row in batten.open(tmp_path / "final")} == {"new"}


def test_a_held_lock_is_respected(tmp_path: Path) -> None:
    from batten.model.disk.names import Layout
    from batten.storage.local.folder import LocalStorage
    from batten.storage.local.locking.locks import current_holder

    run(pipeline(tmp_path))
    with (
        LocalStorage(tmp_path).lock(Layout("final").lock, current_holder()),
        pytest.raises(batten.BusyError),
    ):
        run(pipeline(tmp_path, 12))
    assert batten.open(tmp_path / "out").count_rows() == 12
    assert told(run(pipeline(tmp_path, 12))) == [("final", "complete", 12)]


@pytest.mark.parametrize("into", ["out", "out/final", "out.batten/x", ".", "final", "final/x"])
def test_places_that_would_mix(tmp_path: Path, into: str) -> None:
    with pytest.raises(batten.UsageError, match="one another"):
        pipeline(tmp_path).finalize(newest_first, into=tmp_path / into)


def test_functions_that_cannot_be_steps(tmp_path: Path) -> None:
    def of_a_list(rows: list[int]) -> list[int]:
        return rows

    async def waiting(table: pa.Table) -> pa.Table:
        return table

    for function, reason in (
        (of_a_list, "annotated"),
        (waiting, "plain function"),
        (None, "plain function"),
        (lambda: None, "no argument"),
    ):
        with pytest.raises(batten.UsageError, match=reason):
            pipeline(tmp_path, function=function)  # type: ignore[arg-type]
    with pytest.raises(batten.UsageError, match="before the sink"):
        batten.from_range(3).map(group).finalize(newest_first, into="final")


def test_what_cannot_be_compared_is_told_before_the_work(tmp_path: Path) -> None:
    numbers = (number for number in range(10))

    def spent(table: pa.Table) -> pa.Table:
        return table.slice(next(numbers))

    with pytest.raises(batten.UsageError, match="version="):
        run(pipeline(tmp_path, function=spent))
    assert os.listdir(tmp_path) == []


JOB = """
import batten

def group(number):
    return {"group": number % 3}

def newest_first(rows: "duckdb.DuckDBPyRelation"):
    return rows.order("key desc")

pipeline = (
    batten.from_range(10).map(group).write_parquet("out/").finalize(newest_first, into="final/")
)
"""


def test_the_command_says_what_was_finalized(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB)

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        own = [sys.executable, "-m", "batten", *words]
        return subprocess.run(own, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = command("run", "job.py", "--limit", "3")
    assert done.stderr.splitlines()[-1] == "  final: not finalized: the run was limited"
    done = command("run", "job.py", "--dry-run")
    assert done.stderr.splitlines()[-1] == "  final: would be finalized"
    done = command("run", "job.py", "--jobs", "2")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "  final: finalized, 10 rows")
    done = command("run", "job.py")
    assert done.stderr.splitlines()[-1] == "  final: up to date, 10 rows"
    told = json.loads(command("run", "job.py", "--json").stdout)
    assert told["finalized"] == [{"path": "final", "status": "nothing-to-do", "rows": 10}]
    assert command("verify", "final").returncode == 0
    assert "10 rows" in command("show", "final").stdout
    assert "batten show final" in command("diagnose", "final").stdout
