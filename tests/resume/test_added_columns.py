"""A mended job makes a column more: rows there are keep, with nulls, and readers see one schema."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

JOB = """
    from pathlib import Path

    FAILS = 2

    def work(number):
        with Path("calls").open("a") as file:
            file.write(f"{number} ")
        if number == FAILS:
            raise ValueError("broken")
        return {"value": number}

    pipeline = batten.from_range(COUNT).map(work).options(batch_size=2).write_parquet("out")
"""

ADD = ("--accept-change", "--add-columns")


def _write(job: Any, count: int, *, fails: int = -1, row: str = '{"value": number}') -> None:
    text = (
        textwrap.dedent(JOB).replace("COUNT", str(count)).replace("FAILS = 2", f"FAILS = {fails}")
    )
    job.write(text.replace('{"value": number}', row))


def _calls(job: Any) -> list[str]:
    path = job.path / "calls"
    found = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def read_everywhere(folder: Path) -> list[dict[str, Any]]:
    """The rows, which every reader sees alike."""
    import duckdb
    import pandas
    import polars
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    import batten

    rows = [dict(row) for row in batten.open(folder)]
    assert pq.read_table(folder).to_pylist() == rows
    assert ds.dataset(folder).to_table().to_pylist() == rows
    assert polars.read_parquet(folder / "*.parquet").to_dicts() == rows
    # What pandas has no null for is NaN there, which Arrow takes for null.
    frame = pandas.read_parquet(folder)
    assert pa.Table.from_pandas(frame, preserve_index=False).to_pylist() == rows
    query = f"SELECT * FROM read_parquet('{folder}/*.parquet')"
    assert duckdb.sql(query).to_arrow_table().to_pylist() == rows
    assert (
        len({str(pq.read_schema(part).remove_metadata()) for part in folder.glob("*.parquet")}) == 1
    )
    return rows


def test_a_column_is_added_and_no_item_is_computed_again(job: Any) -> None:
    _write(job, 5)
    assert job.run().code == 0
    _calls(job)
    _write(job, 7, row='{"value": number, "half": number / 2}')
    done = job.run(*ADD, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["executed_items"], report["adopted_items"]) == (2, 0)
    assert sorted(_calls(job)) == ["5", "6"]
    rows = read_everywhere(job.path / "out")
    assert [row["half"] for row in rows] == [None] * 5 + [2.5, 3.0]
    assert [row["value"] for row in rows] == list(range(7))
    assert job.batten("verify", "out").code == 0
    assert not (job.path / "out.batten/fresh").exists()
    assert json.loads((job.path / "out.batten/dataset.json").read_text())["format_version"] == 1
    assert job.run().code == 0
    assert _calls(job) == []


def test_items_that_failed_get_the_new_column(job: Any) -> None:
    _write(job, 5, fails=2)
    assert job.run().code == 3
    _calls(job)
    _write(job, 5, row='{"value": number, "half": number / 2}')
    done = job.run(*ADD, "--retry-quarantined")
    assert done.code == 0, done.err
    assert _calls(job) == ["2"]
    rows = read_everywhere(job.path / "out")
    assert [row["half"] for row in rows] == [None, None, 1.0, None, None]
    assert job.batten("verify", "out").code == 0


def test_what_failed_stays_so_unless_asked(job: Any) -> None:
    _write(job, 5, fails=2)
    assert job.run().code == 3
    _write(job, 6, row='{"value": number, "half": number / 2}')
    assert job.run(*ADD).code == 3
    rows = read_everywhere(job.path / "out")
    assert [row["value"] for row in rows] == [0, 1, 3, 4, 5]
    shown = json.loads(job.batten("show", "out", "--json").out)
    assert shown["quarantined"][0]["key"] == "2"
    assert "broken" in shown["quarantined"][0]["error"]
    assert job.batten("verify", "out").code == 0


DECLARED = """
    def work(number):
        return {"value": number}

    pipeline = (
        batten.from_range(4).map(work).options(batch_size=2, schema=SCHEMA).write_parquet("out")
    )
"""
OLD = '{"value": int}'


@pytest.mark.parametrize(
    ("schema", "obstacle"),
    [
        ('{"value": int, "half": float}', ""),
        ('{"half": float, "value": int}', ""),
        ('{"value": float, "half": float}', "is int64, and was to become double"),
        ('{"half": float}', "'value' is left out"),
    ],
)
def test_the_refusal_of_another_schema_says_whether_columns_can_be_added(
    job: Any, schema: str, obstacle: str
) -> None:
    job.write(DECLARED.replace("SCHEMA", OLD))
    assert job.run().code == 0
    job.write(DECLARED.replace("SCHEMA", schema))
    refused = job.run()
    assert refused.code == 5
    way = "no item is computed again (--accept-change --add-columns)"
    assert (way in refused.told[2]) is not bool(obstacle)
    shown = json.loads(job.batten("diagnose", "out", "--json").out)
    hints = [each for each in shown["hints"] if "batten run job.py --accept-change" in each]
    assert bool(hints) is not bool(obstacle)
    done = job.run(*ADD)
    if obstacle:
        assert done.code == 5
        assert obstacle in done.told[0]
        assert "--add-columns" not in done.told[2]
        return
    assert done.code == 0, done.err
    assert read_everywhere(job.path / "out") == [
        {"key": number, "value": number, "half": None} for number in range(4)
    ]
    assert job.run().code == 0


def test_a_column_that_may_hold_no_null_is_refused(job: Any) -> None:
    job.write(DECLARED.replace("SCHEMA", OLD))
    assert job.run().code == 0
    fields = 'pa.schema([pa.field("value", pa.int64()), pa.field("half", pa.int64(), False)])'
    job.write("    import pyarrow as pa" + DECLARED.replace("SCHEMA", fields))
    refused = job.run(*ADD)
    assert refused.code == 2
    assert "may hold no null" in refused.told[0]
    assert not (job.path / "out.batten/fresh").exists()


def test_it_needs_the_change_to_be_accepted(job: Any) -> None:
    _write(job, 3)
    refused = job.run("--add-columns")
    assert refused.code == 2
    assert "--accept-change --add-columns" in refused.told[2]


def test_rows_that_are_damaged_are_not_taken_over(job: Any) -> None:
    _write(job, 4)
    assert job.run().code == 0
    _write(job, 4, row='{"value": number, "half": number / 2}')
    part = job.path / "out/part-000001.parquet"
    data = bytearray(part.read_bytes())
    data[20] ^= 1
    part.write_bytes(data)
    refused = job.run(*ADD)
    assert refused.code == 4
    assert "part-000001.parquet" in refused.told[0]
    assert part.read_bytes() == data


def test_a_new_column_without_consent_is_told_with_the_way_to_add_it(job: Any) -> None:
    _write(job, 4)
    assert job.run().code == 0
    _write(job, 6, row='{"value": number, "half": number / 2}')
    ended = job.run("--accept-change")
    assert "batten run job.py --accept-change --add-columns --retry-quarantined" in ended.err
    assert job.run(*ADD, "--retry-quarantined").code == 0
    assert [row["half"] for row in read_everywhere(job.path / "out")] == [None] * 4 + [2.0, 2.5]


def test_a_killed_run_is_told_and_goes_on_and_fresh_begins_anew(
    job: Any, kill: Callable[..., None]
) -> None:
    _write(job, 5)
    assert job.run().code == 0
    _write(job, 9, row='{"value": number, "half": number / 2}')
    kill(job.path, "*/fresh/out/part-000003.parquet", *ADD)
    assert [row["value"] for row in read_everywhere(job.path / "out")] == list(range(5))
    shown = job.batten("diagnose", "out").out
    assert "batten run job.py --accept-change --add-columns goes on with it" in shown
    _calls(job)
    done = job.run(*ADD, "--json")
    assert done.code == 0, done.err
    assert len(_calls(job)) < 4
    assert [row["value"] for row in read_everywhere(job.path / "out")] == list(range(9))
    assert job.batten("verify", "out").code == 0


def test_fresh_takes_nothing_over_of_a_killed_run_that_added_columns(
    job: Any, kill: Callable[..., None]
) -> None:
    _write(job, 5)
    assert job.run().code == 0
    _write(job, 9, row='{"value": number, "half": number / 2}')
    kill(job.path, "*/fresh/out/part-000003.parquet", *ADD)
    assert job.run("--fresh").code == 0
    halves = [row["half"] for row in read_everywhere(job.path / "out")]
    assert halves == [number / 2 for number in range(9)]


def test_finished_items_that_wait_are_taken_over_where_the_code_is_the_same(
    job: Any, kill: Callable[..., None]
) -> None:
    text = DECLARED.replace("return", "time.sleep(0.26); return").replace(
        "from_range(4)", "from_range(6)"
    )
    job.write("    import time" + text.replace("SCHEMA", OLD))
    kill(job.path, "*/staged/000001-000001-*")
    job.write("    import time" + text.replace("SCHEMA", '{"value": int, "half": float}'))
    done = job.run(*ADD, "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["executed_items"], report["adopted_items"]) == (3, 1)


def test_files_and_finalized_datasets_follow(job: Any) -> None:
    text = """
    def work(number):
        return ROW

    pipeline = (
        batten.from_range(4).map(work).options(batch_size=2).write_csv("out.csv")
        .write_jsonl("out.jsonl").finalize(lambda rows: rows, into="second")
    )
    """
    job.write(text.replace("ROW", '{"value": number}'))
    assert job.run().code == 0, job.run().err
    job.write(text.replace("ROW", '{"value": number, "half": number / 2}').replace("(4)", "(5)"))
    done = job.run(*ADD)
    assert done.code == 0, done.err
    assert (job.path / "out.csv").read_text().splitlines()[0] == '"key","value","half"'
    assert (job.path / "out.csv").read_text().splitlines()[-1] == "4,4,2"
    assert json.loads((job.path / "out.jsonl").read_text().splitlines()[0])["half"] is None
    assert [row["half"] for row in read_everywhere(job.path / "second")] == [None] * 4 + [2.0]


SOURCE = """
    def add(row):
        return {"total": 2 * row["price"]}

    rows = batten.from_jsonl("rows.jsonl", key="id", removed="drop")
    pipeline = rows.map(add, keep_input=True).options(batch_size=3, key_column="id")
    pipeline = pipeline.write_parquet("out").write_csv("out.csv")
"""


def _write_rows(job: Any, count: int, **more: Any) -> None:
    rows = [{"id": str(number), "price": number} for number in range(count)]
    rows[1].update(more)
    lines = [json.dumps(row) for row in rows]
    (job.path / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_a_column_that_the_source_got_is_added(job: Any) -> None:
    """The job is the same, and the rows have what their items have."""
    job.write(SOURCE)
    _write_rows(job, 5)
    assert job.run().code == 0
    _write_rows(job, 5, note="new")
    done = job.run(*ADD, "--json")
    assert done.code == 0, done.err
    assert (done.json["executed_items"], done.json["changed_items"]) == (1, 1)
    rows = read_everywhere(job.path / "out")
    assert [row["note"] for row in rows] == [None, "new", None, None, None]
    assert [row["total"] for row in rows] == [0, 2, 4, 6, 8]
    assert (job.path / "out.csv").read_text().splitlines()[2] == '"1",1,2,"new"'
    assert job.run(*ADD, "--json").json["status"] == "nothing-to-do"
    _write_rows(job, 6, note="new", more=1)
    assert job.run(*ADD, "--json").json["executed_items"] == 2
    assert [row["more"] for row in read_everywhere(job.path / "out")] == [None, 1, *[None] * 4]
    assert job.batten("verify", "out").code == 0


def test_an_iterator_is_not_read_ahead(tmp_path: Path) -> None:
    import batten

    def run() -> Any:
        made = batten.from_items(iter([{"id": "a"}]), key="id").map(lambda item: {"x": 1})
        made = made.options(key_column="id").write_parquet(tmp_path / "out")
        return made.run(executor="serial", accept_change=True, add_columns=True)

    assert [run().status for _ in range(3)] == ["complete", "nothing-to-do", "nothing-to-do"]
