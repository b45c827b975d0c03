"""A table, its tokens and its catalogue that several jobs make at once, each for the first time:
each finds them made."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.catalog.sql import IcebergNamespaceProperties, SqlCatalogBaseTable
from sqlalchemy import event

from batten.crashlab.staging import SCHEMA
from batten.errors import RefusedError
from batten.sinks.databases.sqlite import SqliteDestination
from batten.sinks.lakes.iceberg.sink import IcebergSink
from batten.testing import open_sink

if TYPE_CHECKING:
    from conftest import Lab

THREADS = 4
WAITING = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND wait_event_type = 'Lock'"
)


def prepare(lab: Lab, errors: list[Exception]) -> None:
    try:
        with closing(open_sink(lab.sink, lab.folder)) as opened:
            opened.prepare(SCHEMA)
    except Exception as error:  # noqa: BLE001 - the test tells it
        errors.append(error)


def test_several_prepare_at_once(lab: Lab) -> None:
    errors: list[Exception] = []
    threads = [threading.Thread(target=prepare, args=(lab, errors)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert lab.read() == []
    prepare(lab, errors)
    assert not errors


@pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)
@pytest.mark.parametrize("name", ["rows", "batten_tokens"])
def test_another_has_made_a_table_and_is_about_to_commit(name: str, lab: Lab) -> None:
    columns = {
        "rows": "key bigint, name text",
        "batten_tokens": "dataset text, target text, batch bigint, digest text, outcomes text",
    }
    errors: list[Exception] = []
    with closing(psycopg.connect(lab.address)) as other:
        other.execute(f"CREATE TABLE {name} ({columns[name]})")
        thread = threading.Thread(target=prepare, args=(lab, errors))
        thread.start()
        while not lab.ask(WAITING):
            assert thread.is_alive()
        other.commit()
        thread.join()
    assert not errors


@pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)
def test_a_name_that_is_taken_by_no_table_is_refused(lab: Lab) -> None:
    lab.ask("CREATE TYPE rows AS ENUM ('a')")
    errors: list[Exception] = []
    prepare(lab, errors)
    assert [type(error) for error in errors] == [RefusedError]
    assert "rows" in str(errors[0])


@pytest.mark.parametrize("make_lab", ["iceberg"], indirect=True)
@pytest.mark.parametrize("subject", ["catalogue", "namespace"])
def test_another_makes_it_between_the_look_and_the_deed(subject: str, lab: Lab) -> None:
    assert isinstance(lab.sink, IcebergSink)
    properties = lab.sink.read_properties()
    done: list[str] = []

    def make_it_first(*_: Any, **__: Any) -> None:
        if done:
            return
        done.append(subject)
        with closing(load_catalog("default", **properties)) as other:
            if subject == "namespace":
                other.create_namespace("lab")

    target, moment = {
        "catalogue": (SqlCatalogBaseTable.metadata, "before_create"),
        "namespace": (IcebergNamespaceProperties, "before_insert"),
    }[subject]
    errors: list[Exception] = []
    event.listen(target, moment, make_it_first)
    try:
        prepare(lab, errors)
    finally:
        event.remove(target, moment, make_it_first)
    assert (done, errors) == ([subject], [])
    assert lab.read() == []


def test_several_add_a_column_at_once(lab: Lab) -> None:
    wider = SCHEMA.append(pa.field("more", pa.string()))
    errors: list[Exception] = []
    prepare(lab, errors)
    begin = threading.Barrier(THREADS)

    def add() -> None:
        try:
            with closing(open_sink(lab.sink, lab.folder)) as opened:
                begin.wait()
                opened.add_columns(wider)
        except Exception as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=add) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    with closing(open_sink(lab.sink, lab.folder)) as opened:
        opened.prepare(wider)


@pytest.mark.parametrize("make_lab", ["sqlite"], indirect=True)
def test_another_adds_the_column_before_the_lock_is_there(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    wider = SCHEMA.append(pa.field("more", pa.string()))
    errors: list[Exception] = []
    prepare(lab, errors)
    begin = SqliteDestination._transaction
    done: list[bool] = []

    def begin_late(destination: SqliteDestination) -> AbstractContextManager[sqlite3.Connection]:
        if not done:
            done.append(True)
            with closing(open_sink(lab.sink, lab.folder)) as other:
                other.add_columns(wider)
        return begin(destination)

    monkeypatch.setattr(SqliteDestination, "_transaction", begin_late)
    with closing(open_sink(lab.sink, lab.folder)) as opened:
        opened.add_columns(wider)
        opened.prepare(wider)
    assert (done, errors) == ([True], [])
