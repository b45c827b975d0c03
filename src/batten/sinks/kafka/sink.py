"""A topic of Kafka: each batch's rows and its token in one transaction.

A job whose broker can't do transactions may say so. Then rows are sent without tokens, and a batch
that a crash left unknown is sent again (decision 0142).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from batten.errors import UsageError
from batten.fingerprint.secret import Secret
from batten.model.disk.destinations.targets import show_topic
from batten.model.value_class import value_class
from batten.model.words import Takes
from batten.sinks.base import Destination, LedgerPlace
from batten.sinks.kafka.connecting import OWN_SETTINGS
from batten.sinks.kafka.messages import VALUE_FORMATS
from batten.sinks.kafka.topic import KafkaTopic
from batten.sinks.optional import ensure_optional

_SAFE = "Nothing was read or written."


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
        return tuple(each.name for each in self.config.values() if isinstance(each, Secret))

    def check(self) -> None:
        if taken := sorted(OWN_SETTINGS & set(self.config)):
            raise UsageError(
                f"config= has {taken[0]!r}, which batten sets by itself.",
                safe=_SAFE,
                next="Leave it out: the promise of each batch once rests on it.",
            )
        if self.format not in VALUE_FORMATS:
            raise UsageError(
                f"format={self.format!r} is none of {', '.join(map(repr, VALUE_FORMATS))}.",
                safe=_SAFE,
                next="Give one of them, or leave format= out.",
            )
        if "@" in self.servers:
            raise UsageError(
                "servers= has an @, and an address with a password would be written down.",
                safe=_SAFE,
                next='Give host:port, and the password as config={"sasl.password": '
                'batten.Secret("NAME")}.',
            )
        ensure_optional("confluent_kafka", ".write_kafka()", package="'batten[kafka]'")
        VALUE_FORMATS[self.format].check()

    def open(self, ground: LedgerPlace) -> Destination:
        from batten.sinks.kafka.destination import KafkaDestination
        from batten.sinks.kafka.without_transactions import PlainKafkaDestination

        kind = KafkaDestination if self.has_transactions else PlainKafkaDestination
        return kind(self, ground.book.target)
