"""What was landed of a topic, and what is there that was not: read, and nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from batten.kafka.connecting import read_config
from batten.model.disk.landed import LandedUse, find_partition
from batten.pipeline.topics.landing import (
    TopicPlace,
    find_first,
    look_at_topic,
    read_messages,
)
from batten.sources.base import SCAN_BLOCK_ITEMS, ScanBlock, Unavailable
from batten.sources.identity.keys import SourceChanged
from batten.sources.landed import LandedSource, list_landed
from batten.sources.landed_uses import is_read_by
from batten.storage.local.there import is_folder


def list_partitions(place: TopicPlace) -> list[int]:
    """Those that have a folder."""
    names = [path.name for path in place.into.glob("*") if is_folder(path)]
    return sorted(number for number in map(find_partition, names) if number is not None)


def find_landed_end(place: TopicPlace, partition: int) -> int:
    """The offset after the last message that was landed; 0 if there is none."""
    folder = place.folder(partition)
    files = list_landed(folder) if is_folder(folder) else []
    return files[-1].last + 1 if files else 0


def scan_landed(
    place: TopicPlace, partition: int, use: LandedUse | None = None, *, is_begun: bool = False
) -> Iterator[ScanBlock]:
    """`use` is what is made of it, of whichever partition, if that is to be noted; `is_begun`: it
    has a plan already."""
    folder = place.folder(partition)
    prefix = f"{partition}-"
    noted = None if use is None else replace(use, prefix=prefix)
    source = LandedSource(folder, folder=folder, use=noted, is_begun=is_begun)
    for block in source.scan():
        keys = [f"{prefix}{key}" for key in block.keys or ()]
        yield ScanBlock(count=block.count, keys=keys, positions=block.positions)


def is_partition_read_by(place: TopicPlace, partition: int, output: str, dataset: str) -> bool:
    use = LandedUse(output=output, prefix=f"{partition}-", dataset=dataset)
    return is_read_by(place.folder(partition), use)


def scan_without_landing(place: TopicPlace, until: str) -> Iterator[ScanBlock]:
    """What `scan` of the source would give after landing, in the same order."""
    place = replace(place, config=read_config(place.config))
    _, spans = look_at_topic(place, until)
    landed = list_partitions(place)
    for partition in sorted({*landed, *spans}):
        if partition in landed:
            yield from scan_landed(place, partition)
        if partition not in spans:
            continue
        span = spans[partition]
        first = find_first(place, partition, find_landed_end(place, partition), span)
        if first >= span.target:
            continue
        keys: list[str] = []
        for item in read_messages(place, partition, first, span.target):
            keys.append(f"{partition}-{item['offset']}")
            if len(keys) == SCAN_BLOCK_ITEMS:
                yield ScanBlock(count=len(keys), keys=keys, positions=[0] * len(keys))
                keys = []
        if keys:
            yield ScanBlock(count=len(keys), keys=keys, positions=[0] * len(keys))


def read_one(place: TopicPlace, partition: int, offset: int) -> Any | Unavailable:
    """The message of that offset, as it would be landed."""
    place = replace(place, config=read_config(place.config))
    for item in read_messages(place, partition, offset, offset + 1):
        return item
    return Unavailable(SourceChanged(f"the topic has no message of offset {offset} any more"))
