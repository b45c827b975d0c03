"""Messages of a topic, landed in files that never change: a folder for each partition.

A partition is assigned, not subscribed to. So no group of consumers is rebalanced, and what was
landed is the only progress. Offsets are told to a group as a hint for people alone (decision 0143).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import field, replace
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from batten.errors import CorruptError, InconsistentError, RefusedError, StorageError
from batten.fingerprint.secret import Secret
from batten.kafka.client_errors import Asker, translated
from batten.kafka.cluster import Cluster
from batten.kafka.connecting import not_answered, read_config, settings
from batten.kafka.until import find_targets
from batten.model.disk.bounds import build
from batten.model.disk.landed import (
    REACHED,
    REACHED_BYTES_MAX,
    ReachedOffsets,
    name_partition,
)
from batten.model.json_text import parse_json
from batten.model.value_class import value_class
from batten.pipeline.landing import land
from batten.sinks.failures import refused, unreached
from batten.sources.landed import list_landed
from batten.storage.failures import tell_reason
from batten.storage.local.folder import LocalStorage
from batten.storage.local.stand_alone import publish_file
from batten.storage.local.there import is_folder

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message

    from batten.kafka.cluster import Topic

POLL_SECONDS = 0.1
_ask_headers = methodcaller("headers")
"""If a name is not UTF-8, the client gives headers without it and an error as well. Python notices
that in a call from C alone. After a plain one, to look at them would end the process."""

_SAFE = "What was landed stays. The topic keeps the rest, as long as its retention lasts."

READER = Asker(
    unreached=partial(unreached, safe=_SAFE),
    refused=partial(refused, safe=_SAFE, remedy="Correct the topic, the servers or config=…"),
)


@value_class
class TopicPlace:
    """A topic, and the folder into which it is landed. `group` is told how far it was landed."""

    topic: str
    servers: str
    into: Path
    group: str
    config: Mapping[str, str | Secret] = field(repr=False)
    timeout_seconds: float

    @property
    def name(self) -> str:
        return f"topic {self.topic} at {self.servers}"

    def folder(self, partition: int) -> Path:
        return self.into / name_partition(partition)


def land_topic(place: TopicPlace, until: str) -> None:
    """Land what is there and was not landed, partition by partition. Raises `InconsistentError`
    where messages are gone that were not landed; all that was landed stays."""
    place = replace(place, config=read_config(place.config))
    reached, spans = look_at_topic(place, until)
    if reached != find_reached(place):
        save_reached(place, reached)
    with reading(place.name, place.config):
        for partition, span in sorted(spans.items()):
            read = _land_partition(place, partition, span, until)
            reached.offsets[partition] = max(span.before, read)
    save_reached(place, reached)


def look_at_topic(place: TopicPlace, until: str) -> tuple[Reached, dict[int, OffsetSpan]]:
    """How far it was read, and what there is to read; nothing is changed. The place has its secrets
    in it. Raises `InconsistentError` where it is not the topic that it was."""
    # First: another job may land meanwhile, and the ends are to be those of then or later.
    before = find_reached(place)
    cluster = Cluster(place.servers, place.config, place.timeout_seconds)
    try:
        with reading(place.name, place.config):
            topic = cluster.find_topic(place.topic)
            if topic is None:
                raise RefusedError(
                    f"{place.name} is not there.",
                    safe="Nothing was changed; what was landed of it stays.",
                    next="Correct the name, or make the topic, then run again.",
                )
            targets = find_targets(cluster, place.topic, topic.partitions, until)
            starts = cluster.find_starts(place.topic, topic.partitions)
            ends = cluster.find_ends(place.topic, topic.partitions)
    finally:
        cluster.close()
    reached = _begin(place, before, topic, starts)
    return reached, {
        each: OffsetSpan(reached.offsets[each], starts[each], target, ends[each])
        for each, target in targets.items()
    }


def _begin(place: TopicPlace, reached: Reached, topic: Topic, starts: Mapping[int, int]) -> Reached:
    """How far each partition was read. In a new folder that is where the topic begins now; it is
    written down before anything is landed, since what goes from there on is lost."""
    if reached.topic not in ("", place.topic):
        raise RefusedError(
            f"{place.into} has what was landed of another topic, {reached.topic}.",
            safe="Nothing was changed; what was landed stays.",
            next=f"Land {place.topic} into a folder of its own: into=…",
        )
    if len({reached.id, topic.id} - {""}) > 1:
        raise _made_anew(place, "it has another id")
    if any(partition not in starts for partition in reached.offsets):
        told = f"it has {topic.partitions} partitions, and had {max(reached.offsets) + 1}"
        raise _made_anew(place, told)
    # A partition that came later began at 0.
    first = {
        partition: 0 if reached.offsets or _has_landed(place, partition) else start
        for partition, start in starts.items()
    }
    return Reached(topic.id or reached.id, {**first, **reached.offsets}, place.topic)


def _has_landed(place: TopicPlace, partition: int) -> bool:
    folder = place.folder(partition)
    return is_folder(folder) and bool(list_landed(folder))


class OffsetSpan(NamedTuple):
    """Of a partition: how far it was read `before`, what it still has, and how far it is read."""

    before: int
    start: int
    target: int
    end: int


class Reached(NamedTuple):
    """The topic's id and name, and how far each partition was read. What lies between the last
    landed message and there was no message for readers: ends of transactions, or what was undone.
    A crash may leave it behind what was landed, and never before."""

    id: str
    offsets: dict[int, int]
    topic: str


def find_reached(place: TopicPlace) -> Reached:
    """What was saved last; nothing in a new folder."""
    try:
        data = LocalStorage(place.into).read(REACHED, bytes_max=REACHED_BYTES_MAX)
        told: ReachedOffsets = build(ReachedOffsets, parse_json(data))
        offsets = {int(each): offset for each, offset in told.offsets.items()}
        return Reached(told.id, offsets, told.topic)
    except FileNotFoundError:
        return Reached("", {}, "")
    except (StorageError, ValueError) as error:
        raise CorruptError(
            f"{place.into / REACHED} can't be read: {tell_reason(error)}.",
            safe="Nothing was changed; what was landed stays.",
            next="Restore it from a copy; or delete it: what was landed tells nearly the same.",
        ) from error


def save_reached(place: TopicPlace, reached: Reached) -> None:
    offsets = {str(partition): offset for partition, offset in reached.offsets.items()}
    place.into.mkdir(parents=True, exist_ok=True)
    with publish_file(place.into / REACHED, "w") as file:
        json.dump({"id": reached.id, "offsets": offsets, "topic": reached.topic}, file)


def _land_partition(place: TopicPlace, partition: int, span: OffsetSpan, until: str) -> int:
    """Gives how far it was read."""
    consumer: list[Consumer] = []

    def stream(landed: int) -> Iterator[Any]:
        # Another job may have landed there since the topic was looked at.
        now = span if landed <= span.end else look_at_topic(place, until)[1][partition]
        first = find_first(place, partition, landed, now)
        if first < span.target:
            consumer.append(_open(place, partition, first))
            yield from _read_or_name_lost(place, partition, consumer[0], span.target, until, first)

    def tell(offset: int) -> None:
        if place.group and consumer:
            _tell_group(place, consumer[0], partition, offset)

    try:
        land(
            stream,
            into=place.folder(partition),
            offset=lambda item: int(item["offset"]),
            acknowledge=tell,
        )
    finally:
        for each in consumer:
            each.close()
    return span.target


def _read_or_name_lost(
    place: TopicPlace, partition: int, consumer: Consumer, target: int, until: str, first: int
) -> Iterator[Any]:
    """Raises `InconsistentError` if the topic loses what comes next while it is read."""
    from confluent_kafka import KafkaError, KafkaException

    try:
        for item in _read(place, consumer, target):
            first = first if item is None else item["offset"] + 1
            yield item
    except KafkaException as raised:
        if raised.args[0].code() == KafkaError._AUTO_OFFSET_RESET:
            find_first(place, partition, first, look_at_topic(place, until)[1][partition])
        raise


def find_first(place: TopicPlace, partition: int, landed: int, span: OffsetSpan) -> int:
    """The offset from which on it is to be read, if it was landed up to there. Raises
    `InconsistentError` where it lacks what comes next."""
    offset = max(landed, span.before)
    if offset < span.start:
        raise _lost(place, partition, offset, span.start)
    if offset > span.end:
        told = f"partition {partition} ends at {span.end}, and was landed up to {offset - 1}"
        raise _made_anew(place, told)
    return max(landed, span.start)


def read_messages(place: TopicPlace, partition: int, first: int, target: int) -> Iterator[Any]:
    """The items from `first` on, before `target`. The place has its secrets in it."""
    with reading(place.name, place.config):
        consumer = _open(place, partition, first)
        try:
            for item in _read(place, consumer, target):
                if item is not None:
                    yield item
        finally:
            consumer.close()


def _open(place: TopicPlace, partition: int, offset: int) -> Consumer:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        settings(
            place.servers,
            place.config,
            place.timeout_seconds,
            group_id=place.group or "batten",
            isolation_level="read_committed",
            enable_auto_commit=False,
            enable_partition_eof=True,
            auto_offset_reset="error",
        )
    )
    consumer.assign([TopicPartition(place.topic, partition, offset)])
    return consumer


def _read(place: TopicPlace, consumer: Consumer, target: int) -> Iterator[Any]:
    """The messages before that offset. None where nothing comes at the moment."""
    from confluent_kafka import KafkaError, KafkaException

    silent = 0.0
    while True:
        message = consumer.poll(POLL_SECONDS)
        error = None if message is None else message.error()
        if message is None or (error is not None and error.retriable()):
            silent += POLL_SECONDS
            if silent > place.timeout_seconds:
                raise not_answered(place.timeout_seconds)
            yield None
        elif error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            if (message.offset() or 0) >= target:
                return
        else:
            silent = 0.0
            offset = message.offset() or 0
            if offset >= target:
                return
            yield _as_item(message, offset)
            if offset == target - 1:
                return


def _as_item(message: Message, offset: int) -> dict[str, Any]:
    return {
        "offset": offset,
        "time": message.timestamp()[1],
        "key": pack(message.key()),
        "value": pack(message.value()),
        "headers": _pack_headers(message),
    }


def _pack_headers(message: Message) -> list[list[Any]] | None:
    """None where the client can't give them, since a name is not UTF-8."""
    try:
        headers = _ask_headers(message) or []
    except (SystemError, UnicodeDecodeError):
        return None
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [[name, pack(value)] for name, value in pairs]


def pack(data: bytes | str | None) -> Any:
    """Bytes as JSON can hold them: as text where they are text."""
    if data is None or isinstance(data, str):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def unpack(packed: Any) -> bytes | None:
    """What `pack` was given."""
    if packed is None:
        return None
    if isinstance(packed, dict):
        return base64.b64decode(packed["base64"], validate=True)
    return str(packed).encode()


def _tell_group(place: TopicPlace, consumer: Consumer, partition: int, offset: int) -> None:
    from confluent_kafka import KafkaException, TopicPartition

    # A hint for those who watch the group; what was landed is the progress.
    with suppress(KafkaException):
        told = [TopicPartition(place.topic, partition, offset)]
        consumer.commit(offsets=told, asynchronous=False)


def _lost(place: TopicPlace, partition: int, offset: int, start: int) -> InconsistentError:
    return InconsistentError(
        f"{place.name} has no more the offsets {offset} to {start - 1} of partition {partition}, "
        "which were not landed: its retention has passed.",
        safe=f"All that was landed before stays, in {place.folder(partition)}.",
        next="Get what is lost from elsewhere; or begin in another folder, into=…, which has what "
        "the topic has now.",
    )


def _made_anew(place: TopicPlace, told: str) -> InconsistentError:
    return InconsistentError(
        f"{place.name} was made anew, or has lost messages: {told}.",
        safe=f"All that was landed before stays, in {place.into}.",
        next="Restore it; or begin in another folder: into=…",
    )


def reading(topic: str, hidden: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Raises batten's errors for the client's; `hidden` are settings whose values are taken out."""
    return translated("Reading", topic, hidden, READER)
