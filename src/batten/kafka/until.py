"""How far a topic is read in one run, so that the run ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from batten.errors import UsageError, usage_error

if TYPE_CHECKING:
    from batten.kafka.cluster import Cluster

NOW = "now"
_OFFSETS = re.compile(r"\d{1,9}:\d{1,18}(,\d{1,9}:\d{1,18})*", re.ASCII)


def read_until(text: object) -> str | datetime | dict[int, int]:
    """`now`, a time as ISO 8601 (UTC where it says no zone), or `partition:offset,…`. Raises
    `UsageError` for anything else."""
    if text == NOW:
        return NOW
    if isinstance(text, str) and _OFFSETS.fullmatch(text):
        pairs = [each.split(":") for each in text.split(",")]
        offsets = {int(partition): int(offset) for partition, offset in pairs}
        if len(offsets) < len(pairs):
            raise usage_error(
                f"until={text!r} names a partition twice.", "Give one offset for each partition."
            )
        return offsets
    try:
        told = datetime.fromisoformat(text)  # type: ignore[arg-type]
    except (ValueError, TypeError) as error:
        raise usage_error(
            f"until={text!r} is neither 'now' nor a time nor offsets.",
            "Give 'now', a time such as '2026-04-24T06:00', or offsets such as '0:120,1:98'.",
        ) from error
    return told if told.tzinfo is not None else told.replace(tzinfo=UTC)


def find_targets(cluster: Cluster, topic: str, partitions: int, until: str) -> dict[int, int]:
    """The offset before which each partition is read. None is after what is decided now."""
    told = read_until(until)
    ends = cluster.find_ends(topic, partitions, decided=True)
    if isinstance(told, Mapping):
        if unknown := sorted(set(told) - set(ends)):
            raise UsageError(
                f"until={until!r} names partition {unknown[0]}, and {topic} has {len(ends)}, from "
                "0 on.",
                safe="Nothing was read; what was landed before stays.",
                next="Name partitions that the topic has.",
            )
        return {each: min(told.get(each, 0), end) for each, end in ends.items()}
    if isinstance(told, datetime):
        # Below 0 are no times for a broker: they stand for the first and the last offset.
        since = max(0, round(1000 * told.timestamp()))
        found = cluster.find_times(topic, partitions, since)
        return {each: min(found.get(each, end), end) for each, end in ends.items()}
    return ends
