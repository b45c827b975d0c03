"""A database of SQLite that others hold, change, replace or take away."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import batten
from batten.crashlab.staging import SCHEMA, stage_batch
from batten.errors import BattenError, InconsistentError, RefusedError, StorageError
from batten.pipeline.pipeline import Pipeline
from batten.sinks.databases.sqlite import SqliteSink

if TYPE_CHECKING:
    from conftest import Lab

pytestmark = pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)


def name(number: int) -> dict[str, str]:
    return {"name": f"n{number}"}


def job(lab: Lab) -> Pipeline:
    made = batten.from_range(6).map(name, version="1").options(batch_size=2)
    return lab.write(made, timeout_seconds=0.1)


def run(pipeline: Pipeline) -> None:
    pipeline.run(executor="serial")


def test_a_database_that_another_program_holds_is_told(lab: Lab) -> None:
    pipeline = job(lab)
    pipeline.run(executor="serial", limit=2)
    with closing(sqlite3.connect(lab.folder / "base.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="locked") as told:
            run(pipeline)
    assert "another program that holds it" in told.value.next
    run(pipeline)
    assert [row["key"] for row in lab.read()] == list(range(6))


def no_database(lab: Lab) -> None:
    (lab.folder / "base.db").write_bytes(b"no database" * 100)


def no_file(lab: Lab) -> None:
    (lab.folder / "base.db").unlink()


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (no_database, RefusedError, "not a database"),
        (no_file, InconsistentError, "was given batch 0, and has it no more"),
        (lambda lab: lab.forget(), InconsistentError, "was given batch 0, and has it no more"),
        (lambda lab: lab.drop(), InconsistentError, "is gone, and batches were published there"),
        (
            lambda lab: lab.ask("ALTER TABLE rows RENAME COLUMN name TO other"),
            RefusedError,
            "no column 'name'",
        ),
    ],
)
def test_what_others_do_to_it_is_told(
    change: Callable[[Lab], object], error: type[BattenError], told: str, lab: Lab
) -> None:
    pipeline = job(lab)
    pipeline.run(executor="serial", limit=2)
    change(lab)
    with pytest.raises(error, match=told):
        run(pipeline)


def test_a_database_that_is_taken_away_while_it_is_open_is_not_written_to(lab: Lab) -> None:
    """What is written into a file without a name is gone when it is closed."""
    assert isinstance(lab.sink, SqliteSink)
    destination = lab.open()
    destination.prepare(SCHEMA)
    destination.publish(stage_batch(0, [0]))
    no_file(lab)
    with pytest.raises(StorageError, match="Publishing"):
        destination.publish(stage_batch(1, [1]))
    destination.close()
