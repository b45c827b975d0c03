"""What destinations are known to have, held against the dataset that says it is complete."""

from __future__ import annotations

from collections.abc import Iterator

from batten.dataset.observe import Observation
from batten.model.findings import Code, Finding
from batten.model.records import Delivery
from batten.sinks.located import digest_file, locate_file
from batten.storage.base import Storage


def find_undelivered(observation: Observation, batches: int) -> Iterator[Finding]:
    """Only once a dataset is complete must its files be in their places; a table is known by what
    was recorded."""
    if observation.completion is None:
        return
    for delivery in observation.deliveries:
        target = delivery.target
        size = observation.placed.get(target)
        if delivery.batches < batches:
            evidence = f"{delivery.batches} of {batches} batches were delivered"
            yield Finding(code=Code.UNDELIVERED, path=target, evidence=evidence)
        elif delivery.is_file and size is None:
            yield Finding(code=Code.LOST_FILE, path=target, evidence="the file is gone")
        elif delivery.is_file and size != delivery.size:
            evidence = f"it has {size} bytes; {delivery.size} were written"
            yield Finding(code=Code.CHANGED_FILE, path=target, evidence=evidence)


def find_changed_files(storage: Storage, observation: Observation) -> Iterator[Finding]:
    """The files whose bytes are not those that were written; each is read."""
    for delivery in _in_place(observation):
        found, name = locate_file(storage, delivery.target)
        digest = digest_file(found, name)
        if digest != delivery.digest:
            evidence = f"its SHA-256 is {digest}, not {delivery.digest}"
            yield Finding(code=Code.CHANGED_FILE, path=delivery.target, evidence=evidence)


def _in_place(observation: Observation) -> Iterator[Delivery]:
    for delivery in observation.deliveries:
        is_whole = observation.placed.get(delivery.target) == delivery.size
        if observation.completion is not None and delivery.is_file and is_whole:
            yield delivery
