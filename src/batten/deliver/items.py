"""A destination that takes items one at a time, and may reject each: a live tree."""

from __future__ import annotations

from collections.abc import Collection

from batten.deliver.batches import BatchRoute
from batten.errors import RefusedError
from batten.model.disk.destinations.tokens import Token
from batten.model.disk.published import Published
from batten.plan.planned_items import PlannedItems


class ItemRoute(BatchRoute):
    """Its batches have one item, and it gets those that have rows."""

    def know(self, items: PlannedItems) -> None:
        if not items.are_single:
            raise RefusedError(
                f"{self.shown} takes items one at a time, and this dataset has larger batches.",
                safe="Nothing was computed, and nothing was put there.",
                next=f"Compute all anew ({self._context.wish('fresh')}), the old one stays until "
                "the new one is complete; or write to another output.",
            )
        super().know(items)

    @property
    def gate(self) -> int:
        """What it may still reject, others don't get."""
        return self.first_lacking

    def can_add_columns(self) -> bool:
        """It has no columns."""
        return True

    def withdraw(self, batches: Collection[int]) -> None:
        """It has nothing of what was rejected or had failed, so the record must not say that it was
        given that."""
        super().withdraw(batches)
        record = self._book.find() if batches else None
        if record is not None and record.batches > min(batches):
            self._save()

    def _is_given(self, commit: Published) -> bool:
        """What was filtered or failed has no rows."""
        return bool(commit.rows)

    def _token(self, commit: Published) -> Token:
        return self._supply.token(commit, key=self.key_of(commit.batch))
