"""What a cluster says of its topics, and topics that are made."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from batten.errors import refused_there
from batten.kafka.client_errors import error_of
from batten.kafka.connecting import not_answered, settings

if TYPE_CHECKING:
    from confluent_kafka import KafkaError
    from confluent_kafka.admin import AdminClient, OffsetSpec

Answer = TypeVar("Answer")

NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""What a broker says that gives topics no id."""

NO_OFFSET = -1
"""What is told of a time after the last message."""

DEFAULT = -1
"""As many partitions, or replicas, as the broker is set to."""

_PAUSE_SECONDS = 0.05


class Topic(NamedTuple):
    """A topic that is there. `id` is the one it was made with, empty if the broker gives none."""

    id: str
    partitions: int


class Cluster:
    """A client for questions; it connects when it is first asked."""

    def __init__(self, servers: str, config: Mapping[str, Any], timeout_seconds: float) -> None:
        self.servers = servers
        self.config = config
        self.timeout_seconds = timeout_seconds
        self._made: AdminClient | None = None
        self._said = ""

    @property
    def _admin(self) -> AdminClient:
        from confluent_kafka.admin import AdminClient

        if self._made is None:
            own: dict[str, Any] = settings(self.servers, self.config, self.timeout_seconds)
            own["error_cb"] = self._note_said
            self._made = AdminClient(own)
        return self._made

    def find_topic(self, topic: str) -> Topic | None:
        """What the topic is now; None if it is not there."""
        from confluent_kafka import KafkaError, KafkaException, TopicCollection

        # To ask for the metadata of a topic by its name may make it.
        (asked,) = self._admin.describe_topics(TopicCollection([topic])).values()
        try:
            found = self._await(asked)
        except KafkaException as raised:
            if raised.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise
        told = str(found.topic_id)
        return Topic("" if told == NO_ID else told, len(found.partitions))

    def find_ends(self, topic: str, partitions: int, *, decided: bool = False) -> dict[int, int]:
        """The offset after the last message of each partition; or that of the first one which is
        `decided` by no transaction yet."""
        from confluent_kafka import IsolationLevel
        from confluent_kafka.admin import OffsetSpec

        level = IsolationLevel.READ_COMMITTED if decided else IsolationLevel.READ_UNCOMMITTED
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        return self._list_offsets(topic, partitions, latest, isolation_level=level)

    def find_starts(self, topic: str, partitions: int) -> dict[int, int]:
        """The first offset that each partition still has."""
        from confluent_kafka.admin import OffsetSpec

        earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
        return self._list_offsets(topic, partitions, earliest)

    def find_times(self, topic: str, partitions: int, milliseconds: int) -> dict[int, int]:
        """The first offset of that time or later, of the partitions that have one."""
        from confluent_kafka.admin import OffsetSpec

        since = OffsetSpec.for_timestamp(milliseconds)
        told = self._list_offsets(topic, partitions, since, least=NO_OFFSET)
        return {partition: offset for partition, offset in told.items() if offset != NO_OFFSET}

    def _list_offsets(
        self, topic: str, partitions: int, which: OffsetSpec, *, least: int = 0, **options: Any
    ) -> dict[int, int]:
        from confluent_kafka import TopicPartition

        asked = {TopicPartition(topic, each): which for each in range(partitions)}
        answers = self._admin.list_offsets(asked, **options)
        found = {place.partition: self._await(each).offset for place, each in answers.items()}
        if min(found.values(), default=0) < least:
            # A client whose request got lost gives this in the place of an error.
            raise TimeoutError(f"no answer came about the offsets of {topic}")
        return found

    def read_setting(self, topic: str, name: str) -> str:
        """What a topic is set to; empty where this client may not know it, or the broker is too old
        to say it."""
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.admin import ConfigResource, ResourceType

        (asked,) = self._admin.describe_configs(
            [ConfigResource(ResourceType.TOPIC, topic)]
        ).values()
        try:
            found = self._await(asked).get(name)
        except KafkaException as raised:
            if raised.args[0].code() in (
                KafkaError.TOPIC_AUTHORIZATION_FAILED,
                KafkaError.UNSUPPORTED_VERSION,
                KafkaError._UNSUPPORTED_FEATURE,
            ):
                return ""
            raise
        return "" if found is None or found.value is None else str(found.value)

    def ensure_topic(self, topic: str, *, partitions: int, config: Mapping[str, str]) -> None:
        """Make it if it is not there."""
        from confluent_kafka import KafkaError, KafkaException
        from confluent_kafka.admin import NewTopic

        if self.find_topic(topic) is not None:
            return
        new = NewTopic(topic, partitions, DEFAULT, config=dict(config))
        (asked,) = self._admin.create_topics([new]).values()
        try:
            self._await(asked)
        except KafkaException as raised:
            if raised.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        self._await_known(topic)

    def _await_known(self, topic: str) -> None:
        """Of several brokers, one hears later than another that a topic was made. Raises
        `TimeoutError`."""
        from confluent_kafka import KafkaError, KafkaException

        ends_at = time.monotonic() + self.timeout_seconds
        while True:
            try:
                self.read_setting(topic, "cleanup.policy")
                if self.find_topic(topic) is not None:
                    return
            except KafkaException as raised:
                if error_of(raised).code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
            if time.monotonic() > ends_at:
                raise not_answered(self.timeout_seconds)
            time.sleep(_PAUSE_SECONDS)

    def refuse_expiring(self, topic: str, kept: str) -> None:
        """Raises `RefusedError` for a topic that may lose what is kept there, such as tokens."""
        policy = self.read_setting(topic, "cleanup.policy")
        if policy not in ("", "compact"):
            raise refused_there(
                f"The topic {topic} is to keep {kept} for ever, and has cleanup.policy={policy}.",
                "Set its cleanup.policy to compact, then run the same command again.",
            )

    def close(self) -> None:
        """Let go of the client. It may be repeated, and the cluster may be asked again."""
        self._made = None

    def _await(self, asked: Future[Answer]) -> Answer:
        from confluent_kafka import KafkaError, KafkaException

        try:
            return asked.result(self.timeout_seconds + 1)
        except (TimeoutError, KafkaException) as error:
            if (
                isinstance(error, KafkaException)
                and error_of(error).code() != KafkaError._TIMED_OUT
            ):
                raise
            self._said = ""
            # Why it got no answer is told beside: a connection that was refused, a wrong password.
            while self._admin.poll(0):
                pass
            raise not_answered(self.timeout_seconds, self._said) from error

    def _note_said(self, error: KafkaError) -> None:
        from confluent_kafka import KafkaError

        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._said = error.str().partition(" (after ")[0]


def list_made_anew(
    before: Mapping[int, int], now: Mapping[int, int], ids: Sequence[str]
) -> list[str]:
    """What tells that a topic is not the one that it was, in words. `ids` are those of before and
    of now, of which either may be empty."""
    told = ["it has another id"] if len(set(ids) - {""}) > 1 else []
    for partition, end in sorted(before.items()):
        has = now.get(partition, 0)
        if has < end:
            told.append(f"partition {partition} ends at {has}, and had {end}")
    return told
