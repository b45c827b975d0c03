"""Messages that a topic takes, and items of which it can't take one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from batten.errors import RefusedError, refused_there
from batten.model.disk.outcomes import decode_outcomes
from batten.model.telling.counts import count_of
from batten.sinks.base import RejectedError, Staged
from batten.sinks.kafka.messages import Message, ValueEncoder, encode_messages
from batten.sinks.kafka.writing import CLIENT_BYTES_MAX, DEFAULT_BYTES_MAX
from batten.sinks.rows.rejecting import UnstorableError

if TYPE_CHECKING:
    import pyarrow as pa

    from batten.kafka.cluster import Cluster
    from batten.sinks.kafka.topic import KafkaTopic


class TopicLimits(NamedTuple):
    """What a topic takes: messages of so many bytes, and, where it is compacted, only those that
    have a key."""

    bytes_max: int = DEFAULT_BYTES_MAX
    needs_keys: bool = False

    def refuse_no_key(self, target: str, key: str) -> None:
        """Raises `RefusedError` if no column gives keys, and there have to be some."""
        if self.needs_keys and not key:
            raise refused_there(
                f"{target} is compacted, so it takes no message without a key.",
                "Name the column that gives messages their keys: key=…; or write to a topic that "
                "is not compacted.",
            )

    def find_fault(self, message: Message) -> UnstorableError | None:
        """Why the topic does not take it; None if it does."""
        if message.size > self.bytes_max:
            return UnstorableError(
                f"its message has {count_of(message.size, 'byte')}, and the topic takes "
                f"{self.bytes_max:,}"
            )
        if self.needs_keys and message.key is None:
            return UnstorableError(
                "its message has no key, and the topic, which is compacted, takes none without"
            )
        return None


def find_limits(cluster: Cluster, topic: str) -> TopicLimits:
    """Where the topic does not say, those that brokers have."""
    if cluster.find_topic(topic) is None:
        return TopicLimits()
    said = cluster.read_setting(topic, "max.message.bytes")
    policies = cluster.read_setting(topic, "cleanup.policy").split(",")
    return TopicLimits(
        bytes_max=min(int(said), CLIENT_BYTES_MAX) if said.isdecimal() else DEFAULT_BYTES_MAX,
        needs_keys="compact" in [each.strip() for each in policies],
    )


class Fitting:
    """The messages of the rows of a batch that are `lacking`. Those that can't be sent are known
    when all others have been given."""

    def __init__(
        self,
        lacking: Staged,
        staged: Staged,
        topic: KafkaTopic,
        values: ValueEncoder,
        limits: TopicLimits,
        *,
        partitions: int,
    ) -> None:
        self._lacking, self._staged, self._topic = lacking, staged, topic
        self._values = values
        self._limits, self._partitions = limits, partitions
        self._unfit: dict[object, UnstorableError] = {}

    def __iter__(self) -> Iterator[Message]:
        key, partitions = self._topic.message_key, self._partitions
        for message in encode_messages(
            self._lacking, key=key, values=self._values, partitions=partitions
        ):
            if fault := message.error or self._limits.find_fault(message):
                self._unfit[message.item] = fault
            else:
                yield message

    def refuse_unfit(self) -> None:
        """Raises `RejectedError` for the items that have a message that can't be sent, by their
        numbers in the batch; of a whole table `RefusedError`."""
        if not self._unfit:
            return
        errors: dict[int, Exception] = {
            number: self._unfit[item]
            for number, item in _number(self._staged)
            if item in self._unfit
        }
        if self._staged.is_whole:
            raise RefusedError(
                f"The topic {self._topic.topic} can't hold a row: {next(iter(errors.values()))}.",
                safe="Nothing was changed there; all rows are kept in the ledger.",
                next="Change the row; or, if it is too large, raise the topic's "
                "max.message.bytes. Then run again.",
            )
        raise RejectedError(errors)


def refuse_unknown_key(target: str, schema: pa.Schema, key: str) -> None:
    """Raises `RefusedError` if rows have no such column."""
    if key and key not in schema.names:
        raise refused_there(
            f"{target} is to get messages by their key, and rows have no column {key!r}.",
            "Name a column that rows have: key=…",
        )


def _number(staged: Staged) -> list[tuple[int, object]]:
    """The numbers of the items with rows, and the items' values in the first column."""
    numbers = [
        number for number, each in enumerate(decode_outcomes(staged.outcomes)) if each.has_rows
    ]
    seen = list(dict.fromkeys(key for rows in staged.read() for key in rows.column(0).to_pylist()))
    return list(zip(numbers, seen, strict=True))
