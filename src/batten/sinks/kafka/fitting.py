"""Messages that a topic takes, and items of which it can't take one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from batten.errors import RefusedError, refused_there
from batten.model.disk.outcomes import decode_outcomes
from batten.model.telling.counts import count_of
from batten.sinks.base import RejectedError, Staged
from batten.sinks.kafka.messages import Message, ValueEncoder, encode_messages
from batten.sinks.rows.rejecting import UnstorableError

if TYPE_CHECKING:
    import pyarrow as pa

    from batten.kafka.cluster import Cluster
    from batten.sinks.kafka.topic import KafkaTopic

_DEFAULT_BYTES_MAX = 1_048_588
"""What a broker takes that was told nothing else."""


def find_bytes_max(cluster: Cluster, topic: str) -> int:
    """The largest message that the topic takes, or what brokers take if that is not known."""
    if cluster.find_topic(topic) is None:
        return _DEFAULT_BYTES_MAX
    said = cluster.read_setting(topic, "max.message.bytes")
    return int(said) if said.isdecimal() else _DEFAULT_BYTES_MAX


class Fitting:
    """The messages of the rows of a batch that are `lacking`. Those that can't be sent are known
    when all others have been given."""

    def __init__(
        self,
        lacking: Staged,
        staged: Staged,
        topic: KafkaTopic,
        values: ValueEncoder,
        *,
        bytes_max: int,
        partitions: int,
    ) -> None:
        self._lacking, self._staged, self._topic = lacking, staged, topic
        self._values = values
        self._bytes_max, self._partitions = bytes_max, partitions
        self._unfit: dict[object, UnstorableError] = {}

    def __iter__(self) -> Iterator[Message]:
        key, partitions = self._topic.message_key, self._partitions
        for message in encode_messages(
            self._lacking, key=key, values=self._values, partitions=partitions
        ):
            if message.error is not None:
                self._unfit[message.item] = message.error
            elif message.size > self._bytes_max:
                self._unfit[message.item] = UnstorableError(
                    f"its message has {count_of(message.size, 'byte')}, and the topic takes "
                    f"{self._bytes_max:,}"
                )
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
