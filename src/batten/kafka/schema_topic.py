"""Schemas of a topic's values, in a topic beside it, where there is no registry.

The key of a message is the fingerprint that values begin with, and its value is the schema. The
topic is compacted, so each schema stays. A schema that is written once more changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batten.kafka.connecting import settings
from batten.kafka.sending import PlainMessage, drop, send_all

if TYPE_CHECKING:
    from batten.kafka.cluster import Cluster

ENDING = "-batten-schemas"


def write_schema(cluster: Cluster, topic: str, fingerprint: bytes, schema: str) -> None:
    """It is there when this returns. Raises the client's errors, and `TimeoutError`."""
    from confluent_kafka import Producer

    name = topic + ENDING
    cluster.ensure_topic(name, partitions=1, config={"cleanup.policy": "compact"})
    cluster.refuse_expiring(name, "schemas")
    producer = Producer(
        settings(
            cluster.servers,
            cluster.config,
            cluster.timeout_seconds,
            acks="all",
            enable_idempotence=True,
            delivery_report_only_error=True,
            message_timeout_ms=round(1000 * max(1.0, cluster.timeout_seconds)),
        )
    )
    try:
        message = PlainMessage(0, fingerprint, schema.encode(), [])
        send_all(producer, name, [message], cluster.timeout_seconds)
    finally:
        drop(producer)
