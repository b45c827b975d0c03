"""What errors of the client mean: who asked says what is safe then, and what is to be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batten.errors import RefusedError, StorageError
from batten.model.telling.hiding import is_secret_name
from batten.model.value_class import value_class

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

_WAIT = "Wait until the broker answers again, or give it longer by timeout_seconds=…"
_DESTROY_BROKER = -137
"""`KafkaError._DESTROY_BROKER`, which older clients do not name: the client let a connection go."""
_SECRET_WORDS = ("password", "secret", "oauthbearer", ".key.", ".pem")


@value_class
class Asker:
    """How one who asks a broker tells that it was not reached, or that it will not do it."""

    unreached: Callable[..., StorageError]
    refused: Callable[..., RefusedError]


def error_of(raised: Exception) -> KafkaError:
    """What the client says in an exception of its own."""
    error: KafkaError = raised.args[0]
    return error


def is_fenced(error: KafkaError) -> bool:
    """Whether another process has taken over the name of the transactions."""
    from confluent_kafka import KafkaError

    return error.code() in (
        KafkaError._FENCED,
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
    )


def is_of_network(error: KafkaError) -> bool:
    """Whether the broker did not answer, or not now: the next attempt may do it."""
    from confluent_kafka import KafkaError

    names = (
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._WAIT_COORD,
        KafkaError._WAIT_CACHE,
        KafkaError._FAIL,
        KafkaError._PARTIAL,
        KafkaError._UNDERFLOW,  # an answer that ends too soon
        KafkaError._OUTDATED,
        KafkaError._RETRY,
        KafkaError._INTR,
        KafkaError._NODE_UPDATE,
        KafkaError._UNKNOWN_BROKER,
        _DESTROY_BROKER,
        KafkaError._RESOLVE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._PURGE_QUEUE,
        KafkaError._UNKNOWN_PARTITION,  # it was added, and this client has not heard of it
        KafkaError._STATE,  # the client has given the transaction up by itself
        KafkaError._NOENT,  # no broker leads the partition, as far as this client knows
        KafkaError._AUTO_OFFSET_RESET,  # the offset is not there, or not yet, for the one asked
        KafkaError._BAD_MSG,
        KafkaError.UNKNOWN,  # something unexpected happened in the broker
        KafkaError.INVALID_MSG,  # damaged on its way
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,  # it has forgotten what a producer had sent
        KafkaError.UNKNOWN_PRODUCER_ID,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
    )
    return bool(error.retriable()) or error.code() in names


@contextmanager
def translated(action: str, target: str, hidden: Mapping[str, Any], asker: Asker) -> Iterator[None]:
    """Raises batten's errors for the client's; `hidden` are settings whose values are taken out."""
    from confluent_kafka import KafkaException

    try:
        yield
    except KafkaException as raised:
        raise tell(action, target, error_of(raised), hidden, asker) from raised
    except TimeoutError as error:
        texts = _list_hidden(hidden)
        raise asker.unreached(action, target, error, remedy=_WAIT, hidden=texts) from error


def tell(
    action: str, target: str, error: KafkaError, hidden: Mapping[str, Any], asker: Asker
) -> Exception:
    """The error of a broker that could not be reached, or will not do it."""
    from confluent_kafka import KafkaError

    texts = _list_hidden(hidden)
    told = f"{error.str()} ({error.name()})"
    if error.code() == KafkaError._STATE:
        told = f"the transaction was given up meanwhile: {told}"
    said = RuntimeError(told)
    if is_of_network(error):
        return asker.unreached(action, target, said, remedy=_WAIT, hidden=texts)
    return asker.refused(action, target, said, hidden=texts)


def _list_hidden(config: Mapping[str, Any]) -> list[str]:
    return [str(value) for name, value in config.items() if value and _is_hidden(name)]


def _is_hidden(name: str) -> bool:
    return is_secret_name(name) or any(word in name for word in _SECRET_WORDS)
