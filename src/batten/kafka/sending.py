"""Messages are given to a client, and what it says of those that did not get there is told."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from batten.kafka.connecting import not_answered

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Producer

ANY_PARTITION = -1
_POLL_SECONDS = 0.05

Header = tuple[str, str | bytes | None]


class Sendable(Protocol):
    """Without a partition the client chooses one by the key."""

    @property
    def partition(self) -> int | None: ...

    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes: ...

    @property
    def headers(self) -> list[Header]: ...


class PlainMessage(NamedTuple):
    """See `Sendable`."""

    partition: int | None
    key: bytes | None
    value: bytes
    headers: list[Header]


def send_all(producer: Producer, topic: str, messages: Iterable[Sendable], seconds: float) -> None:
    """All are with the broker when this returns. Raises `TimeoutError` when none of them gets there
    for so long, and the client's error for the first one that was not taken: what the client says
    of those that come after it tells less."""
    from confluent_kafka import KafkaException

    refused: list[KafkaError] = []
    given_up: list[KafkaError] = []

    def note(error: KafkaError | None, message: object) -> None:
        if error is not None:
            (given_up if error.code() in codes_of_given_up() else refused).append(error)

    try:
        for each in messages:
            _send(producer, topic, each, seconds, note)
        _wait(producer, seconds, lambda left, before: left == 0)
    except KafkaException:
        producer.poll(0)
        if not refused:
            raise
    if failed := refused + given_up:
        raise KafkaException(failed[0])


def codes_of_given_up() -> tuple[int, ...]:
    """What a client says of messages that it has not sent because of something else."""
    from confluent_kafka import KafkaError

    return KafkaError._FATAL, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT


def _send(
    producer: Producer,
    topic: str,
    message: Sendable,
    seconds: float,
    on_delivery: Callable[..., None],
) -> None:
    partition = ANY_PARTITION if message.partition is None else message.partition
    while True:
        try:
            producer.produce(
                topic,
                message.value,
                message.key,
                partition,
                on_delivery=on_delivery,
                headers=message.headers,
            )
        except BufferError:
            _wait(producer, seconds, lambda left, before: left < before)
        else:
            return


def _wait(producer: Producer, seconds: float, is_enough: Any) -> None:
    before = left = len(producer)
    ends_at = time.monotonic() + seconds
    while not is_enough(left, before):
        now = producer.flush(_POLL_SECONDS)
        if now < left:
            ends_at = time.monotonic() + seconds
        elif time.monotonic() > ends_at:
            raise not_answered(seconds)
        left = now


def drop(producer: Producer) -> None:
    """Let go of it at once: what is on the way is forgotten. The broker undoes what was begun."""
    from confluent_kafka import KafkaException

    with suppress(KafkaException, RuntimeError):
        producer.purge()
        producer.flush(0)
    with warnings.catch_warnings(), suppress(KafkaException, RuntimeError):
        # It warns that a transaction could not be undone, which the next of that name does.
        warnings.simplefilter("ignore")
        producer.close()
