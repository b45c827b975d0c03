"""A dataset read back: what it says and hands over is what was published, all of it, in order."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import batten
from batten.model.disk.names import Layout
from batten.model.disk.records import Replacing, encode_record

ROWS = [{"key": n, "name": f"item {n}", "sizes": [n] * (n % 3)} for n in range(10) if n != 3]


def measure(number: int) -> dict[str, Any]:
    if number == 3:
        raise ValueError("three")
    return {"name": f"item {number}", "sizes": [number] * (number % 3)}


def pipeline(out: Path, stop: int = 10) -> batten.Pipeline:
    made = batten.from_range(stop).map(measure).options(batch_size=4)
    return made.write_parquet(out)


# Names that mean something to those who look for wildcards and partitions.
@pytest.fixture(params=["features", "day=5/a[1]*? b"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    path.parent.mkdir(exist_ok=True)
    pipeline(path).run(executor="serial")
    return path


def test_what_it_says_is_of_all_runs(out: Path) -> None:
    pipeline(out, 12).run(executor="serial")
    dataset = batten.open(out)

    assert (dataset.is_complete, dataset.count_rows()) == (True, 11)
    assert (dataset.accounts().source, dataset.accounts().quarantined) == (12, 1)
    assert [(each.key, each.error) for each in dataset.quarantined()] == [
        ("3", "ValueError: three")
    ]
    runs = {(run.status, run.executed_items) for run in dataset.runs()}
    assert runs == {("complete", 10), ("complete", 2)}
    assert "11 rows" in repr(dataset)


def test_every_library_gets_the_same_rows(out: Path) -> None:
    dataset = batten.open(out)

    assert list(dataset) == ROWS
    assert dataset.to_arrow().to_pylist() == ROWS
    assert dataset.to_arrow().schema == dataset.schema
    assert dataset.schema.names == ["key", "name", "sizes"]
    assert dataset.schema.metadata is None
    assert [row for batch in dataset.to_batches() for row in batch.to_pylist()] == ROWS
    assert dataset.to_arrow(["name", "key"]).to_pylist() == [
        {"name": row["name"], "key": row["key"]} for row in ROWS
    ]
    assert dataset.to_polars().to_dicts() == ROWS
    assert dataset.scan_polars().collect().to_dicts() == ROWS
    relation = dataset.to_duckdb()
    assert [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()] == ROWS
    assert list(dataset.to_hugging_face()) == ROWS
    frame = dataset.to_pandas()
    assert [*frame.columns] == ["key", "name", "sizes"]
    assert [{**row, "sizes": list(row["sizes"])} for row in frame.to_dict("records")] == ROWS


def test_a_relation_of_ones_own_connection(out: Path) -> None:
    import duckdb

    with duckdb.connect() as connection:
        relation = batten.open(out).to_duckdb(connection)
        assert relation.aggregate("sum(key)").fetchall() == [(sum(r["key"] for r in ROWS),)]


def test_an_unknown_column_is_named(out: Path) -> None:
    with pytest.raises(batten.UsageError, match="no column 'nme'"):
        batten.open(out).to_arrow(["nme"])


@pytest.mark.parametrize("with_schema", [True, False])
def test_a_dataset_without_rows(tmp_path: Path, with_schema: bool) -> None:
    made = batten.from_items([], key="id").map(measure).write_parquet(tmp_path / "out")
    (made.options(schema={"x": "int64"}) if with_schema else made).run(executor="serial")
    dataset = batten.open(tmp_path / "out")

    columns = ["key", "x"] if with_schema and dataset.schema.names != ["key"] else ["key"]
    assert (dataset.count_rows(), list(dataset)) == (0, [])
    assert dataset.to_arrow().column_names == columns
    assert dataset.to_polars().columns == columns
    assert dataset.to_duckdb().columns == columns
    assert dataset.to_hugging_face().column_names == columns
    assert [*dataset.to_pandas().columns] == columns


def test_one_that_is_not_complete_says_so(tmp_path: Path) -> None:
    pipeline(tmp_path / "out").run(executor="serial", limit=4)
    with pytest.raises(batten.RefusedError, match="not complete") as raised:
        batten.open(tmp_path / "out")
    assert "allow_incomplete=True" in raised.value.next

    dataset = batten.open(tmp_path / "out", allow_incomplete=True)
    assert (dataset.is_complete, list(dataset)) == (False, ROWS[:3])


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(batten.UsageError, match="no output"):
        batten.open(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/note.txt").write_text("mine")
    with pytest.raises(batten.RefusedError):
        batten.open(tmp_path / "out")
    (tmp_path / "begun.batten").mkdir()
    with pytest.raises(batten.RefusedError, match="not complete"):
        batten.open(tmp_path / "begun", allow_incomplete=True)


def test_a_damaged_one_is_refused(out: Path) -> None:
    (out / "part-000001.parquet").unlink()
    with pytest.raises(batten.InconsistentError, match="damaged") as raised:
        batten.open(out, allow_incomplete=True)
    assert set(raised.value.missing) == {"4", "5", "6", "7"}


def test_a_part_damaged_after_opening(out: Path) -> None:
    dataset = batten.open(out)
    part = out / "part-000001.parquet"
    data = part.read_bytes()
    part.write_bytes(data[:-8] + b"\xff" * 8)
    with pytest.raises(batten.CorruptError, match="can't be read"):
        dataset.to_arrow()
    part.write_bytes(data[:-1])
    with pytest.raises(batten.InconsistentError, match="changed since it was opened"):
        dataset.to_arrow()


def test_an_extension_is_seen_when_opened_again(out: Path) -> None:
    dataset = batten.open(out)
    reading = iter(dataset)
    first = next(reading)
    pipeline(out, 12).run(executor="serial")
    assert [first, *reading] == ROWS
    assert batten.open(out).count_rows() == 11


def test_a_reader_is_told_of_a_replacement(out: Path) -> None:
    batches = batten.open(out).to_batches()
    next(batches)
    config = out.with_name(out.name + ".batten") / "dataset.json"
    before = config.read_bytes()
    # The moment of its making may be the same; the batch size says that it is another.
    pipeline(out).options(batch_size=5).run(executor="serial", fresh=True)
    assert config.read_bytes() != before
    with pytest.raises(batten.InconsistentError, match="changed since it was opened"):
        list(batches)


def test_half_a_replacement_is_refused(out: Path) -> None:
    layout = Layout(out.name)
    entries = ["COMPLETE", "commits", "dataset.json", "plan", "runs", "schema.json"]
    record = Replacing(entries=entries, run="r", time="t")
    (out.parent / layout.replacing).write_bytes(encode_record(record))
    with pytest.raises(batten.RefusedError, match="begun and not finished"):
        batten.open(out)


def test_while_a_run_holds_the_lock(out: Path) -> None:
    from batten.storage.local.folder import LocalStorage
    from batten.storage.local.locking.locks import current_holder

    with LocalStorage(out.parent).lock(Layout(out.name).lock, current_holder()):
        assert list(batten.open(out)) == ROWS
        (out / "part-000001.parquet").unlink()
        with pytest.raises(batten.BusyError):
            batten.open(out)


def test_streaming_holds_few_rows(tmp_path: Path) -> None:
    made = batten.from_range(40_000).map(lambda number: {"x": number}).options(batch_size=40_000)
    made.write_parquet(tmp_path / "out").run(executor="serial")
    batches: Iterator[pa.RecordBatch] = batten.open(tmp_path / "out").to_batches()
    assert 0 < max(batch.num_rows for batch in batches) < 20_000


def test_a_library_that_is_not_there_is_named(out: Path) -> None:
    program = f"""
import sys
for name in ("polars", "duckdb", "pandas", "datasets"):
    sys.modules[name] = None
import batten
dataset = batten.open({str(out)!r})
for ask in ("to_polars", "scan_polars", "to_duckdb", "to_pandas", "to_hugging_face"):
    try:
        getattr(dataset, ask)()
    except batten.UsageError as error:
        print(error.next)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert [line.rpartition(" ")[2] for line in done.stdout.splitlines()] == [
        *("polars", "polars", "duckdb", "pandas", "datasets")
    ]


def test_opening_imports_no_arrow(out: Path) -> None:
    program = f"""
import sys, batten
dataset = batten.open({str(out)!r})
dataset.count_rows(), dataset.accounts(), dataset.runs()
print("pyarrow" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_json_of_show_is_of_the_same_runs(out: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "batten", "show", str(out), "--json"],
        capture_output=True,
        check=True,
    )
    assert json.loads(shown.stdout)["runs"] == [vars(run) for run in batten.open(out).runs()]
