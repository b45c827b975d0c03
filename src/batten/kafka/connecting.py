"""How clients of Kafka are set up."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from batten.errors import usage_error
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
_SERVER = re.compile(r"\s*(\w+://)?(\[[^\s\[\]]+\]|[^\s\[\]:/]+)(:(\d{1,5}))?\s*", re.ASCII)
_PORT_MAX = 65535


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


def copy_config(config: object) -> dict[str, str | Secret]:
    """Raises `UsageError` for what are no settings."""
    given = {} if config is None else config
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise usage_error(
            "config= has no settings by their names.",
            'Give a dict, such as config={"security.protocol": "SSL"}.',
        )
    return dict(given)


def read_config(config: Mapping[str, str | Secret]) -> dict[str, str]:
    """With the secrets in it: to connect with, and never to be shown."""
    given = config.items()
    return {name: each() if isinstance(each, Secret) else each for name, each in given}


def list_secrets(config: Mapping[str, str | Secret]) -> tuple[str, ...]:
    """The environment variables that it needs."""
    return tuple(each.name for each in config.values() if isinstance(each, Secret))


def refuse_unusable(topic: object, servers: object, config: Mapping[str, str | Secret]) -> None:
    """Raises `UsageError` for what no topic is called, for what is no address or holds a password,
    and for a setting on which the promise rests."""
    if not isinstance(topic, str) or not _NAME.fullmatch(topic) or topic in (".", ".."):
        raise usage_error(
            f"{topic!r} can't be the name of a topic.",
            "Use letters and digits of ASCII, '.', '_' and '-', at most 249 of them.",
        )
    if taken := sorted(OWN_SETTINGS & set(config)):
        raise usage_error(
            f"config= has {taken[0]!r}, which batten sets by itself.",
            "Leave it out: the promise of each batch once rests on it.",
        )
    if "@" in str(servers):
        raise usage_error(
            "servers= has an @, and an address with a password would be written down.",
            'Give host:port, and the password as config={"sasl.password": batten.Secret("NAME")}.',
        )
    if not isinstance(servers, str) or not all(map(_is_server, servers.split(","))):
        raise usage_error(
            f"servers={servers!r} names no brokers.",
            "Give host:port, several with commas between them.",
        )


def _is_server(text: str) -> bool:
    found = _SERVER.fullmatch(text)
    return found is not None and int(found[4] or 1) in range(1, _PORT_MAX + 1)


def not_answered(seconds: float, said: str = "") -> TimeoutError:
    """Where a call of the client ends without an answer and without an error. `said` is what the
    client told meanwhile."""
    return TimeoutError(f"no answer in {seconds:g} s" + (f"; {said}" if said else ""))
