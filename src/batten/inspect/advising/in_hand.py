"""The items that were in hand when the last run was killed.

All who ask learn their numbers. Who waits until the plan is read learns their keys.
"""

from __future__ import annotations

from collections.abc import Iterator

from batten.errors import StorageError
from batten.inspect.items.plan_keys import PlanKeys
from batten.inspect.paths.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.ledger.history.runs import find_last_log, find_last_run
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.rules.accounting import PlannedBatches

_SHOWN = 8


def tell_in_hand(place: Place, observation: Observation, run: str) -> str:
    """A sentence, empty if nothing was. Ordinals are keys themselves. Other keys are in the
    plan, which Arrow reads; loading Arrow takes longer than all the rest of a diagnosis."""
    items = _list_items(place, run)
    if not items:
        return ""
    is_keyed = any(segment.is_keyed for segment in observation.segments)
    # Ordinals are keys, and these count from 0; people count from 1.
    shown = ", ".join(str(item + is_keyed) for item in items[:_SHOWN])
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    told = f"in hand when it was killed: {'item' if len(items) == 1 else 'items'} {shown}{more}"
    if not is_keyed:
        return told
    return f"{told} of the plan, counted from 1; by key: {place.command('show')}"


def list_in_hand_keys(place: Place, plan: PlannedBatches | None) -> Iterator[str]:
    """The keys of the items. Where nobody holds the lock. Reads the plan."""
    run = find_last_run(place.storage, place.layout)
    if plan is not None and run is not None and run.stop is None:
        keys = PlanKeys(place.storage, place.layout, plan)
        yield from _name_items(keys, plan, _list_items(place, run.run))


def list_live_keys(place: Place, plan: PlannedBatches, keys: PlanKeys) -> Iterator[str]:
    """The keys of what the run has in hand that is at work."""
    run = find_last_log(place.storage, place.layout)
    if run is not None and run.stop is None:
        yield from _name_items(keys, plan, _list_items(place, run.run))


def _name_items(keys: PlanKeys, plan: PlannedBatches, items: list[int]) -> Iterator[str]:
    for item in items:
        for segment in plan.segments:
            within = item - segment.first_ordinal
            if 0 <= within < segment.items:
                planned = plan.find(segment.first_batch + within // segment.batch_size)
                found = keys.find(planned) if planned is not None else None
                if found is not None:
                    yield str(found[within % segment.batch_size])


def _list_items(place: Place, run: str) -> list[int]:
    try:
        data = place.storage.read(
            place.layout.in_flight(run), bytes_max=RECORD_BYTES_MAX["in flight"]
        )
    except (FileNotFoundError, StorageError):
        return []
    from batten.executors.marks import read_in_flight

    return read_in_flight(data)
