"""A topic that is open, of a broker that can't do transactions. See `Destination`.

It keeps no tokens, so it can't be asked. What it was given is told by the record of deliveries
alone, and a batch whose end is not known is given again (decision 0142).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batten.kafka.cluster import DEFAULT, Cluster
from batten.kafka.sending import drop, send_all
from batten.model.disk.destinations.tokens import PublishEnd, Token, TokenState
from batten.sinks.base import Staged
from batten.sinks.kafka.failures import translated
from batten.sinks.kafka.fitting import Fitting, TopicLimits, find_limits, refuse_unknown_key
from batten.sinks.kafka.messages import VALUE_FORMATS, Message
from batten.sinks.kafka.writing import producer_settings

if TYPE_CHECKING:
    import pyarrow as pa
    from confluent_kafka import Producer

    from batten.sinks.kafka.topic import KafkaTopic


class PlainKafkaDestination:
    """Used by one thread, under the ledger's lock."""

    def __init__(self, sink: KafkaTopic, target: str) -> None:
        self._sink, self._target = sink, target
        self._cluster = Cluster(sink.servers, sink.read_config(), sink.timeout_seconds)
        self._values = VALUE_FORMATS[sink.format].open(sink, self._cluster)
        self._producer: Producer | None = None
        self._limits: TopicLimits | None = None
        self._partitions = 1
        with translated("Connecting to", target, self._cluster.config):
            self._cluster.find_topic(sink.topic)

    def prepare(self, schema: pa.Schema) -> None:
        key = self._sink.message_key
        refuse_unknown_key(self._target, schema, key)
        with translated("Preparing", self._target, self._cluster.config):
            self._values.prepare(schema)
            self._cluster.ensure_topic(self._sink.topic, partitions=DEFAULT, config={})
            find_limits(self._cluster, self._sink.topic).refuse_no_key(self._target, key)

    def add_columns(self, schema: pa.Schema) -> None:
        """Each message has the columns of its rows."""

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        """Nothing is known of any: it can't be asked."""
        return [TokenState.ABSENT for _ in tokens]

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        return list(tokens)

    def publish(self, staged: Staged) -> PublishEnd:
        with translated("Publishing to", self._target, self._cluster.config):
            return self._send(self._encode(staged))

    def rehearse(self, staged: Staged) -> None:
        with translated("Publishing to", self._target, self._cluster.config):
            self._encode(staged)

    def close(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            drop(producer)
        self._cluster.close()

    def _encode(self, staged: Staged) -> list[Message]:
        limits = self._learn_limits()
        fitting = Fitting(
            staged, staged, self._sink, self._values, limits, partitions=self._partitions
        )
        messages = list(fitting)
        fitting.refuse_unfit()
        return messages

    def _learn_limits(self) -> TopicLimits:
        if self._limits is None:
            topic = self._cluster.find_topic(self._sink.topic)
            self._partitions = topic.partitions if topic is not None else 1
            self._limits = find_limits(self._cluster, self._sink.topic)
        return self._limits

    def _send(self, messages: Sequence[Message]) -> PublishEnd:
        from confluent_kafka import Producer

        if self._producer is None:
            made = producer_settings(
                self._cluster,
                self._learn_limits().bytes_max,
                message_timeout_ms=self._milliseconds,
                # Such a broker may not know a message that is sent again, nor keep the order.
                max_in_flight=1,
            )
            self._producer = Producer(made)
        try:
            send_all(self._producer, self._sink.topic, messages, self._sink.timeout_seconds)
        except BaseException:
            # Some of it may be there.
            self.close()
            raise
        return PublishEnd.COMMITTED

    @property
    def _milliseconds(self) -> int:
        return round(1000 * max(1.0, self._sink.timeout_seconds))
