"""Batches of 100,000 rows into a topic that a bare transactional producer writes to, with the same
messages. The broker is noida-db, or the one that BATTEN_KAFKA names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Producer

from batten.crashlab.servers.broker import Broker
from batten.sinks.kafka.messages import SelfContained, encode_json_values, encode_messages
from batten.sinks.kafka.sink import KafkaSink
from benchmarks.destinations import compare, make_part, stage
from benchmarks.measure import Figure

VALUES = SelfContained(encode_json_values)


def measure(folder: Path, runs: int) -> list[Figure]:
    part = folder / "part.parquet"
    part.write_bytes(make_part())
    with Broker() as broker:
        broker.make("bare")
        return [
            compare(
                folder,
                part,
                KafkaSink(topic="ours", servers=broker.servers, message_key="name"),
                produce_bare(broker, part),
                f"Kafka ({broker.name}): seconds / those of a bare producer, a transaction a batch",
                runs,
            )
        ]


def produce_bare(broker: Broker, part: Path) -> Callable[[], None]:
    producer = Producer({"bootstrap.servers": broker.servers, "transactional.id": "bare"})
    producer.init_transactions(30)

    def produce() -> None:
        producer.begin_transaction()
        staged = stage(part, "bare", 0)
        for each in encode_messages(staged, key="name", values=VALUES, partitions=1):
            while True:
                try:
                    producer.produce("bare", each.value, each.key, headers=each.headers)
                    break
                except BufferError:
                    producer.poll(0.1)
        producer.commit_transaction(60)

    return produce
