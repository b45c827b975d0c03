"""Items of the plan, for destinations that take them one at a time."""

from __future__ import annotations

from typing import Any

from batten.plan.plan import Plan
from batten.sources.base import Source, Unavailable


class PlannedItems:
    """The keys of items, and the only item of a batch as the source gives it now."""

    def __init__(self, plan: Plan, source: Source) -> None:
        self._plan = plan
        self._source = source

    @property
    def are_single(self) -> bool:
        """Whether every batch has only one; a plan of an earlier job may have larger ones."""
        return all(segment.batch_size == 1 for segment in self._plan.segments)

    def key(self, batch: int, item: int = 0) -> str:
        """`item` is its number in the batch."""
        return self.list_keys(batch)[item]

    def list_keys(self, batch: int) -> list[str]:
        """Those of all items of the batch."""
        return self._plan.key_texts(self._plan.batch(batch))

    def load(self, batch: int) -> Any:
        """Raises what the source does where it no longer has the item."""
        wanted = self._plan.wanted(self._plan.batch(batch), 0, 1)
        (item,) = self._source.open().read(wanted)
        if isinstance(item, Unavailable):
            raise item.error
        return item
