"""The messages of a topic as items. Planning lands what is there; workers read what was landed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from batten.errors import usage_error
from batten.jobs.bounds import check_seconds
from batten.jobs.loading.job_folder import current_folder, show_path
from batten.kafka.connecting import copy_config, list_secrets, refuse_unusable
from batten.kafka.until import NOW, read_until
from batten.model.disk.landed import LandedUse
from batten.model.json_text import parse_json
from batten.optional import ensure_optional
from batten.pipeline.pipeline import Pipeline
from batten.pipeline.topics.landing import TopicPlace, land_topic, unpack
from batten.pipeline.topics.looking import (
    find_landed_end,
    is_partition_read_by,
    list_partitions,
    read_one,
    scan_landed,
    scan_without_landing,
)
from batten.sources.base import ItemsWanted, ScanBlock, Unavailable
from batten.sources.landed import LandedReader
from batten.storage.addresses import local_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batten.fingerprint.secret import Secret

Format = Literal["json", "text", "bytes"]
FORMATS = ("json", "text", "bytes")


class KafkaSource:
    """The keys are `partition-offset`."""

    is_keyed = True
    is_counted = False
    drops_gone = False
    has_kinds = False

    def __init__(
        self,
        place: TopicPlace,
        written: str,
        until: str,
        format: Format,
        *,
        lands: bool = True,
        use: LandedUse | None = None,
        is_begun: bool = False,
    ) -> None:
        self._lands = lands
        self._use, self._is_begun = use, is_begun
        self._place = place
        self._written = written
        self._until = until
        self._format = format

    @property
    def identity(self) -> dict[str, str]:
        return {"source": f"kafka {self._place.topic} landed {self._written} {self._format}"}

    @property
    def inputs(self) -> Sequence[Path]:
        return ()

    @property
    def secrets(self) -> tuple[str, ...]:
        """The environment variables that landing needs."""
        return list_secrets(self._place.config)

    def without(self, made: Sequence[Path]) -> KafkaSource:
        """The same: nothing that a job makes may lie where the topic is landed."""
        place = os.path.join(os.path.realpath(self._place.into), "")
        for path in made:
            if os.path.join(os.path.realpath(path), "").startswith(place):
                raise usage_error(
                    f"{show_path(path)} lies where the topic is landed.",
                    "Write to a place of its own.",
                )
        return self

    def count_items(self) -> int | None:
        return None

    def scan(self) -> Iterator[ScanBlock]:
        ensure_optional("confluent_kafka", "from_kafka()", package="'batten[kafka]'")
        if not self._lands:
            yield from scan_without_landing(self._place, self._until)
            return
        land_topic(self._place, self._until)
        for partition in list_partitions(self._place):
            yield from scan_landed(self._place, partition, self._use, is_begun=self._is_begun)

    def with_until(self, until: str) -> KafkaSource:
        """The same, read up to there."""
        read_until(until)
        return self._replaced(until=until)

    def with_reader(self, output: str, dataset: str, *, is_begun: bool) -> KafkaSource:
        """The same, which notes before it is read that this output is made of it."""
        use = LandedUse(output=output, prefix="", dataset=dataset)
        return self._replaced(use=use, is_begun=is_begun)

    def is_read_by(self, output: str, dataset: str) -> bool:
        """Whether it was noted at some partition that this dataset is made of it."""
        return any(
            is_partition_read_by(self._place, partition, output, dataset)
            for partition in list_partitions(self._place)
        )

    def without_changes(self) -> KafkaSource:
        """The same, which lands nothing: it reads what was not landed from the topic."""
        return self._replaced(lands=False)

    def _replaced(self, **changed: Any) -> KafkaSource:
        given = {
            "until": self._until,
            "lands": self._lands,
            "use": self._use,
            "is_begun": self._is_begun,
            **changed,
        }
        return KafkaSource(self._place, self._written, format=self._format, **given)

    def open(self) -> KafkaReader:
        if self._lands:
            return KafkaReader(self._place, self._format)
        return TopicReader(self._place, self._format)


class KafkaReader:
    """Reads what was landed, and asks no broker."""

    def __init__(self, place: TopicPlace, format: Format) -> None:
        self._place = place
        self._format = format
        self._readers: dict[int, LandedReader] = {}

    def read(self, wanted: ItemsWanted) -> Iterator[Any | Unavailable]:
        for key, position in zip(wanted.keys or (), wanted.positions or (), strict=True):
            partition, _, offset = key.partition("-")
            item = self._read(int(partition), int(offset), position)
            yield item if isinstance(item, Unavailable) else self._decode(int(partition), item)

    def _read(self, partition: int, offset: int, position: int) -> Any | Unavailable:
        one = ItemsWanted(first_ordinal=0, count=1, keys=[str(offset)], positions=[position])
        return next(iter(self._open(partition).read(one)))

    def _open(self, partition: int) -> LandedReader:
        if partition not in self._readers:
            self._readers[partition] = LandedReader(self._place.folder(partition))
        return self._readers[partition]

    def _decode(self, partition: int, item: Any) -> dict[str, Any] | Unavailable:
        try:
            decoded = {
                "partition": partition,
                "offset": item["offset"],
                "time": item["time"],
                "key": unpack(item["key"]),
                "value": self._decode_value(unpack(item["value"])),
                "headers": _unpack_headers(item["headers"]),
            }
        except (ValueError, LookupError, TypeError) as error:
            return Unavailable(error)
        return decoded

    def _decode_value(self, value: bytes | None) -> Any:
        if value is None or self._format == "bytes":
            return value
        return parse_json(value) if self._format == "json" else value.decode()


def _unpack_headers(packed: Any) -> dict[str, bytes | None]:
    if packed is None:
        raise ValueError("its headers can't be read: the name of one is not UTF-8")
    return {name: unpack(value) for name, value in packed}


class TopicReader(KafkaReader):
    """Reads from the topic what was not landed, one message at a time: for a look at a few."""

    def _read(self, partition: int, offset: int, position: int) -> Any | Unavailable:
        if offset < find_landed_end(self._place, partition):
            return super()._read(partition, offset, position)
        return read_one(self._place, partition, offset)


def from_kafka(
    topic: str,
    *,
    servers: str,
    into: str | os.PathLike[str],
    until: str = NOW,
    format: Format = "json",
    group: str = "",
    config: Mapping[str, str | Secret] | None = None,
    timeout_seconds: float = 60.0,
) -> Pipeline:
    """Begin with the messages of a topic of Kafka, partition by partition.

    A run first lands them: it writes what is new into files that never change. Then it works from
    these files, and asks no broker. The key of an item is `partition-offset`. An item is a dict:
    `partition`, `offset`, `time` (milliseconds since 1970), `key` (bytes), `value`, and `headers`
    by name, as bytes. Only committed messages are read.

    Args:
        topic: The name of the topic.
        servers: The brokers, as `host:port`, several with commas between them.
        into: The folder into which the messages are landed, with a folder for each partition.
            Don't delete from it by hand: it tells how far the topic was read. `batten clean
            --landed` deletes what is worked on.
        until: Where the run ends: "now", the default, at what is there when it begins; or a time
            as ISO 8601, in UTC if it says no zone; or offsets such as "0:120,1:98", which are the
            first that are not read.
        format: How values are given: "json", the default, parsed; "text"; or "bytes". An item
            that can't be parsed is quarantined.
        group: A group of consumers that is told how far was landed. It is a hint for those who
            watch the group; batten never reads it. By default none is told.
        config: Further settings of the client, as for `write_kafka`. By default there are none.
        timeout_seconds: How long the broker may say nothing, in seconds; 60 by default.

    Returns:
        A pipeline without steps.

    Raises:
        UsageError: A name, a format or `until` can't be used. Nothing was read.
    """
    if format not in FORMATS:
        raise usage_error(
            f"format={format!r} is none of {', '.join(map(repr, FORMATS))}.",
            'Give one of them. A step can decode "bytes", such as those of Avro.',
        )
    given = copy_config(config)
    refuse_unusable(topic, servers, given)
    read_until(until)
    check_seconds("timeout_seconds", timeout_seconds)
    folder, written = current_folder(), local_path(into)
    place = TopicPlace(
        topic=topic,
        servers=servers,
        into=Path(folder, written).absolute(),
        group=group,
        config=given,
        timeout_seconds=timeout_seconds,
    )
    return Pipeline(source=KafkaSource(place, written, until, format), folder=folder)
