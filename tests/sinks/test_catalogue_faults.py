"""A catalogue of Iceberg that is cut off or hangs at any message that it is sent, or is locked:
nothing is lost, nothing is there twice, and it ends in time."""

from __future__ import annotations

import gc
import random
import socket
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyiceberg.catalog import load_catalog

import batten
from batten.crashlab.servers.relay import Mishap, Relay
from batten.errors import BattenError, InconsistentError, RefusedError, StorageError
from batten.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from conftest import Server

CUTS = [Mishap.CUT_BEFORE, Mishap.CUT_AFTER]
HANGS = [Mishap.HANG_BEFORE, Mishap.HANG_AFTER]
ITEMS = 6

_bases = count(1)


def name(number: int) -> dict[str, str]:
    return {"name": f"n{number}"}


def job(folder: Path, catalog: Mapping[str, str], **options: Any) -> Pipeline:
    made = batten.from_range(ITEMS).map(name, version="1").options(batch_size=2)
    written = made.write_iceberg("lab.rows", catalog=dict(catalog), ledger="rows", **options)
    return replace(written, output=folder / "rows")


def run(pipeline: Pipeline, **options: Any) -> None:
    pipeline.run(executor="serial", **options)


@contextmanager
def loaded(catalog: Mapping[str, str]) -> Iterator[Any]:
    with closing(load_catalog("default", **catalog)) as opened:
        yield opened.load_table("lab.rows")


def count_commits(catalog: Mapping[str, str]) -> int:
    with loaded(catalog) as table:
        return len(table.snapshots())


def check(catalog: Mapping[str, str]) -> None:
    with loaded(catalog) as table:
        rows = sorted(table.scan().to_arrow().to_pylist(), key=lambda row: row["key"])
    assert rows == [{"key": number, "name": f"n{number}"} for number in range(ITEMS)]
    assert count_commits(catalog) == ITEMS / 2


def describe(folder: Path, address: str) -> dict[str, str]:
    return {
        "type": "sql",
        "uri": address.replace("postgresql:", "postgresql+psycopg:", 1),
        "warehouse": f"file://{folder}/warehouse",
    }


@pytest.fixture
def given_up(relay: Relay) -> Iterator[None]:
    """A connection that hung is given up with the thread that waits for it. Both are gone before
    the next test, which would be blamed for the connection that nobody closed."""
    yield
    relay.end_hung()
    for thread in threading.enumerate():
        if thread.name == "batten-call":
            thread.join()
    gc.unfreeze()
    gc.collect()


@pytest.mark.usefixtures("given_up")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("sample", [2, pytest.param(40, marks=pytest.mark.crash)])
@pytest.mark.parametrize("failure", CUTS + HANGS, ids=lambda each: each.name)
def test_a_catalogue_in_a_database_fails_at_any_message(
    failure: Mishap,
    sample: int,
    tmp_path: Path,
    server: Server,
    relay: Relay,
    seeded: random.Random,
) -> None:
    def place(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
        """As the job sees it, and as it is."""
        folder.mkdir()
        base = f"catalogue{next(_bases)}"
        server.ask(f"CREATE DATABASE {base}")
        whole = describe(folder, server.address(base=base))
        uri = whole["uri"].replace(str(server.port), str(relay.port))
        return {**whole, "uri": uri}, whole

    relay.fail(None, failure)
    seen, whole = place(tmp_path / "counted")
    run(job(tmp_path / "counted", seen))
    check(whole)
    points = relay.messages
    seconds = 0.5 if failure in HANGS else 60.0
    for point in sorted(seeded.sample(range(points), min(points, sample))):
        folder = tmp_path / f"at{point}"
        seen, whole = place(folder)
        relay.fail(point, failure)
        with suppress(StorageError):
            run(job(folder, seen, timeout_seconds=seconds))
        relay.fail(None, failure)
        relay.end_hung()
        run(job(folder, seen))
        check(whole)


@pytest.mark.parametrize("failure", CUTS, ids=lambda each: each.name)
def test_the_answer_to_a_commit_is_lost(
    failure: Mishap, tmp_path: Path, server: Server, relay: Relay
) -> None:
    base = f"catalogue{next(_bases)}"
    server.ask(f"CREATE DATABASE {base}")
    whole = describe(tmp_path, server.address(base=base))
    seen = {**whole, "uri": whole["uri"].replace(str(server.port), str(relay.port))}
    run(job(tmp_path, seen), limit=2)
    relay.fail(b"COMMIT", failure)
    with pytest.raises(StorageError, match="Publishing to table") as told:
        run(job(tmp_path, seen))
    assert "or all of it" in told.value.safe
    assert count_commits(whole) == (2 if failure is Mishap.CUT_AFTER else 1)
    run(job(tmp_path, seen))
    check(whole)


@pytest.fixture
def deaf() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


def test_a_catalogue_that_never_answers_is_told(tmp_path: Path, deaf: int) -> None:
    catalog = {"type": "rest", "uri": f"http://127.0.0.1:{deaf}"}
    with pytest.raises(StorageError, match=r"no answer in 0\.5 s") as told:
        run(job(tmp_path, catalog, timeout_seconds=0.5))
    assert told.value.next.endswith("then run the same command again.")
    assert list(tmp_path.iterdir()) == []


def local(folder: Path) -> dict[str, str]:
    return {
        "type": "sql",
        "uri": f"sqlite:///{folder}/catalogue.db?timeout=0.1",
        "warehouse": f"file://{folder}/warehouse",
    }


def test_a_catalogue_that_another_program_holds_is_told(tmp_path: Path) -> None:
    catalog = local(tmp_path)
    run(job(tmp_path, catalog), limit=2)
    with closing(sqlite3.connect(tmp_path / "catalogue.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="locked"):
            run(job(tmp_path, catalog))
    run(job(tmp_path, catalog))
    check(catalog)


def drop_table(catalog: Mapping[str, str]) -> None:
    with loaded(catalog) as table:
        table.catalog.drop_table("lab.rows")


def drop_column(catalog: Mapping[str, str]) -> None:
    with loaded(catalog) as table, table.update_schema(allow_incompatible_changes=True) as change:
        change.delete_column("name")


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (drop_table, InconsistentError, "was given batch 0, and has it no more"),
        (drop_column, RefusedError, "has no column 'name'"),
    ],
)
def test_a_table_that_others_change_is_told(
    change: Any, error: type[BattenError], told: str, tmp_path: Path
) -> None:
    catalog = local(tmp_path)
    run(job(tmp_path, catalog), limit=2)
    change(catalog)
    with pytest.raises(error, match=told):
        run(job(tmp_path, catalog))
