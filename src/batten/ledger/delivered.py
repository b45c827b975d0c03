"""What destinations are known to have, held against the dataset that says it is complete."""

from __future__ import annotations

from collections.abc import Iterator

from batten.errors import StorageError
from batten.ledger.facts.observation import Observation, list_expected
from batten.model.disk.destinations.delivery import Delivery
from batten.model.rules.findings import Code, Finding
from batten.model.telling.sizes import tell_other_size
from batten.model.words import FILE_KINDS
from batten.sinks.located import locate_read
from batten.storage.base import Store
from batten.storage.digests import find_digest
from batten.storage.failures import find_obstacle


def find_undelivered(observation: Observation, batches: int) -> Iterator[Finding]:
    """The files of a dataset must be in their places only once it is complete. A table is known by
    its record."""
    if observation.completion is None:
        return
    yield from _tell_unrecorded(observation)
    unseen = observation.unseen
    for delivery in observation.deliveries:
        target = delivery.target
        size = observation.placed.get(target)
        if delivery.batches < batches:
            evidence = f"{delivery.batches} of {batches} batches were delivered"
            if delivery.is_file:
                evidence = "it is of an earlier dataset, and not made of this one yet"
            kind = delivery.shown_as
            yield Finding(code=Code.UNDELIVERED, path=target, evidence=evidence, kind=kind)
        elif target in unseen or not delivery.is_file:
            continue
        elif size is None:
            yield Finding(code=Code.LOST_FILE, path=target, evidence="the file is gone")
        elif size != delivery.size:
            evidence = f"it {tell_other_size(size, delivery.size)}"
            yield Finding(code=Code.CHANGED_FILE, path=target, evidence=evidence)


def _tell_unrecorded(observation: Observation) -> Iterator[Finding]:
    """Of what a complete dataset had given. The record of a file comes before the file, and both
    before the dataset is complete."""
    told = {finding.code for finding in observation.findings}
    known = {delivery.target for delivery in observation.deliveries}
    completion = observation.completion
    if completion is None or told & _UNREAD:
        return
    folder = f"{observation.layout.deliveries}/"
    unseen = observation.unseen
    for target, kind in list_expected(observation.layout, observation.config, completion).items():
        if target in known or target in unseen:
            continue
        if target in observation.placed:
            evidence = f"its record in {folder} is gone, so it may be any file"
            yield Finding(code=Code.LOST_DELIVERY, path=target, evidence=evidence)
        elif kind in FILE_KINDS:
            evidence = "the file is gone, and what was recorded of it"
            yield Finding(code=Code.LOST_FILE, path=target, evidence=evidence)
        elif completion.rows:
            evidence = f"what it was given is recorded no more: its record in {folder} is gone"
            yield Finding(code=Code.UNDELIVERED, path=target, evidence=evidence, kind=kind)


_UNREAD = frozenset({Code.UNREADABLE_DELIVERY, Code.UNREADABLE_FOLDER, Code.UNREADABLE_FILE})
"""If one of these was found, there may be a record that was not read."""


def find_changed_files(storage: Store, observation: Observation) -> Iterator[Finding]:
    """The files whose bytes are not those that were written; each is read. Before the accounts are
    closed a file may still be the one that is replaced: the record comes first."""
    for delivery in list_in_place(observation):
        try:
            digest = find_digest(*locate_read(storage, delivery.target))
        except StorageError as error:
            if not (obstacle := find_obstacle(error)):
                raise
            evidence = f"can't be looked at: {obstacle}"
            yield Finding(code=Code.NOT_LOOKED_AT, path=delivery.target, evidence=evidence)
            continue
        is_on_its_way = observation.completion is None and digest == delivery.replaces
        if digest != delivery.digest and not is_on_its_way:
            evidence = f"its SHA-256 is {digest}, not {delivery.digest}"
            yield Finding(code=Code.CHANGED_FILE, path=delivery.target, evidence=evidence)


def list_in_place(observation: Observation) -> Iterator[Delivery]:
    """The files that are there. Those of a complete dataset are as large as they were written."""
    for delivery in observation.deliveries:
        size = observation.placed.get(delivery.target)
        is_whole = size == delivery.size or observation.completion is None
        if delivery.is_file and size is not None and is_whole:
            yield delivery
