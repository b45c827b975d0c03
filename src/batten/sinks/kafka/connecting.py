"""How clients of Kafka are set up, and what their errors mean."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batten.errors import BusyError
from batten.sinks.failures import refused, unreached

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

OWN_SETTINGS = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "isolation.level",
        "request.required.acks",
        "transaction.timeout.ms",
        "transactional.id",
    }
)
"""A job can't set these."""

TRANSACTION_SECONDS_MAX = 900
"""What a broker grants a transaction, unless it is told otherwise."""

_quiet = logging.Logger("batten.kafka")
_quiet.addHandler(logging.NullHandler())


def settings(
    servers: str, config: Mapping[str, Any], timeout_seconds: float, **own: Any
) -> dict[str, Any]:
    """Of any client; `own` are those of one kind, with `_` for dots. What the library would write
    to the error output is told by its errors, too."""
    milliseconds = round(1000 * min(300.0, max(1.0, timeout_seconds)))
    return {
        "client.id": "batten",
        "socket.timeout.ms": milliseconds,
        **config,
        "bootstrap.servers": servers,
        "logger": _quiet,
        **{name.replace("_", "."): value for name, value in own.items()},
    }


def transaction_milliseconds(timeout_seconds: float) -> int:
    """How long the broker keeps a transaction of a client that it hears nothing of."""
    return round(1000 * min(TRANSACTION_SECONDS_MAX, max(1.0, timeout_seconds)))


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
        KafkaError._RESOLVE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._PURGE_QUEUE,
        KafkaError._NOENT,  # no broker leads the partition, as far as this client knows
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
    )
    return bool(error.retriable()) or error.code() in names


def was_fenced(target: str) -> BusyError:
    """Where another process publishes under the same name."""
    return BusyError(
        f"Another process publishes to {target} under the same name, and has taken over.",
        safe="Whatever this one had begun there is all there, or nothing of it is.",
        next="Let the other one end, then run the same command again. If it is another job, give "
        "this one another name: dataset=…",
    )


@contextmanager
def translated(action: str, target: str, hidden: Mapping[str, Any]) -> Iterator[None]:
    """Raises batten's errors for the client's; `hidden` are settings whose values are taken out."""
    from confluent_kafka import KafkaException

    try:
        yield
    except KafkaException as raised:
        error = error_of(raised)
        if is_fenced(error):
            raise was_fenced(target) from raised
        raise tell(action, target, error, hidden) from raised
    except TimeoutError as error:
        raise unreached(
            action, target, error, remedy="Wait until the broker answers again"
        ) from error


def tell(action: str, target: str, error: KafkaError, hidden: Mapping[str, Any]) -> Exception:
    """The error of a broker that could not be reached, or will not do it."""
    texts = [str(value) for name, value in hidden.items() if "password" in name or "secret" in name]
    said = RuntimeError(f"{error.str()} ({error.name()})")
    if is_of_network(error):
        remedy = "Wait until the broker answers again, or give it longer by timeout_seconds=…"
        return unreached(action, target, said, remedy=remedy, hidden=texts)
    return refused(action, target, said, hidden=texts)


def not_answered(seconds: float) -> TimeoutError:
    """Where a call of the client ends without an answer and without an error."""
    return TimeoutError(f"no answer in {seconds:g} s")
