"""A topic as a job declares it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from batten.fingerprint.secret import Secret
from batten.kafka.connecting import read_config
from batten.model.value_class import value_class


@value_class
class KafkaTopic:
    """`topic` of the cluster at `servers`; what `config` says goes to the client as it is.
    `message_key` is the column that gives messages their keys. `timeout_seconds` is the longest
    that the broker, and the registry of schemas, may say nothing."""

    topic: str
    servers: str
    message_key: str = ""
    format: str = "json"
    schema_registry: str | Secret = ""
    config: Mapping[str, str | Secret] = field(default_factory=dict, repr=False)
    has_transactions: bool = True
    timeout_seconds: float = 60.0
    dataset: str = ""

    def read_config(self) -> dict[str, Any]:
        """The client's settings, to connect with and never to be shown."""
        return {**read_config(self.config)}
