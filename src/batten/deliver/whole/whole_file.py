"""A destination that takes the whole dataset as one file, when that is complete."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import inf

from batten.deliver.route import Route
from batten.deliver.whole.applied_result import AppliedResult
from batten.model.disk.destinations.tokens import Token, TokenState
from batten.run.context import Context
from batten.sinks.base import RejectedError, Sink


class WholeFileRoute(Route):
    """A file of all rows. It is made anew, so nothing is lost with what it has."""

    def __init__(self, context: Context, sink: Sink, result: AppliedResult | None = None) -> None:
        super().__init__(context, sink, result)
        self._untried: set[int] = set()

    def expect(self, batches: Sequence[int]) -> None:
        if self._capabilities.may_reject:
            self._untried.update(batches)
        if batches and not self._is_prepared:
            # What the file's format can't hold is told with the first batch, not with the last.
            self._prepare(self._supply.read_schema(batches[0]))

    def refuse_retry(self, batches: Collection[int]) -> None:
        """It takes whatever there is at the end."""

    def rehearse(self, batch: int) -> None:
        """Most formats hold a row or not by the columns, which `expect` sees to."""
        if batch in self._untried:
            commit = self._supply.load_commit(batch)
            self.destination.rehearse(self._supply.stage(commit, self._supply.token(commit)))
            self._untried.discard(batch)

    def take(
        self,
        until: float = inf,
        before: int | None = None,
        rehearse: Callable[[int], None] = lambda batch: None,
    ) -> dict[int, RejectedError]:
        """Nothing is put there before the end, but what it can't hold is told now."""
        for batch in sorted(self._untried):
            try:
                self.rehearse(batch)
            except RejectedError as error:
                return {batch: error}
        return {}

    def withdraw(self, batches: Collection[int]) -> None:
        self._untried.difference_update(batches)

    def is_behind(self, batches: int) -> bool:
        record = self._book.find()
        if record is None or record.batches != batches or not record.content:
            return True
        token = self._supply.token_of_all(batches)
        if self._result is not None:
            token = Token(dataset=token.dataset, batch=None, digest=record.content)
        return self.destination.lookup([token]) != [TokenState.SAME]

    def finish(self, batches: int) -> None:
        if not self.is_behind(batches):
            return
        staged = self._supply.stage_all(batches)
        if self._result is not None:
            self._publish(self._result.stage(staged))
        elif self._context.pipeline.whole is None:
            self._publish(staged)
        else:
            from batten.deliver.whole.applying import publish_applied

            publish_applied(self._context, self.destination, staged)
