"""A PostgreSQL server that is cut off, hangs, ends or has no space left, at each message that it is
sent: nothing is lost, nothing is there twice, and it ends in time."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import batten
from batten.crashlab.servers.relay import Mishap, Relay
from batten.errors import RefusedError, StorageError
from batten.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from conftest import Lab, Server

pytestmark = pytest.mark.parametrize("make_lab", ["postgres"], indirect=True)

CUTS = [Mishap.CUT_BEFORE, Mishap.CUT_AFTER]
HANGS = [Mishap.HANG_BEFORE, Mishap.HANG_AFTER]


def name(number: int) -> dict[str, str]:
    return {"name": f"n{number}"}


def job(lab: Lab, address: str, folder: str, table: str = "rows", **options: Any) -> Pipeline:
    made = batten.from_range(6).map(name, version="1").options(batch_size=2)
    written = made.write_postgres(address, table, dataset=folder, **options)
    return replace(written, output=lab.folder / folder)


def run(pipeline: Pipeline) -> None:
    pipeline.run(executor="serial")


def check(lab: Lab, table: str = "rows") -> None:
    found = lab.ask(f"SELECT key, name FROM {table} ORDER BY key")
    assert found == [{"key": number, "name": f"n{number}"} for number in range(6)]


def count_messages(lab: Lab, address: str, relay: Relay) -> int:
    """How many a job sends that finds a table of tokens."""
    for table in ("first", "counted"):
        relay.fail(None, Mishap.CUT_BEFORE)
        run(job(lab, address, table, table))
    return relay.messages


@pytest.mark.parametrize("sample", [3, pytest.param(None, marks=pytest.mark.crash)])
@pytest.mark.parametrize("failure", CUTS + HANGS, ids=lambda each: each.name)
def test_a_connection_fails_at_any_message(
    failure: Mishap,
    sample: int | None,
    lab: Lab,
    server: Server,
    relay: Relay,
    seeded: random.Random,
) -> None:
    address = lab.address.replace(str(server.port), str(relay.port))
    points = range(count_messages(lab, address, relay))
    seconds = 0.4 if failure in HANGS else 20.0
    for point in sorted(seeded.sample(points, sample)) if sample else points:
        table = f"at{point}"
        relay.fail(point, failure)
        # It ends well by itself, or says that it can't.
        with suppress(StorageError):
            run(job(lab, address, table, table, timeout_seconds=seconds))
        relay.fail(None, failure)
        run(job(lab, address, table, table))
        check(lab, table)
        relay.end_hung()  # The server takes twenty clients.


@pytest.mark.parametrize("failure", CUTS, ids=lambda each: each.name)
def test_the_server_ends_at_a_commit(
    failure: Mishap, lab: Lab, server: Server, relay: Relay
) -> None:
    """Before it is told to commit, or when it has been told, and nobody got the answer."""
    address = lab.address.replace(str(server.port), str(relay.port))
    ended = threading.Event()

    def end() -> None:
        if failure is Mishap.CUT_BEFORE:
            server.crash()
        ended.set()

    relay.fail(b"COMMIT", failure, end)
    with suppress(StorageError):
        run(job(lab, address, "rows"))
    assert ended.wait(timeout=30)
    if failure is Mishap.CUT_AFTER:
        server.crash()
    server.start()
    run(job(lab, address, "rows"))
    check(lab)


def test_a_table_that_others_change_while_it_is_written(lab: Lab) -> None:
    pipeline = job(lab, lab.address, "rows")
    pipeline.run(executor="serial", limit=2)
    lab.ask("ALTER TABLE rows DROP COLUMN name")
    with pytest.raises(RefusedError, match="no column 'name'"):
        run(pipeline)
    lab.ask("ALTER TABLE rows ADD COLUMN name integer")
    report = pipeline.run(executor="serial")
    assert report.accounts is not None
    assert report.accounts.quarantined == 4
    lab.ask("ALTER TABLE rows ALTER COLUMN name TYPE text")
    pipeline.run(executor="serial", retry_quarantined=True)
    assert [row["key"] for row in lab.ask("SELECT key FROM rows ORDER BY key")] == list(range(6))


def test_a_transaction_that_another_left_open_is_waited_for_and_then_told(
    lab: Lab, server: Server
) -> None:
    """A client that is gone without a word holds its token until the server ends it."""
    import psycopg

    pipeline = job(lab, lab.address, "rows", timeout_seconds=0.5)
    pipeline.run(executor="serial", limit=2)
    with psycopg.connect(lab.address) as other:
        other.execute("LOCK TABLE rows IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StorageError, match=r"no answer in 0\.5 s") as told:
            run(pipeline)
        assert "closed the connection" not in told.value.what
        assert "longer by timeout_seconds" in told.value.next
    run(pipeline)
    check(lab)


@pytest.fixture
def place() -> Iterator[Path]:
    """Where another user can come to."""
    with tempfile.TemporaryDirectory(prefix="batten-small-") as folder:
        os.chmod(folder, 0o755)
        made = Path(folder, "disk")
        made.mkdir()
        yield made


def test_a_disk_that_is_full(lab: Lab, server: Server, place: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small filesystem can't be mounted here")
    try:
        shutil.chown(place, server.user)
        server.ask(f"CREATE TABLESPACE small LOCATION '{place}'")
        lab.ask("CREATE TABLE rows (key bigint, text text) TABLESPACE small")
        made = batten.from_range(400).map(fill, version="1").options(batch_size=40)
        pipeline = made.write_postgres(lab.address, "rows")
        pipeline = replace(pipeline, output=lab.folder / "rows")
        with pytest.raises(StorageError, match="space"):
            run(pipeline)
        had = lab.ask("SELECT count(*) AS rows FROM rows")[0]["rows"]
        assert had % 40 == 0
        assert had < 400
        larger = ["mount", "-o", "remount,size=64m", str(place)]
        subprocess.run(larger, check=True, capture_output=True)
        run(pipeline)
        keys = [row["key"] for row in lab.ask("SELECT key FROM rows ORDER BY key")]
        assert keys == list(range(400))
        lab.ask("DROP TABLE rows")
        server.ask("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(number: int) -> dict[str, str]:
    """Text that does not shrink."""
    return {"text": random.Random(number).randbytes(800).hex()}
