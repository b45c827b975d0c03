"""How clients of Kafka are set up, and what their errors mean."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from batten.errors import BusyError, UsageError
from batten.fingerprint.secret import Secret
from batten.model.telling.hiding import is_secret_name
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
        "metadata.broker.list",
        "request.required.acks",
        "transaction.timeout.ms",
        "transactional.id",
    }
)
"""A job can't set these."""

TRANSACTION_SECONDS_MAX = 900
"""What a broker grants a transaction, unless it is told otherwise."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)

_SECRET_WORDS = ("password", "secret", "oauthbearer", ".key.", ".pem")

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


def read_config(config: Mapping[str, str | Secret]) -> dict[str, str]:
    """With the secrets in it: to connect with, and never to be shown."""
    given = config.items()
    return {name: each() if isinstance(each, Secret) else each for name, each in given}


def list_secrets(config: Mapping[str, str | Secret]) -> tuple[str, ...]:
    """The environment variables that it needs."""
    return tuple(each.name for each in config.values() if isinstance(each, Secret))


def refuse_unusable(topic: str, servers: str, config: Mapping[str, str | Secret]) -> None:
    """Raises `UsageError` for what no topic is called, for an address that holds a password, and
    for a setting on which the promise rests."""
    safe = "Nothing was read or written."
    if not _NAME.fullmatch(topic) or topic in (".", ".."):
        raise UsageError(
            f"{topic!r} can't be the name of a topic.",
            safe=safe,
            next="Use letters and digits of ASCII, '.', '_' and '-', at most 249 of them.",
        )
    if taken := sorted(OWN_SETTINGS & set(config)):
        raise UsageError(
            f"config= has {taken[0]!r}, which batten sets by itself.",
            safe=safe,
            next="Leave it out: the promise of each batch once rests on it.",
        )
    if "@" in servers:
        raise UsageError(
            "servers= has an @, and an address with a password would be written down.",
            safe=safe,
            next='Give host:port, and the password as config={"sasl.password": '
            'batten.Secret("NAME")}.',
        )


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
        "this one another name: dataset=…. If there is no other, a transaction took longer than "
        "timeout_seconds=…: raise it, or make smaller batches.",
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
    texts = [str(value) for name, value in hidden.items() if value and _is_hidden(name)]
    said = RuntimeError(f"{error.str()} ({error.name()})")
    if is_of_network(error):
        remedy = "Wait until the broker answers again, or give it longer by timeout_seconds=…"
        return unreached(action, target, said, remedy=remedy, hidden=texts)
    return refused(action, target, said, hidden=texts)


def _is_hidden(name: str) -> bool:
    return is_secret_name(name) or any(word in name for word in _SECRET_WORDS)


def not_answered(seconds: float) -> TimeoutError:
    """Where a call of the client ends without an answer and without an error."""
    return TimeoutError(f"no answer in {seconds:g} s")
