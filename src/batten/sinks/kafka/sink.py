"""A topic of Kafka: each batch's rows and its token in one transaction.

A job whose broker can't do transactions may say so. Then rows are sent without tokens, and a batch
that a crash left unknown is sent again (decision 0142).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from batten.errors import usage_error
from batten.kafka import schema_topic
from batten.kafka.connecting import list_secrets, refuse_unusable
from batten.kafka.registry import refuse_unusable_address
from batten.model.disk.destinations.targets import show_topic
from batten.model.value_class import value_class
from batten.model.words import Takes
from batten.optional import ensure_optional
from batten.sinks.base import Destination, LedgerPlace
from batten.sinks.kafka.messages import AVRO, VALUE_FORMATS
from batten.sinks.kafka.tokens import ENDING
from batten.sinks.kafka.topic import KafkaTopic

_ENDINGS = (ENDING, schema_topic.ENDING)
_NAME_MAX = 249


@value_class
class KafkaSink(KafkaTopic):
    """See `Sink`."""

    kind: ClassVar[str] = "kafka"
    takes: ClassVar[Takes] = Takes.BATCHES

    def fill(self, fill: Callable[[str], str]) -> KafkaSink:
        registry = self.schema_registry
        return replace(
            self,
            topic=fill(self.topic),
            servers=fill(self.servers),
            dataset=fill(self.dataset),
            schema_registry=fill(registry) if isinstance(registry, str) else registry,
        )

    def describe(self, folder: Path) -> str:
        return show_topic(self.topic, self.servers)

    def identify(self) -> str:
        return self.describe(Path())

    @property
    def can_be_asked(self) -> bool:
        """Whether it keeps tokens."""
        return self.has_transactions

    @property
    def secrets(self) -> tuple[str, ...]:
        """The environment variables that it needs."""
        return list_secrets({**self.config, "schema_registry": self.schema_registry})

    @property
    def form(self) -> str:
        """What readers have to know of messages."""
        schemas = ""
        if self.format == AVRO:
            place = self.schema_registry or f"the topic {self.topic}{schema_topic.ENDING}"
            schemas = f" (schemas: {place})"
        keys = f"keys from {self.message_key!r}" if self.message_key else "no keys"
        return f"{self.format} values{schemas} and {keys}"

    def check(self) -> None:
        refuse_unusable(self.topic, self.servers, self.config)
        if self.schema_registry:
            refuse_unusable_address(self.schema_registry)
        self._refuse_topic()
        if self.format not in VALUE_FORMATS:
            raise usage_error(
                f"format={self.format!r} is none of {', '.join(map(repr, VALUE_FORMATS))}.",
                "Give one of them, or leave format= out.",
            )
        if self.schema_registry and self.format != AVRO:
            raise usage_error(
                f"schema_registry= is for values of Avro, and format={self.format!r} has none.",
                'Give format="avro", or leave schema_registry= out.',
            )
        ensure_optional("confluent_kafka", ".write_kafka()", package="'batten[kafka]'")
        VALUE_FORMATS[self.format].check()

    def _refuse_topic(self) -> None:
        """Raises `UsageError` for one that is not for rows, or has too long a name for those beside
        it."""
        keeps_schemas = self.format == AVRO and not self.schema_registry
        beside = [ENDING] * self.has_transactions + [schema_topic.ENDING] * keeps_schemas
        is_long = len(self.topic) + max(map(len, beside), default=0) > _NAME_MAX
        if self.topic.endswith(_ENDINGS) or is_long:
            raise usage_error(
                f"{self.topic!r} can't get rows: what batten keeps of it goes to topics of that "
                f"name and {' or '.join(map(repr, _ENDINGS))}, of at most {_NAME_MAX} letters.",
                "Write to a topic of another name.",
            )

    def open(self, ground: LedgerPlace) -> Destination:
        from batten.sinks.kafka.destination import KafkaDestination
        from batten.sinks.kafka.without_transactions import PlainKafkaDestination

        kind = KafkaDestination if self.has_transactions else PlainKafkaDestination
        return kind(self, ground.book.target)
