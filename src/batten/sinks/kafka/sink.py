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
from batten.kafka.connecting import list_secrets, refuse_unusable
from batten.model.disk.destinations.targets import show_topic
from batten.model.value_class import value_class
from batten.model.words import Takes
from batten.optional import ensure_optional
from batten.sinks.base import Destination, LedgerPlace
from batten.sinks.kafka.messages import VALUE_FORMATS
from batten.sinks.kafka.tokens import ENDING
from batten.sinks.kafka.topic import KafkaTopic

_LENGTH_MAX = 249 - len(ENDING)


@value_class
class KafkaSink(KafkaTopic):
    """See `Sink`."""

    kind: ClassVar[str] = "kafka"
    takes: ClassVar[Takes] = Takes.BATCHES

    def fill(self, fill: Callable[[str], str]) -> KafkaSink:
        return replace(
            self, topic=fill(self.topic), servers=fill(self.servers), dataset=fill(self.dataset)
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
        return list_secrets(self.config)

    def check(self) -> None:
        refuse_unusable(self.topic, self.servers, self.config)
        if self.topic.endswith(ENDING) or (self.has_transactions and len(self.topic) > _LENGTH_MAX):
            raise usage_error(
                f"{self.topic!r} can't get rows: the tokens of its batches go to a topic of that "
                f"name and {ENDING!r}, of at most 249 letters.",
                "Write to a topic of another name.",
            )
        if self.format not in VALUE_FORMATS:
            raise usage_error(
                f"format={self.format!r} is none of {', '.join(map(repr, VALUE_FORMATS))}.",
                "Give one of them, or leave format= out.",
            )
        ensure_optional("confluent_kafka", ".write_kafka()", package="'batten[kafka]'")
        VALUE_FORMATS[self.format].check()

    def open(self, ground: LedgerPlace) -> Destination:
        from batten.sinks.kafka.destination import KafkaDestination
        from batten.sinks.kafka.without_transactions import PlainKafkaDestination

        kind = KafkaDestination if self.has_transactions else PlainKafkaDestination
        return kind(self, ground.book.target)
