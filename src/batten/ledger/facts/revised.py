"""What the plan of a dataset in a store says of items that may change: its files, by version."""

from __future__ import annotations

from collections.abc import Iterable

from batten.model.disk.names import Layout
from batten.model.disk.records import Segment
from batten.storage.base import Entry


def list_revised(
    layout: Layout, entries: Iterable[Entry], segments: Iterable[Segment]
) -> dict[str, str]:
    """The version of each, by its name; nothing of a folder, whose lock keeps others away.
    `entries` are of the folder of the plan. What there is of other segments means nothing."""
    if not layout.is_shared:
        return {}
    own = {
        name(segment.number, segment.keys_digest)
        for segment in segments
        for name in (layout.segment_versions, layout.segment_values)
    }
    return {entry.name: entry.version for entry in entries if entry.name in own}
