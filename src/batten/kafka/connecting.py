"""How clients of Kafka are set up."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from batten.errors import UsageError
from batten.fingerprint.secret import Secret

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

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)

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


def not_answered(seconds: float) -> TimeoutError:
    """Where a call of the client ends without an answer and without an error."""
    return TimeoutError(f"no answer in {seconds:g} s")
