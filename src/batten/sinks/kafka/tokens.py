"""The tokens of a topic's batches, in a topic beside it that is compacted and expires nothing.

It is read with read_committed, and to its end: up to what had been sent when the reading began,
decided or not. What another has begun there and not ended is waited for. So what was read is the
truth, and nothing is guessed (decision 0141).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from batten.errors import BATCHES_KEPT, CorruptError, InconsistentError
from batten.kafka.cluster import list_made_anew
from batten.kafka.connecting import not_answered, settings
from batten.model.disk.destinations.tokens import Token
from batten.model.json_text import parse_json
from batten.model.value_class import value_class

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

    from batten.kafka.cluster import Cluster

ENDING = "-batten-tokens"
PATIENCE_SECONDS = 0.3
"""So long a token that was committed is waited for, before all are read anew."""
_POLL_SECONDS = 0.05


@value_class
class KeptToken:
    """What lies there of a batch. `ends` are the offsets after its rows, or later ones, by
    partition; `topic_id` is that of the topic that got them, empty if the broker has none."""

    digest: str
    outcomes: str
    topic_id: str
    ends: Mapping[int, int]

    def encode(self) -> bytes:
        ends = {str(partition): end for partition, end in self.ends.items()}
        value = {**vars(self), "ends": ends}
        return json.dumps(value, separators=(",", ":")).encode()


def _decode(told: Mapping[str, Any]) -> KeptToken:
    return KeptToken(
        digest=str(told["digest"]),
        outcomes=str(told["outcomes"]),
        topic_id=str(told["topic_id"]),
        ends={int(partition): int(end) for partition, end in told["ends"].items()},
    )


def encode_key(token: Token) -> bytes:
    """Under which it lies there."""
    return json.dumps([token.dataset, token.batch], separators=(",", ":")).encode()


def find_latest_ends(kept: Iterable[KeptToken]) -> dict[int, int]:
    """How far each partition had reached when the last of these batches came."""
    latest: dict[int, int] = {}
    for each in kept:
        for partition, end in each.ends.items():
            latest[partition] = max(end, latest.get(partition, 0))
    return latest


class TokenLog:
    """What is read of it so far. `found` has it by the tokens' keys."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self.name = topic + ENDING
        self.found: dict[bytes, KeptToken] = {}
        self._cluster = cluster
        self._consumer: Consumer | None = None
        self._id, self._offset = "", 0

    def list_kept(self, dataset: str) -> dict[int, KeptToken]:
        """What was read of the dataset's batches, by their numbers."""
        beginning = encode_key(Token(dataset=dataset, batch=0, digest="")).removesuffix(b"0]")
        numbers = {
            key.removeprefix(beginning).removesuffix(b"]"): kept
            for key, kept in self.found.items()
            if key.startswith(beginning)
        }
        return {int(number): kept for number, kept in numbers.items() if number.isdigit()}

    def read_to_end(self, hurry: Callable[[], None]) -> None:
        """Read what there is now. `hurry` is called when something there is undecided: it may end
        what a dead process of this name had begun. Raises `TimeoutError`."""
        found = self._cluster.find_topic(self.name)
        if found is None:
            self.forget()
            return
        self._id = found.id
        end = self._cluster.find_ends(self.name, 1)[0]
        # From the beginning: what was read before may be of another topic of that name.
        self.forget()
        if self._cluster.find_ends(self.name, 1, decided=True)[0] < end:
            hurry()
        try:
            self._read(lambda: self._offset >= end, self._cluster.timeout_seconds)
        except TimeoutError as error:
            if self._cluster.find_ends(self.name, 1, decided=True)[0] >= end:
                raise
            told = f"{error}; a transaction in {self.name} has not ended"
            raise TimeoutError(told) from error

    def refuse_another(self, target: str) -> None:
        """Raises `InconsistentError` if it is not the topic that was read: a token that went to
        another one would say nothing of the batches before."""
        found = self._cluster.find_topic(self.name)
        what = "is gone"
        if found is not None:
            now = self._cluster.find_ends(self.name, 1)
            told = list_made_anew({0: self._offset}, now, [self._id, found.id])
            if not told:
                return
            what = f"was made anew: {told[0]}"
        raise InconsistentError(
            f"The topic {self.name} {what}. It had the tokens of what {target} was given.",
            safe=f"Nothing of this batch is there; {BATCHES_KEPT}",
            next="Restore it, then run the same command again; or have all rows given again: "
            "delete those that are there and that topic, move the record in deliveries/ away, then "
            "run again.",
        )

    def await_token(self, key: bytes, digest: str) -> None:
        """Read until it is there. Raises `TimeoutError`."""

        def is_there() -> bool:
            kept = self.found.get(key)
            return kept is not None and kept.digest == digest

        try:
            self._read(is_there, min(PATIENCE_SECONDS, self._cluster.timeout_seconds))
        except TimeoutError:
            # A reader that was there before an attempt was undone may pass over what follows.
            self.forget()
            self._read(is_there, self._cluster.timeout_seconds)

    def _read(self, is_enough: Callable[[], bool], seconds: float) -> None:
        from confluent_kafka import KafkaError, KafkaException

        consumer, ends_at = self._open(), time.monotonic() + seconds
        while not is_enough():
            if time.monotonic() > ends_at:
                raise not_answered(seconds)
            message = consumer.poll(_POLL_SECONDS)
            if message is None:
                continue
            error = message.error()
            if error is None:
                self._take(message)
                self._offset = (message.offset() or 0) + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                self._offset = max(self._offset, message.offset() or 0)
            elif not error.retriable() and error.code() not in (
                KafkaError._TRANSPORT,
                KafkaError._ALL_BROKERS_DOWN,
            ):
                raise KafkaException(error)

    def _take(self, message: Message) -> None:
        key, value = message.key(), message.value()
        try:
            if isinstance(key, bytes) and isinstance(value, bytes):
                self.found[key] = _decode(parse_json(value))
            elif isinstance(key, bytes):
                # Compaction takes the token away, now or later.
                self.found.pop(key, None)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CorruptError(
                f"The topic {self.name} has at offset {message.offset()} what is no token.",
                safe=f"Nothing was changed; {BATCHES_KEPT}",
                next="Let batten alone write to that topic; or write to another topic.",
            ) from error

    def _open(self) -> Consumer:
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        if self._consumer is None:
            cluster = self._cluster
            self._consumer = Consumer(
                settings(
                    cluster.servers,
                    cluster.config,
                    cluster.timeout_seconds,
                    group_id="batten",
                    isolation_level="read_committed",
                    enable_auto_commit=False,
                    enable_partition_eof=True,
                    auto_offset_reset="error",
                    fetch_wait_max_ms=100,
                )
            )
            self._consumer.assign([TopicPartition(self.name, 0, self._offset or OFFSET_BEGINNING)])
        return self._consumer

    def forget(self) -> None:
        """Begin anew: it may be another topic by now."""
        self.close()
        self.found.clear()
        self._offset = 0

    def close(self) -> None:
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            consumer.close()
