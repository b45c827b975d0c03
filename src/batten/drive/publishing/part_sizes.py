"""Says once, of a new dataset, that its parts are too small or too large (decision 0129)."""

from __future__ import annotations

from collections.abc import Iterable

from batten.model.rules.part_sizes import PART_BYTES_MAX, advise_batch_size
from batten.model.telling.counts import count_of
from batten.model.telling.sizes import show_bytes
from batten.plan.plan import Plan
from batten.run.context import Context
from batten.run.found.found_dataset import FoundDataset
from batten.work.tasks import Sealed

_PARTS = 3
"""So many parts say how large the others will be."""


class FirstParts:
    """Of a dataset of parts that had fewer before this run; of another, nothing is said."""

    def __init__(self, context: Context, dataset: FoundDataset, plan: Plan) -> None:
        self._context, self._plan = context, plan
        is_of_parts = not context.layout.is_inside
        self._left = _PARTS - len(dataset.observation.parts) if is_of_parts else 0
        self._items = self._bytes = 0

    def note(self, published: Iterable[Sealed]) -> None:
        """What was published now."""
        if self._left <= 0:
            return
        for sealed in published:
            self._left -= 1
            self._items += sealed.described.items
            self._bytes += sealed.size
        if self._left <= 0:
            self._advise()

    def _advise(self) -> None:
        plan = self._plan
        wanted = advise_batch_size(
            batch_size=plan.batch_size,
            planned_items=plan.items,
            seen_items=self._items,
            seen_bytes=self._bytes,
            is_in_store=self._context.storage.folder is None,
        )
        if wanted is None:
            return
        part_bytes = self._bytes * plan.batch_size // self._items
        parts = count_of(plan.batches, "part")
        harm = "each look at them takes long"
        if part_bytes > PART_BYTES_MAX:
            harm = "each takes much memory while it is made"
        self._context.progress.note(
            f"There will be {parts} of about {show_bytes(part_bytes)}: {harm}. Better: "
            f".options(batch_size={wanted}), and one run with --fresh, which computes all anew."
        )
