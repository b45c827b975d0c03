"""Messages that a topic takes, and items whose messages are too large for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batten.errors import RefusedError
from batten.model.rules.outcomes import decode_outcomes
from batten.sinks.base import RejectedError, Staged
from batten.sinks.kafka.messages import Message, encode_messages
from batten.sinks.rows.rejecting import UnstorableError

if TYPE_CHECKING:
    import pyarrow as pa

    from batten.sinks.kafka.cluster import Cluster
    from batten.sinks.kafka.topic import KafkaTopic

_DEFAULT_BYTES_MAX = 1_048_588
"""What a broker takes that was told nothing else."""


def find_bytes_max(cluster: Cluster, topic: str) -> int:
    """The largest message that the topic takes, or what brokers take if that is not known."""
    if cluster.find_topic(topic) is None:
        return _DEFAULT_BYTES_MAX
    said = cluster.read_setting(topic, "max.message.bytes")
    return int(said) if said.isdecimal() else _DEFAULT_BYTES_MAX


def encode_fitting(
    lacking: Staged, staged: Staged, sink: KafkaTopic, *, bytes_max: int, partitions: int
) -> list[Message]:
    """The messages of the rows that are lacking. Raises `RejectedError` for the items that have one
    that is too large, by their numbers in the batch; of a whole table `RefusedError`."""
    made = encode_messages(lacking, key=sink.message_key, format=sink.format, partitions=partitions)
    messages = list(made)
    large = {each.item: each for each in messages if each.size > bytes_max}
    if not large:
        return messages
    errors = {item: _tell(large[key], bytes_max) for item, key in _number(staged) if key in large}
    if staged.is_whole:
        raise RefusedError(
            f"The topic {sink.topic} can't hold a row: {next(iter(errors.values()))}.",
            safe="Nothing was changed there; all rows are kept in the ledger.",
            next="Raise the topic's max.message.bytes, or make smaller rows, then run again.",
        )
    raise RejectedError(errors)


def refuse_unknown_key(target: str, schema: pa.Schema, key: str) -> None:
    """Raises `RefusedError` if rows have no such column."""
    if key and key not in schema.names:
        raise RefusedError(
            f"{target} is to get messages by their key, and rows have no column {key!r}.",
            safe="Nothing was changed there.",
            next="Name a column that rows have: key=…",
        )


def _tell(message: Message, bytes_max: int) -> Exception:
    return UnstorableError(
        f"its message has {message.size:,} bytes, and the topic takes {bytes_max:,}"
    )


def _number(staged: Staged) -> list[tuple[int, object]]:
    """The numbers of the items with rows, and the items' values in the first column."""
    numbers = [
        number for number, each in enumerate(decode_outcomes(staged.outcomes)) if each.has_rows
    ]
    seen = list(dict.fromkeys(key for rows in staged.read() for key in rows.column(0).to_pylist()))
    return list(zip(numbers, seen, strict=True))
