"""The quarantined items of an output by kind of error, read within bounds.

An output may have as many quarantine files as batches. All of them take minutes; so of many files
some are chosen, always the same ones, and the page says so.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from batten.inspect.items.failure_kinds import name_kind
from batten.inspect.items.quarantined import list_quarantined_batches, read_quarantined
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.ledger.files.quarantine_file import Quarantined
from batten.model.value_class import value_class

FILES_MAX = 600
REMOTE_FILES_MAX = 60
"""Where each is a request."""
ITEMS_MAX = 20_000
BYTES_MAX = 1 << 26
EXAMPLES_MAX = 40


@value_class
class FailureGroup:
    """Items whose errors are of one kind: how many were read, and the first of them."""

    kind: str
    count: int
    examples: tuple[Quarantined, ...]


@value_class
class FailuresSeen:
    """`items` of the quarantined ones were read, from `files` of `files_all` files. `unreadable`
    are the names of files that can't be read."""

    groups: tuple[FailureGroup, ...] = ()
    items: int = 0
    files: int = 0
    files_all: int = 0
    unreadable: tuple[str, ...] = ()


def look_at_failures(place: Place, observation: Observation) -> FailuresSeen:
    """Read as much as the bounds allow."""
    batches = list_quarantined_batches(observation)
    unreadable: list[str] = []
    groups: dict[str, list[Quarantined]] = {}
    counts: dict[str, int] = {}
    files = 0
    for batch in _choose(place, observation, batches):
        if sum(counts.values()) >= ITEMS_MAX:
            break
        files += 1
        for item in read_quarantined(place, observation, unreadable, [batch]):
            kind = name_kind(item.error)
            counts[kind] = counts.get(kind, 0) + 1
            examples = groups.setdefault(kind, [])
            if len(examples) < EXAMPLES_MAX:
                examples.append(item)
    found = [
        FailureGroup(kind=kind, count=counts[kind], examples=_in_order(examples))
        for kind, examples in groups.items()
    ]
    return FailuresSeen(
        groups=tuple(sorted(found, key=lambda each: (-each.count, each.kind))),
        items=sum(counts.values()),
        files=files,
        files_all=len(batches),
        unreadable=tuple(unreadable),
    )


def _choose(place: Place, observation: Observation, batches: list[int]) -> Iterator[int]:
    """All of them, or some from everywhere."""
    most = FILES_MAX if place.storage.folder is not None else REMOTE_FILES_MAX
    chosen = batches if len(batches) <= most else random.Random(0).sample(batches, most)
    size = 0
    for batch in chosen:
        size += observation.quarantine[batch]
        if size > BYTES_MAX and batch != chosen[0]:
            return
        yield batch


def _in_order(items: list[Quarantined]) -> tuple[Quarantined, ...]:
    return tuple(sorted(items, key=lambda each: (each.batch, each.item)))
