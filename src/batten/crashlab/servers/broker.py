"""A broker that speaks Kafka's protocol, from a package, for tests and benchmarks.

It needs noida-db, which brings the program. It listens on this machine alone. Where it differs from
Apache Kafka stands in docs/guides/kafka.md. `BATTEN_KAFKA=host:port` names another broker; that one
is neither ended nor begun.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from batten.crashlab.servers.own_server import OwnServer
from batten.crashlab.servers.ports import find_ports

_PACKAGE = "noida_db"
_ANSWER_SECONDS = 0.5
_READ_SECONDS = 30.0

OTHER = os.environ.get("BATTEN_KAFKA", "")
"""The broker that tests are to use in the place of one of their own; empty for none."""


class Broker(OwnServer):
    """A broker of its own, or the one that `BATTEN_KAFKA` names. Ended by SIGTERM it keeps what it
    has confirmed; by SIGKILL it may lose some."""

    def __init__(self) -> None:
        super().__init__("broker")
        if OTHER:
            self.port = int(OTHER.rpartition(":")[2])
            self.servers = OTHER
        else:
            [self.port] = find_ports(1)
            self.servers = f"127.0.0.1:{self.port}"
            self.start()

    @property
    def name(self) -> str:
        """Which it is, for people."""
        return f"the broker at {OTHER}" if OTHER else "noida-db"

    def start(self) -> None:
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or spec.origin is None:
            raise RuntimeError("the package noida-db is not installed")
        program = Path(spec.origin).with_name("noida-db")
        program.chmod(0o755)
        command = [
            *(str(program), "start", "--data-dir", str(self.folder / "data")),
            *("--host", "127.0.0.1", "--only", "kafka", "--kafka-port", str(self.port)),
        ]
        self._begin(command)

    def pause(self) -> None:
        """It answers nothing, until `go_on`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def read(self, topic: str, *, is_committed: bool = True) -> list[Any]:
        """The messages of the topic, partition by partition; none if it is not there."""
        return list(read_topic(self.servers, topic, is_committed=is_committed))

    def read_rows(self, topic: str, *, is_committed: bool = True) -> list[dict[str, Any]]:
        """The rows of a topic of JSON, partition by partition."""
        return [json.loads(each.value()) for each in self.read(topic, is_committed=is_committed)]

    def __exit__(self, *_: object) -> None:
        self.go_on()
        super().__exit__()

    def admin(self) -> Any:
        """A client for topics."""
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.servers, **_QUIET})

    def make(self, topic: str, *, partitions: int = 1, **config: str) -> None:
        """Make a topic; `config` has `_` for dots."""
        from confluent_kafka.admin import NewTopic

        given = {name.replace("_", "."): value for name, value in config.items()}
        new = NewTopic(topic, partitions, -1, config=given)
        admin = self.admin()
        admin.create_topics([new])[topic].result()

    def grow(self, topic: str, partitions: int) -> None:
        """Give the topic so many partitions."""
        from confluent_kafka.admin import NewPartitions

        admin = self.admin()
        admin.create_partitions([NewPartitions(topic, partitions)])[topic].result()

    def delete(self, topics: Sequence[str]) -> None:
        """Delete those of the topics that are there."""
        admin = self.admin()
        there = [each for each in topics if each in admin.list_topics(timeout=30).topics]
        for asked in admin.delete_topics(there).values() if there else ():
            asked.result()

    def _answers(self) -> bool:
        from confluent_kafka import KafkaException

        try:
            self.admin().list_topics(timeout=_ANSWER_SECONDS)
        except KafkaException:
            return False
        return True


_QUIET = {"log_level": 0}


def read_topic(servers: str, topic: str, *, is_committed: bool = True) -> Iterator[Any]:
    """The messages that are there now, partition by partition."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "batten-tests",
            "isolation.level": "read_committed" if is_committed else "read_uncommitted",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            **_QUIET,
        }
    )
    try:
        found = consumer.list_topics(timeout=_READ_SECONDS).topics.get(topic)
        for partition in sorted(found.partitions) if found is not None else ():
            consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
            while True:
                message = consumer.poll(_READ_SECONDS)
                if message is None:
                    raise TimeoutError(f"{topic} can't be read")
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    break
    finally:
        consumer.close()
