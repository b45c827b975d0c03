"""The slowest items of a dataset, by what its commit records say of each batch (decision 0125)."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import nlargest

from batten.errors import StorageError
from batten.inspect.items.plan_keys import PlanKeys
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.model.disk.items.slowest import decode_slowest
from batten.model.disk.published import Published, decode_published
from batten.model.disk.records import Unreadable
from batten.model.rules.accounting import PlannedBatches
from batten.model.value_class import value_class

ITEMS_MAX = 10
RECORDS_MAX = 20_000
REMOTE_RECORDS_MAX = 60
"""Where each is a request."""


@value_class
class SlowItem:
    """An item that was in hand for so many seconds, all its tries and waits together. `key` is None
    where the plan can't be read."""

    batch: int
    item: int
    key: str | None
    seconds: float

    def name(self) -> str:
        """What it is called for people."""
        return self.key if self.key is not None else f"item {self.item} of batch {self.batch}"


@value_class
class SlowestSeen:
    """The slowest first, of `read` of `batches` batches."""

    items: tuple[SlowItem, ...] = ()
    read: int = 0
    batches: int = 0


def find_slowest(
    place: Place, observation: Observation, plan: PlannedBatches | None
) -> SlowestSeen:
    """Of the published batches, or of some from everywhere. Reads the keys of the slowest alone."""
    batches = sorted(observation.parts)
    if plan is None or not batches:
        return SlowestSeen(batches=len(batches))
    most = RECORDS_MAX if place.storage.folder is not None else REMOTE_RECORDS_MAX
    chosen = batches[:: -(-len(batches) // most)]
    found = nlargest(ITEMS_MAX, _list_recorded(place, observation, plan, chosen))
    keys = PlanKeys(place.storage, place.layout, plan)
    named = {}
    for _, batch, item in sorted(found, key=lambda each: -each[1]):
        planned = plan.find(-batch)
        own = keys.find(planned) if planned is not None else None
        named[batch, item] = None if own is None else str(own[-item])
    items = tuple(
        SlowItem(batch=-batch, item=-item, key=named[batch, item], seconds=milliseconds / 1000)
        for milliseconds, batch, item in found
    )
    return SlowestSeen(items=items, read=len(chosen), batches=len(batches))


def _list_recorded(
    place: Place, observation: Observation, plan: PlannedBatches, chosen: list[int]
) -> Iterator[tuple[int, int, int]]:
    """Milliseconds, batch and item; the numbers are negative, so that of two alike the first item
    comes first."""
    for batch in chosen:
        claim = observation.claims.single.get(batch) or _read(place, observation, batch)
        if claim is None or not claim.slowest:
            continue
        planned = plan.find(batch)
        for item, milliseconds in decode_slowest(claim.slowest):
            if planned is not None and item < planned.items:
                yield milliseconds, -batch, -item


def _read(place: Place, observation: Observation, batch: int) -> Published | None:
    """Where `COMPLETE` vouches for all parts, no record was read."""
    name = place.layout.commit(batch, observation.versions.get(batch, ""))
    try:
        return decode_published(place.storage.read(name))
    except (FileNotFoundError, StorageError, Unreadable):
        return None
