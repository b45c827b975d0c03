"""Outputs that are one, and outputs that only look so: each job has its own ledger."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import batten
from batten.crashlab.staging import SCHEMA, stage_batch
from batten.errors import RefusedError, UsageError
from batten.model.disk.names import Layout
from batten.model.disk.records import Config, decode_record, encode_record
from batten.storage.local.folder import LocalStorage

if TYPE_CHECKING:
    from conftest import (
        JobFolder,  # type: ignore[attr-defined]
        Lab,
    )

JOB = """
    def {name}(number):
        return {{"name": f"{name} {{number}}"}}
    pipeline = batten.from_range(4).map({name}).write_sqlite("crm.db", "{table}")
"""


def rows(folder: Path, table: str) -> list[str]:
    with closing(sqlite3.connect(folder / "crm.db")) as base:
        return [name for (name,) in base.execute(f"SELECT name FROM {table}")]


def expect(name: str) -> list[str]:
    return [f"{name} {number}" for number in range(4)]


def forget_target(folder: Path, output: str = "crm.db") -> None:
    """As 0.1 recorded it."""
    storage, name = LocalStorage(folder), Layout(output).config
    config = decode_record(Config, storage.read(name))
    values = {**vars(config), "target": ""}
    data = encode_record(Config(**values)).decode()
    (folder / name).write_text(data)


@pytest.mark.parametrize("is_old", [False, True])
def test_two_jobs_fill_two_tables_of_one_database(is_old: bool, job: JobFolder) -> None:
    for name in ("person", "order"):
        job.write(JOB.format(name=name, table=f"{name}s"), f"{name}.py")
    assert job.run(job="person.py").code == 0
    if is_old:
        forget_target(job.path)
    assert job.run(job="order.py").code == 0
    for _ in range(2):
        for name in ("person", "order"):
            again = job.run("--json", job=f"{name}.py")
            assert (again.code, again.json["status"]) == (0, "nothing-to-do")
            assert rows(job.path, f"{name}s") == expect(name)
    assert job.batten("diagnose", "crm.db").code == 0
    assert job.batten("verify", "crm.db.orders").code == 0
    assert "1 batch" in job.batten("diagnose", "crm.db.orders").out


def test_rows_are_not_doubled_where_a_ledger_is_lost(job: JobFolder) -> None:
    """Tokens name the rows by the database, whichever control folder the ledger lies in."""
    for name in ("person", "order"):
        job.write(JOB.format(name=name, table=f"{name}s"), f"{name}.py")
        assert job.run(job=f"{name}.py").code == 0
    for lost in ("crm.db.batten", "crm.db.orders.batten"):
        shutil.rmtree(job.path / lost)
    for name in ("order", "person"):
        assert job.run(job=f"{name}.py").code == 0
    for name in ("person", "order"):
        assert rows(job.path, f"{name}s") == expect(name)


def test_a_ledger_is_not_taken_over_by_another_job(job: JobFolder) -> None:
    text = JOB.replace('"{table}")', '"{table}", ledger="ours")')
    for name in ("person", "order"):
        job.write(text.format(name=name, table=f"{name}s"), f"{name}.py")
    assert job.run(job="person.py").code == 0
    for words in ((), ("--accept-change",), ("--fresh",)):
        refused = job.run(*words, job="order.py")
        assert refused.code == 5
        assert "ours.batten is of another job" in refused.told[0]
        assert "--accept-change" not in refused.err
    assert rows(job.path, "persons") == expect("person")


def test_the_same_table_in_another_spelling_is_the_same(job: JobFolder) -> None:
    job.write(JOB.format(name="person", table="persons"))
    assert job.run().code == 0
    job.write(JOB.format(name="person", table="Persons"))
    for _ in range(2):
        assert job.run().code == 0
        assert rows(job.path, "persons") == expect("person")


@pytest.mark.parametrize(
    "write",
    [
        lambda made: made.write_sqlite("x.db", "rows").write_sqlite("./x.db", "ROWS"),
        lambda made: made.write_csv("x.csv").write_csv("sub/../x.csv"),
        lambda made: made.write_parquet("out").write_delta("./out"),
        lambda made: made.write_csv("out/{day}.csv").write_csv("out/1.csv"),
    ],
)
def test_two_sinks_of_one_place_are_refused(write: Any, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()

    def begin(day: int) -> Any:
        return write(batten.from_range(2).map(lambda n: {"n": n}, version="1"))

    with pytest.raises(UsageError, match="Two sinks"):
        begin(1).run(parameters={"day": "1"})


LONG = "reviews_of_all_books_that_were_ever_read_in_the_reading_room_by_readers_of_"


@pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)
def test_names_that_postgres_would_cut_are_refused(lab: Lab) -> None:
    for table in (f"{LONG}english", f"{'s' * 64}.rows"):
        with pytest.raises(RefusedError, match="cuts names to 63"):
            lab.with_table(table).open()
    schema = pa.schema([("key", pa.int64()), ("ü" * 32, pa.string())])
    destination = lab.open()
    with pytest.raises(RefusedError, match="has 64 bytes"):
        destination.prepare(schema)
    destination.close()
    assert lab.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []
    fits = lab.with_table("t" * 63).open()
    fits.prepare(SCHEMA)
    fits.publish(stage_batch(0, [0]))
    fits.close()


@pytest.mark.parametrize("make_lab", ["sqlite", "delta", "iceberg"], indirect=True)
def test_columns_that_differ_in_case_alone_are_refused(lab: Lab) -> None:
    destination = lab.open()
    schema = pa.schema([("key", pa.int64()), ("Name", pa.string()), ("name", pa.string())])
    with pytest.raises(RefusedError, match="'Name' and 'name' apart"):
        destination.prepare(schema)
    destination.prepare(SCHEMA)
    destination.close()


@pytest.mark.parametrize(
    ("table", "told"),
    [("batten_tokens", "keeps its tokens"), ("sqlite_x", "keeps for itself"), ("", "no table")],
)
def test_names_that_are_no_table_of_rows_are_refused(table: str, told: str, tmp_path: Path) -> None:
    made = batten.from_range(2).map(lambda n: {"n": n}, version="1")
    with pytest.raises(RefusedError, match=told):
        made.write_sqlite(tmp_path / "x.db", table).run()
    assert list(tmp_path.iterdir()) == []
