"""Schemas of a topic's values, in a topic beside it, where there is no registry.

The key of a message is the fingerprint that values begin with, and its value is the schema. The
topic is compacted, so each schema stays. A schema that is written once more changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batten.kafka.connecting import not_answered, settings

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

    from batten.kafka.cluster import Cluster

ENDING = "-batten-schemas"


def write_schema(cluster: Cluster, topic: str, fingerprint: bytes, schema: str) -> None:
    """It is there when this returns. Raises the client's errors, and `TimeoutError`."""
    from confluent_kafka import KafkaException, Producer

    name = topic + ENDING
    cluster.ensure_topic(name, partitions=1, config={"cleanup.policy": "compact"})
    cluster.refuse_expiring(name, "schemas")
    failed: list[KafkaError] = []
    own = settings(
        cluster.servers,
        cluster.config,
        cluster.timeout_seconds,
        acks="all",
        enable_idempotence=True,
        message_timeout_ms=round(1000 * max(1.0, cluster.timeout_seconds)),
    )
    producer = Producer(own)

    def note(error: KafkaError | None, message: object) -> None:
        if error is not None:
            failed.append(error)

    producer.produce(name, schema.encode(), fingerprint, 0, on_delivery=note)
    if producer.flush(cluster.timeout_seconds):
        raise not_answered(cluster.timeout_seconds)
    if failed:
        raise KafkaException(failed[0])
