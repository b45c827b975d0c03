"""A topic passes the public contract of destinations."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batten.kafka import cluster, sending
from batten.sinks.kafka import destination, tokens, writing
from batten.sinks.kafka.sink import KafkaSink
from batten.testing import SinkContract

if TYPE_CHECKING:
    from batten.crashlab.servers.broker import Broker


class TestTopic(SinkContract):
    kills_max = 6
    libraries = ("confluent_kafka",)

    @pytest.fixture(autouse=True)
    def keep_broker(self, broker: Broker, topic: str) -> None:
        self.broker, self.topic = broker, topic

    def make_sink(self, folder: Path) -> KafkaSink:
        return KafkaSink(topic=self.topic, servers=self.broker.servers, timeout_seconds=20)

    def read_rows(self, folder: Path) -> list[dict[str, Any]]:
        return sorted(self.broker.read_rows(self.topic), key=lambda row: row["key"])

    def list_made(self, folder: Path) -> Collection[object]:
        topics = self.broker.admin().list_topics(timeout=30).topics
        return [each for each in topics if each.startswith(self.topic)]

    def drop(self, folder: Path) -> None:
        self.broker.delete([self.topic])

    def list_code(self, sink: Any) -> Collection[str]:
        return [inspect.getfile(each) for each in (cluster, destination, sending, tokens, writing)]
