"""Which published batches were made of other versions of their items than the plan wants."""

from __future__ import annotations

from collections.abc import Set

from batten.deliver.delivering import Deliverer
from batten.ledger.contents import load_commit
from batten.model.telling.counts import count_of
from batten.plan.plan import Plan
from batten.plan.source_look import SourceLook
from batten.run.context import Context
from batten.run.found_dataset import FoundDataset


class PublishedVersions:
    """The published batches of a dataset, and of which versions of their items they are."""

    def __init__(self, context: Context, dataset: FoundDataset) -> None:
        self._context = context
        self._observation = dataset.observation

    def revision_of(self, batch: int) -> int:
        """0 where it has no part."""
        observation = self._observation
        if batch not in observation.parts:
            return 0
        claim = observation.claims.get(batch)
        if claim is None:
            context = self._context
            claim = load_commit(context.storage, context.layout, batch, context.path)
        return claim.revision

    def allow(self, changed: Set[int], deliverer: Deliverer) -> None:
        """Raises `RefusedError` where a destination could not let go of the rows of these."""
        earlier = self._context.earlier
        there = self._observation.parts.keys() | (earlier.batches if earlier else frozenset())
        deliverer.refuse_changed(there & changed)

    def find_outdated(self, plan: Plan) -> list[int]:
        """The batches of which items have changed or gone since their parts were made."""
        return [
            batch
            for batch in self._list_revised(plan)
            if plan.revision(plan.batch(batch)) > self.revision_of(batch)
        ]

    def _list_revised(self, plan: Plan) -> list[int]:
        """Published batches in which an item has ever changed."""
        revised = []
        for segment in plan.segments:
            kept = plan.versions(segment)
            if kept is None or not kept.revisions:
                continue
            size = segment.batch_size
            for index in range(segment.batches):
                batch = segment.first_batch + index
                own = kept.revisions[index * size : (index + 1) * size]
                if any(own) and batch in self._observation.parts:
                    revised.append(batch)
        return revised


def tell_versions(context: Context, seen: SourceLook) -> None:
    """For people, what the look at the source could not find out."""
    count = seen.differences.other_kinds
    if count:
        context.progress.note(
            f"{count_of(count, 'item')} had versions of another kind (changed=): whether they "
            "changed since can't be told. From now on it can."
        )
