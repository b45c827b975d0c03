"""What the calls of each item used, by its key."""

from __future__ import annotations

from typing import Any

from batten.inspect.items.plan_keys import PlanKeys
from batten.inspect.paths.output_path import Place
from batten.ledger.history.usage import sum_by_item
from batten.model.disk.runs.usage_lines import Amounts
from batten.model.rules.accounting import PlannedBatches
from batten.model.rules.usage import as_numbers
from batten.model.value_class import value_class


@value_class
class ItemUsage:
    """All that the calls of an item used, in all runs, whatever became of the answers. `key` is
    None where the plan can't be read."""

    item: int
    key: str | None
    used: Amounts

    def to_json(self) -> dict[str, Any]:
        """As `show --usage --json` lists it."""
        return {"item": self.item, "key": self.key, "used": as_numbers(self.used)}


def list_usage(place: Place, plan: PlannedBatches | None) -> list[ItemUsage]:
    """In the order of the plan. Reads the plan and what all runs told."""
    sums = sum_by_item(place.storage, place.layout)
    keys = PlanKeys(place.storage, place.layout, plan) if plan is not None else None
    return [
        ItemUsage(item=item, key=_find_key(keys, plan, item), used=sums[item])
        for item in sorted(sums)
    ]


def _find_key(keys: PlanKeys | None, plan: PlannedBatches | None, item: int) -> str | None:
    if plan is None or keys is None:
        return None
    for segment in plan.segments:
        within = item - segment.first_ordinal
        if 0 <= within < segment.items:
            planned = plan.find(segment.first_batch + within // segment.batch_size)
            found = keys.find(planned) if planned is not None else None
            return None if found is None else str(found[within % segment.batch_size])
    return None
