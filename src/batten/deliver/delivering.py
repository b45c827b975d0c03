"""Gives what the ledger holds to every destination, each batch once, in the order of the plan.

The ledger is the dataset of sealed batches. When a run starts, it asks each destination itself what
it lacks. So a crash between two destinations is rolled forward, and a destination that was added
later gets everything. A record of what was delivered only proves losses (decision 0020).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from math import inf
from typing import TYPE_CHECKING, Self

from batten.errors import RefusedError
from batten.model.rules.findings import ELSEWHERE
from batten.model.words import Takes
from batten.plan.planned_items import PlannedItems
from batten.run.context import Context
from batten.run.report import Delivered
from batten.sinks.base import RejectedBatchesError

if TYPE_CHECKING:
    from batten.deliver.route import Route
    from batten.deliver.whole.applied_result import AppliedResult, ResultFile
    from batten.sinks.base import RejectedError, Sink, Staged


def _choose_route(takes: Takes) -> type[Route]:
    """Each kind is imported where a job has a destination of it."""
    match takes:
        case Takes.DATASET:
            from batten.deliver.whole.whole_file import WholeFileRoute

            return WholeFileRoute
        case Takes.ROWS:
            from batten.deliver.whole.whole_table import WholeTableRoute

            return WholeTableRoute
        case Takes.BATCHES:
            from batten.deliver.batches import BatchRoute

            return BatchRoute
        case Takes.ITEMS:
            from batten.deliver.items import ItemRoute

            return ItemRoute
        case Takes.FILES:
            from batten.deliver.files import FileRoute

            return FileRoute


class Deliverer:
    """The destinations of one run, open. Under the ledger's lock. For a dataset that is made beside
    another one, it `asks` those of the other, which have the rows that are taken over."""

    def __init__(
        self, context: Context, sinks: Sequence[Sink], *, asks: Deliverer | None = None
    ) -> None:
        self._context = context
        self._asks = asks
        # A destination that may reject an item is asked first, before others have its rows.
        self._sinks = sorted(sinks, key=lambda sink: sink.takes is not Takes.ITEMS)
        self._routes: list[Route] = []
        self._result = _find_result(context)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        try:
            for sink in self._sinks:
                takes = sink.takes
                if self._result is not None and takes is Takes.BATCHES:
                    takes = Takes.ROWS
                route = _choose_route(takes)(self._context, sink, self._result)
                self._open.callback(route.destination.close)
                self._routes.append(route)
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def know(self, items: PlannedItems) -> None:
        """Those of the plan as it is now, before the first question."""
        for route in self._routes:
            route.know(items)

    def refuse_retry(self, batches: Collection[int]) -> None:
        """Raise where a destination could not take the rows of items that are retried."""
        for route in self._routes:
            route.refuse_retry(batches)

    def refuse_changed(self, batches: Collection[int]) -> None:
        """Raise where a destination could not let go of the rows of items of these published
        batches that have changed or gone."""
        if self._asks is not None:
            self._asks.refuse_changed(batches)
        for route in self._routes:
            if kept := route.list_kept(batches):
                raise RefusedError(
                    f"Items have changed or gone, and {route.shown} holds their rows, which can't "
                    f"be told from others and taken out. The first is {route.name_batch(kept[0])}.",
                    safe="No row was changed, neither there nor in the ledger.",
                    next="Keep the rows of before, by the source's options changed='ignore' and "
                    f"removed='keep'; or {ELSEWHERE}. A table that is filled with "
                    "key=, the column of the item's key, or with mode='replace' can take them.",
                )

    def refuse_other_form(self) -> None:
        """Raise where rows would come to stand beside those of another form, as it is recorded."""
        for route in self._routes:
            route.refuse_other_form()

    def refuse_columns(self) -> None:
        """Raise where a destination can't be given columns."""
        for route in self._routes:
            if not route.can_add_columns():
                raise RefusedError(
                    f"{route.shown} ({route.kind}) has no way to be given columns.",
                    safe="Nothing was changed.",
                    next=f"Leave the new columns out; or {ELSEWHERE}.",
                )

    def refuse_fresh(self) -> None:
        """Raise where a destination could not let go of the rows of the old dataset."""
        for route in self._routes:
            if not route.can_start_anew():
                raise RefusedError(
                    f"{route.shown} holds rows of the old dataset, which can't be told from "
                    "others and taken out.",
                    safe="Nothing was changed.",
                    next="Keep them, and compute the rest with the new code: "
                    f"{self._context.wish('accept_change')}. Or {ELSEWHERE}. "
                    "Or let go of all that it has: "
                    f"empty it, with its tokens, and move {route.record} away.",
                )

    def look(self, published: Collection[int], items: PlannedItems) -> None:
        """Ask each destination which of the published batches it lacks. Changes nothing."""
        for route in self._routes:
            route.look(published, items)

    def is_behind(self, batches: int, told: Collection[str]) -> bool:
        """Whether a destination lacks something of the complete dataset of so many batches, or one
        that it is `told` to have is the job's no more."""
        is_gone = not self.list_kinds().keys() >= set(told)
        return is_gone or any(route.is_behind(batches) for route in self._routes)

    def list_kinds(self) -> dict[str, str]:
        """The kinds of the destinations, by their target."""
        return {route.target: route.kind for route in self._routes}

    def take(self, batches: Sequence[int], *, seconds: float = inf) -> Mapping[int, RejectedError]:
        """Deliver batches that have just been published, and what was lacking: all, or no more than
        takes about so long. Gives those that a destination rejects: they are withdrawn, and
        what follows them waits. Raises `RefusedError` if another one holds rows of such a
        batch: before anything is withdrawn."""
        rejected: dict[int, RejectedError] = {}
        until = time.monotonic() + seconds
        before = None
        for route in self._routes:
            route.expect(batches)
        for route in self._routes:
            with self._context.timed("deliver"):
                found = route.take(until, before, self._rehearse)
            for batch, rejection in found.items():
                self._refuse_split(route, batch, rejection)
            self.withdraw(found)
            rejected.update(found)
            before = before if route.gate is None else route.gate
        return rejected

    def _rehearse(self, batch: int) -> None:
        """Raises `RejectedError` if a destination could not take the batch: asked before the
        first of several gets it, which could not let go of it."""
        for route in self._routes if len(self._routes) > 1 else ():
            route.rehearse(batch)

    @property
    def is_lacking(self) -> bool:
        """Whether a destination could be given something now."""
        return any(route.is_lacking for route in self._routes)

    def withdraw(self, batches: Collection[int]) -> None:
        """These batches are about to be made anew."""
        for route in self._routes:
            route.withdraw(batches)

    def _refuse_split(self, rejecting: Route, batch: int, rejection: RejectedError) -> None:
        """Where a sink was added to a job whose rows are in a table, or there are two trees."""
        for route in self._routes:
            if route is not rejecting and route.holds(batch):
                key = rejecting.key_of(batch, next(iter(rejection.errors)))
                raise RefusedError(
                    f"{rejecting.shown} can't take {key}, and "
                    f"{route.shown} has it and can't let go of it: {rejection}.",
                    safe="Nothing of it was put there, and nothing was taken back.",
                    next=f"Mend the item, or the function that puts it there, then: "
                    f"{self._context.again}. Or give {rejecting.shown} a job of its own.",
                ) from rejection

    def finish(self, batches: int) -> None:
        """All of the complete dataset is at every destination when this returns. Raises
        `RejectedBatchesError` where one can't take some items: their batches are withdrawn."""
        if self._result is not None:
            self._agree_on(self._result, batches)
        for route in self._routes:
            with self._context.timed("deliver"):
                try:
                    route.finish(batches)
                except RejectedBatchesError as error:
                    for batch, rejection in error.batches.items():
                        self._refuse_split(route, batch, rejection)
                    self.withdraw(error.batches)
                    raise

    def _agree_on(self, result: AppliedResult, batches: int) -> None:
        """What the function made is there, if a destination lacks something. Where that is of
        another call, it is recorded of all that what they have is out of date: so none keeps the
        rows of an earlier one (decision 0153)."""
        if not any(route.is_behind(batches) for route in self._routes):
            return
        made = result.ensure(batches, {route.given for route in self._routes} - {""})
        for route in self._routes:
            route.expect_result(batches)
        for route in self._routes:
            if route.given not in ("", made):
                route.open_again()

    def open_again(self) -> None:
        """Record that what files hold is about to be out of date."""
        for route in self._routes:
            route.open_again()
        if self._result is not None:
            self._result.discard()

    def report(self) -> tuple[Delivered, ...]:
        return tuple(route.report() for route in self._routes)


def _find_result(context: Context) -> AppliedResult | None:
    """None where no function's table is needed, or it becomes a single file at once. Where there
    were more destinations before, it is there, and the file is one of it."""
    pipeline = context.pipeline
    if pipeline.whole is None:
        return None
    is_one_file = [sink.takes for sink in pipeline.sinks] == [Takes.DATASET]
    if is_one_file and context.folder.find(context.layout.result) is None:
        return None
    from batten.deliver.whole.applied_result import AppliedResult

    def make(context: Context, maker: ResultFile, staged: Staged) -> None:
        from batten.deliver.whole.applying import make_file

        make_file(context, maker, staged)

    return AppliedResult(context, make)


def refuse_strangers(context: Context) -> None:
    """Raise what forbids to deliver, before anything is made on disk."""
    with Deliverer(context, context.pipeline.sinks):
        return
