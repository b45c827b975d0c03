"""Which published batches were made of other versions of their items than the plan wants."""

from __future__ import annotations

from collections.abc import Iterator, Set

from batten.deliver.delivering import Deliverer
from batten.model.disk.items.versions import GONE
from batten.model.disk.outcomes import find_places
from batten.model.disk.published import Published
from batten.model.telling.counts import count_of
from batten.model.words import Outcome
from batten.plan.plan import Plan
from batten.plan.source_look import SourceLook
from batten.run.context import Context
from batten.run.found.found_dataset import FoundDataset


class PublishedVersions:
    """The published batches of a dataset, and of which versions of their items they are."""

    def __init__(self, context: Context, dataset: FoundDataset) -> None:
        self._context = context
        self._observation = dataset.observation

    def revision_of(self, batch: int) -> int:
        """0 where it has no part."""
        return self._load(batch).revision if batch in self._observation.parts else 0

    def _load(self, batch: int) -> Published:
        claim = self._observation.claims.get(batch)
        if claim is None:
            from batten.ledger.contents import load_commit

            context = self._context
            of = self._observation.versions.get(batch, "")
            claim = load_commit(context.storage, context.layout, batch, context.path, of=of)
        return claim

    def allow(self, changed: Set[int], deliverer: Deliverer) -> None:
        """Raises `RefusedError` where a destination could not let go of the rows of these."""
        earlier = self._context.earlier
        there = self._observation.parts.keys() | (earlier.batches if earlier else frozenset())
        deliverer.refuse_changed(there & changed)

    def find_outdated(self, plan: Plan, seen: SourceLook) -> list[int]:
        """The batches of which items have changed, gone or come back since their parts were made.
        Most are told by a revision; those of items without a key are not (decision 0098)."""
        parts = self._observation.parts
        touched = {plan.batch_of_item(item) for item in seen.differences.items}
        candidates = {*self._list_revised(plan), *touched, *self._list_removed(plan)}
        return [
            batch
            for batch in sorted(each for each in candidates if each is not None and each in parts)
            if plan.revision(plan.batch(batch)) > self.revision_of(batch)
            or find_places(self._load(batch).outcomes, Outcome.REMOVED)
            != plan.find_gone(plan.batch(batch))
        ]

    def _list_revised(self, plan: Plan) -> Iterator[int]:
        """Batches in which an item has ever changed."""
        for segment in plan.segments:
            kept = plan.versions(segment)
            if kept is None or not kept.revisions:
                continue
            size = segment.batch_size
            for index in range(segment.batches):
                if any(kept.revisions[index * size : (index + 1) * size]):
                    yield segment.first_batch + index

    def _list_removed(self, plan: Plan) -> Iterator[int]:
        """Batches with items that are gone, by the plan or by the part. Of a complete dataset they
        agree, but for what this run has seen."""
        if self._observation.completion is not None:
            return
        yield from self._observation.claims.find_removed()
        for segment in plan.segments:
            kept = plan.versions(segment)
            if kept is not None and GONE in kept.versions:
                batches = range(segment.first_batch, segment.first_batch + segment.batches)
                yield from (batch for batch in batches if plan.find_gone(plan.batch(batch)))


def tell_versions(context: Context, seen: SourceLook) -> None:
    """For people, what the look at the source could not find out."""
    count = seen.differences.other_kinds
    if count:
        context.progress.note(
            f"{count_of(count, 'item')} had versions of another kind (changed=): whether they "
            "changed since can't be told. From now on it can."
        )
