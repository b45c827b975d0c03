"""What is left of a batch when its work begins: staged before, or in the dataset to be replaced."""

from __future__ import annotations

from batten.drive.handing_out.open_batch import BatchLeft, left_of
from batten.drive.items_so_far import ItemsSoFar
from batten.drive.staged_before import StagedBefore
from batten.plan.plan import Plan
from batten.run.context import Context
from batten.run.found.found_dataset import FoundDataset
from batten.work.bench import Bench


class LeftToDo:
    """Of one run's batches. What is taken over tells the run of failures."""

    def __init__(
        self,
        context: Context,
        staged_before: StagedBefore,
        bench: Bench,
        so_far: ItemsSoFar,
    ) -> None:
        self._earlier = context.earlier
        self._wants_again = context.options.should_retry_quarantined
        self._staged_before = staged_before
        self._bench = bench
        self._so_far = so_far

    def find(self, batch: int) -> BatchLeft:
        """With what the dataset has of the batch that this one is to replace. No function of this
        run made that, nor of one before, so it does not count as adopted."""
        chunks, sealed = self._staged_before.find(batch)
        if sealed is not None:
            self._so_far.failures.settle(sealed)
            return BatchLeft(number=batch, sealed=sealed)
        earlier = self._earlier
        if earlier is None or batch not in earlier.batches:
            return BatchLeft(number=batch, chunks=tuple(chunks))
        answer = self._bench.reopening.take_over(
            batch, earlier.layout, tries_failed=self._wants_again
        )
        self._so_far.streak.expect(answer.count_again())
        return left_of(answer, chunks)


def count_taken_over(context: Context, dataset: FoundDataset, plan: Plan) -> int:
    """Items of batches that another dataset has, and this one not yet."""
    earlier = context.earlier
    left = earlier.batches - dataset.observation.parts.keys() if earlier else ()
    return sum(plan.batch(batch).items for batch in left)
