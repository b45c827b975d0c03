"""Values of Avro, with a schema registry and without one."""

from __future__ import annotations

import inspect
import random
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.kafka.avro import add, job, read_with_confluent, read_without_registry
from tests.kafka.registry import Registry
from tests.kafka.rows import double, run, see_failure

import batten
from batten.crashlab.servers.broker_relay import Asked, BrokerRelay, nth
from batten.crashlab.servers.relay import Mishap
from batten.errors import RefusedError, StorageError, UsageError
from batten.kafka import registry as registry_client
from batten.kafka import schema_topic
from batten.kafka.schema_topic import ENDING
from batten.sinks.kafka import destination
from batten.sinks.kafka.avro import format
from batten.testing.kills import kill_at_line

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker

KILLS = 3
LINES = 200


def test_without_a_registry_schemas_lie_in_a_topic(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    run(job(broker, topic, tmp_path))
    rows = [{"key": number, "double": 2 * number} for number in range(6)]
    assert read_without_registry(broker, topic) == rows
    run(job(broker, topic, tmp_path, items=8))
    assert len(read_without_registry(broker, topic)) == 8
    assert len({each.key() for each in broker.read(topic + ENDING)}) == 1
    policy = broker.admin().list_topics(timeout=30).topics[topic + ENDING]
    assert len(policy.partitions) == 1


def test_a_second_destination_gets_its_schema_before_the_first_gets_rows(
    broker: Broker, topic: str, registry: Registry, tmp_path: Path
) -> None:
    registry.fails = (409, b'{"error_code": 409, "message": "It is incompatible"}')
    made = batten.from_range(6).map(double, version="1").options(batch_size=2)
    first = made.write_sqlite(tmp_path / "rows.db", table="rows", ledger=tmp_path / "out")
    given = {"servers": broker.servers, "format": "avro", "schema_registry": registry.address}
    both = first.write_kafka(topic, **given)
    see_failure(RefusedError, "HTTP 409", both)
    with closing(sqlite3.connect(tmp_path / "rows.db")) as base:
        tables = base.execute("SELECT name FROM sqlite_master WHERE name = 'rows'").fetchall()
        assert [base.execute("SELECT * FROM rows").fetchall() for _ in tables] in ([], [[]])
    run(both)
    assert [row["key"] for row in read_with_confluent(broker, topic, registry)] == list(range(6))


def test_batches_of_before_and_after_a_new_column_are_read_alike(
    broker: Broker, topic: str, registry: Registry, tmp_path: Path
) -> None:
    registry.fails = (500, b"")
    pipeline = job(broker, topic, tmp_path, schema_registry=registry.address)
    with pytest.raises(StorageError):
        run(pipeline, limit=4)
    more = job(broker, topic, tmp_path, add, schema_registry=registry.address)
    run(more, accept_change=True, add_columns=True)
    rows = read_with_confluent(broker, topic, registry)
    assert [(row["key"], row["double"]) for row in rows] == [(n, 2 * n) for n in range(6)]
    assert [row.get("triple") for row in rows][-2:] == [12, 15]


def test_without_transactions_the_schema_is_there_too(
    broker: Broker, topic: str, tmp_path: Path
) -> None:
    run(job(broker, topic, tmp_path, transactions=False))
    assert [row["key"] for row in read_without_registry(broker, topic)] == list(range(6))


@pytest.mark.parametrize("failure", list(Mishap), ids=lambda each: each.name)
@pytest.mark.parametrize("request_kind", [Asked.CREATE_TOPICS, Asked.PRODUCE])
def test_a_connection_fails_while_a_schema_is_written(
    request_kind: Asked,
    failure: Mishap,
    broker: Broker,
    relay: BrokerRelay,
    topic: str,
    tmp_path: Path,
) -> None:
    relay.fail(nth(request_kind, 0), failure)
    seconds = 2.0 if failure in (Mishap.HANG_BEFORE, Mishap.HANG_AFTER) else 20.0
    with suppress(StorageError):
        run(job(broker, topic, tmp_path, servers=relay.servers, timeout_seconds=seconds))
    relay.fail(None, failure)
    run(job(broker, topic, tmp_path, servers=relay.servers))
    assert [row["key"] for row in read_without_registry(broker, topic)] == list(range(6))


def test_killed_at_any_line_each_value_has_its_schema(
    broker: Broker, registry: Registry, topic: str, tmp_path: Path, seeded: random.Random
) -> None:
    files = [inspect.getfile(each) for each in (destination, format, registry_client, schema_topic)]
    for name, options in (("a", {}), ("b", {"schema_registry": registry.address})):
        folder, own = tmp_path / name, f"{topic}-{name}"
        folder.mkdir()
        pipeline = job(broker, own, folder, **options)
        for number in range(KILLS):
            is_killed = kill_at_line(
                lambda each=pipeline: run(each), files, seeded.randrange(1, LINES)
            )
            assert is_killed or number
            if options:
                read_with_confluent(broker, own, registry)
            else:
                read_without_registry(broker, own)
        run(pipeline)
    assert [row["key"] for row in read_without_registry(broker, f"{topic}-a")] == list(range(6))
    rows = read_with_confluent(broker, f"{topic}-b", registry)
    assert [row["key"] for row in rows] == list(range(6))


@pytest.mark.parametrize("name", [f"of{ENDING}", "x" * 235])
def test_a_topic_whose_schemas_could_not_lie_beside_it_is_refused(
    name: str, broker: Broker, tmp_path: Path
) -> None:
    see_failure(UsageError, "can't get rows", job(broker, name, tmp_path))


def test_schemas_that_may_expire_are_refused(broker: Broker, topic: str, tmp_path: Path) -> None:
    broker.make(topic + ENDING, cleanup_policy="delete")
    see_failure(RefusedError, "keep schemas for ever", job(broker, topic, tmp_path))
    assert broker.read(topic) == []
