"""Messages that are sent to a topic, and jobs that land and work on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer, TopicPartition

import batten
from batten.pipeline.pipeline import Pipeline

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker


def make_producer(broker: Broker, **settings: Any) -> Producer:
    return Producer({"bootstrap.servers": broker.servers, "log_level": 0, **settings})


def begin(broker: Broker, name: str) -> Producer:
    """One that is within a transaction."""
    producer = make_producer(broker, **{"transactional.id": name})
    producer.init_transactions(30)
    producer.begin_transaction()
    return producer


def send(broker: Broker, topic: str, *values: Any, partition: int = 0, commit: bool = True) -> None:
    """In one transaction."""
    producer = begin(broker, f"of-{topic}-{commit}")
    for value in values:
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        producer.produce(topic, text, b"k", partition, headers=[("h", b"\xff")])
    producer.flush(30)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)
    producer.close()


def make_with(broker: Broker, topic: str, *values: Any) -> None:
    """A topic with these messages."""
    broker.make(topic)
    send(broker, topic, *values)


def fill(broker: Broker, topic: str) -> None:
    """A topic of two partitions, with three messages and one."""
    broker.make(topic, partitions=2)
    send(broker, topic, 1, 2, 3)
    send(broker, topic, 4, partition=1)


def forget(broker: Broker, topic: str, before: int) -> None:
    """As retention does."""
    admin = broker.admin()
    for asked in admin.delete_records([TopicPartition(topic, 0, before)]).values():
        asked.result()


def take(item: dict[str, Any]) -> dict[str, Any]:
    assert (item["key"], item["headers"]) == (b"k", {"h": b"\xff"})
    return {"value": str(item["value"]), "at": f"{item['partition']}-{item['offset']}"}


def job(broker: Broker, topic: str, folder: Path, **options: Any) -> Pipeline:
    given = {"servers": broker.servers, "into": folder / "landed", **options}
    made = batten.from_kafka(topic, **given)
    return made.map(take, version="1").options(batch_size=4).write_parquet(folder / "out")


def values(folder: Path) -> list[str]:
    rows = batten.open(folder / "out").to_arrow().to_pylist()
    assert all(row["key"] == row["at"] for row in rows)
    return [row["value"] for row in rows]


def check_all(folder: Path, expected: str = "1234") -> None:
    """Each message is an item, and was landed, once."""
    assert sorted(values(folder)) == list(expected)
    files = (folder / "landed").rglob("*.jsonl")
    held = [line for path in files for line in path.read_text().splitlines()[:-1]]
    assert len(held) == len(expected)
