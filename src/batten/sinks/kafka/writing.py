"""Transactions of Kafka, one after the other, under a name that fences older processes off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batten.errors import RefusedError, refused_there
from batten.kafka.client_errors import error_of, is_fenced
from batten.kafka.cluster import Cluster
from batten.kafka.connecting import settings
from batten.kafka.sending import codes_of_given_up, drop, send_all
from batten.sinks.kafka.messages import Message

if TYPE_CHECKING:
    from confluent_kafka import Producer

DEFAULT_BYTES_MAX = 1_048_588
"""The largest message that a broker takes which was told nothing else."""
CLIENT_BYTES_MAX = 1_000_000_000
"""The largest one that any client sends."""
TRANSACTION_SECONDS_MAX = 900
"""What a broker grants a transaction, unless it is told otherwise."""
BATCH_BYTES = 1_000_000
_ABORT_SECONDS = 5.0


class Writer:
    """A producer whose transactions have a name. When it is made, whatever an older one of that
    name had begun is ended, and that one can't end anything any more."""

    def __init__(self, cluster: Cluster, name: str, *, bytes_max: int, target: str) -> None:
        from confluent_kafka import Producer

        self._seconds = cluster.timeout_seconds
        self._producer: Producer = Producer(
            producer_settings(
                cluster,
                bytes_max,
                enable_idempotence=True,
                transactional_id=name,
                transaction_timeout_ms=_transaction_milliseconds(self._seconds),
            )
        )
        try:
            self._begin_name(target)
        except BaseException:
            self.close()
            raise

    def _begin_name(self, target: str) -> None:
        from confluent_kafka import KafkaError, KafkaException

        try:
            self._producer.init_transactions(self._seconds)
        except KafkaException as raised:
            if error_of(raised).code() not in (
                KafkaError._UNSUPPORTED_FEATURE,
                KafkaError.UNSUPPORTED_VERSION,
            ):
                raise
            raise refuse_without_transactions(target) from raised

    def begin(self) -> None:
        self._producer.begin_transaction()

    def send(self, topic: str, messages: Iterable[Message]) -> None:
        """All are with the broker when this returns."""
        with self._telling_why():
            send_all(self._producer, topic, messages, self._seconds)

    def send_tokens(self, topic: str, tokens: Iterable[tuple[bytes, bytes]]) -> None:
        with self._telling_why():
            for key, value in tokens:
                self._producer.produce(topic, value, key, partition=0)

    @contextmanager
    def _telling_why(self) -> Iterator[None]:
        """A client that can go on no more says of each message only that. It tells the reason, such
        as a newer process of this name, when it is asked for a transaction."""
        from confluent_kafka import KafkaException

        try:
            yield
        except KafkaException as raised:
            if error_of(raised).code() in codes_of_given_up():
                self._producer.begin_transaction()
            raise

    def commit(self) -> bool:
        """Whether it was confirmed. If not, it may have happened all the same, and this writer is
        of no more use. Raises the client's error where nothing happened."""
        from confluent_kafka import KafkaException

        try:
            self._producer.commit_transaction(self._seconds)
        except KafkaException as raised:
            error = error_of(raised)
            if error.txn_requires_abort() or is_fenced(error):
                raise
            return False
        return True

    def abort(self) -> bool:
        """Whether it is undone, so that another transaction can be begun."""
        from confluent_kafka import KafkaException

        try:
            self._producer.abort_transaction(min(self._seconds, _ABORT_SECONDS))
        except KafkaException:
            return False
        return True

    def close(self) -> None:
        drop(self._producer)


def producer_settings(cluster: Cluster, bytes_max: int, **own: Any) -> dict[str, Any]:
    """`bytes_max` is what the topic of the rows takes; 0 if that is not known. Tokens go to another
    one, which takes what is usual."""
    given: dict[str, Any] = {"acks": "all", "delivery.report.only.error": True, **own}
    if bytes_max:
        given["message.max.bytes"] = max(DEFAULT_BYTES_MAX, bytes_max)
        given["batch.size"] = min(BATCH_BYTES, bytes_max)
    config = {"partitioner": "murmur2_random", **cluster.config}
    return settings(cluster.servers, config, cluster.timeout_seconds, **given)


def _transaction_milliseconds(timeout_seconds: float) -> int:
    """How long the broker keeps a transaction of a client that it hears nothing of."""
    return round(1000 * min(TRANSACTION_SECONDS_MAX, max(1.0, timeout_seconds)))


def refuse_without_transactions(target: str) -> RefusedError:
    """Where a broker has none."""
    return refused_there(
        f"{target}: the broker can't do transactions, so no batch can be there exactly once.",
        "Write to a broker that can (Apache Kafka 0.11 or later); or declare that batches may "
        "come there twice after a crash: .write_kafka(…, transactions=False)",
    )
