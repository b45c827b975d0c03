"""One destination of a run: what of the ledger it lacks, and how it is given that.

How depends on what the destination takes: the whole dataset as a file, batches, or items (decision
0083).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from batten.deliver.recorded import RecordedDestination
from batten.deliver.supply import Supply
from batten.deliver.whole.applied_result import AppliedResult
from batten.errors import BATCHES_KEPT, InconsistentError, StorageError
from batten.jobs.loading.job_folder import show_path
from batten.model.disk.destinations.delivery import AT_LEAST_ONCE, ONCE
from batten.model.disk.destinations.targets import PACKAGED
from batten.model.disk.destinations.tokens import PublishEnd, TokenState
from batten.plan.planned_items import PlannedItems
from batten.run.clock import utc_now
from batten.run.context import Context
from batten.run.report import Delivered
from batten.sinks.base import Destination, LedgerPlace, RejectedError, Sink, Staged
from batten.sinks.capabilities import capabilities_of
from batten.sinks.deliveries import DeliveryBook, Receiver
from batten.sinks.located import show_here

if TYPE_CHECKING:
    import pyarrow as pa

TRIES = 5
"""How often a batch is published anew where no answer came, or others were quicker."""


class Route(ABC):
    """One destination, open, and what it lacks. The methods that are not abstract are right for a
    destination that has nothing before all is there."""

    adds_rows = False
    """Whether each batch adds rows of its own, that can't be told from others and taken out."""

    @property
    def lets_go(self) -> bool:
        """Whether rows of an earlier dataset make way, or are merged with those of now."""
        return False

    @property
    def has_own_keys(self) -> bool:
        """Whether no two rows that it is given have the same key."""
        return False

    def __init__(self, context: Context, sink: Sink, result: AppliedResult | None = None) -> None:
        self._context, self._sink, self._result = context, sink, result
        self._capabilities = capabilities_of(sink)
        self._supply = Supply(context, sink.dataset)
        folder = self._supply.folder
        self.kind, self.target = sink.kind, sink.describe(folder)
        self._book = DeliveryBook(
            context.folder,
            context.layout,
            Receiver(
                kind=sink.kind,
                target=self.target,
                dataset=self._supply.dataset,
                adds_rows=self.adds_rows and not self._capabilities.key,
                has_own_keys=self.adds_rows and self.has_own_keys,
                package=self._capabilities.package,
                is_remote=self._capabilities.is_remote,
                lets_go=self.lets_go,
                can_be_asked=self._capabilities.can_be_asked,
                marks=dict(self._capabilities.where or {}),
                form=self._capabilities.form,
            ),
            run=context.run,
            now=utc_now,
        )
        self.destination: Destination = sink.open(
            LedgerPlace(
                storage=context.folder, layout=context.layout, folder=folder, book=self._book
            )
        )
        if not self._capabilities.can_be_asked:
            self.destination = RecordedDestination(self.destination, self._book)
        self._is_prepared = False

    @property
    def record(self) -> str:
        """Where it is recorded what it was given."""
        return show_path(Path(self._context.storage.place) / self._book.name)

    @property
    def shown(self) -> str:
        """The destination, as one would name it from the current folder."""
        kind = PACKAGED if self._capabilities.package else self.kind
        return show_here(kind, self.target, str(self._supply.folder))

    def key_of(self, batch: int, item: int = 0) -> str:
        """That of an item, by its number in the batch; empty before `know`."""
        return self._supply.key_of(batch, item)

    def name_batch(self, batch: int) -> str:
        """By the key of its item, if it has only one."""
        items = self._supply.items
        keys = items.list_keys(batch) if items else ()
        return keys[0] if len(keys) == 1 else f"in batch {batch}"

    def know(self, items: PlannedItems) -> None:
        """Those of the plan as it is now. Before anything is asked of it."""
        self._supply.items = items

    def look(self, published: Collection[int], items: PlannedItems) -> None:
        """Ask which of the published batches it lacks. Changes nothing."""
        self.know(items)

    @abstractmethod
    def refuse_retry(self, batches: Collection[int]) -> None:
        """Raise where it could not take the rows of these batches' items that are retried."""

    def refuse_other_form(self, held: int | None = None) -> None:  # noqa: B027
        """Raises `ChangedJobError` if rows of two forms would stand there side by side, and nobody
        has said that they may (decision 0159). It has so many batches; by default, as it is
        recorded."""

    def holds(self, batch: int) -> bool:
        """Whether it has rows of the batch for good."""
        return False

    @property
    def gate(self) -> int | None:
        """The batch that other destinations wait for it with, and with all that follow; None if
        they don't wait."""
        return None

    @property
    def is_lacking(self) -> bool:
        """Whether it could be given something now."""
        return False

    @abstractmethod
    def expect(self, batches: Sequence[int]) -> None:
        """These batches have just been published, so it lacks them."""

    @abstractmethod
    def rehearse(self, batch: int) -> None:
        """Raises `RejectedError` if it lacks the batch, and could not take it."""

    def take(
        self,
        until: float = inf,
        before: int | None = None,
        rehearse: Callable[[int], None] = lambda batch: None,
    ) -> dict[int, RejectedError]:
        """Gives the batch of which items were rejected, if one was. `until` by the monotonic clock,
        at least one; `before`: what follows this batch waits. `rehearse` is called with each
        before it is published."""
        return {}

    @abstractmethod
    def withdraw(self, batches: Collection[int]) -> None:
        """These batches are about to be made anew."""

    @abstractmethod
    def is_behind(self, batches: int) -> bool:
        """Whether it lacks something, or only its record does, by a crash between the two."""

    @property
    def given(self) -> str:
        """The digest of all that it was given at once; empty if that was nothing, or is out of
        date."""
        record = self._book.find()
        return record.content if record is not None and record.batches else ""

    def expect_result(self, batches: int) -> None:  # noqa: B027
        """Raise where it could not take what a function of whole tables has made."""

    @abstractmethod
    def finish(self, batches: int) -> None:
        """All of the complete dataset is there when this returns."""

    def list_kept(self, batches: Collection[int]) -> list[int]:
        """Those of these published batches of which it has rows that can't make way for others."""
        return []

    def can_start_anew(self) -> bool:
        """Whether nothing of the old dataset would remain among rows of a new one."""
        return True

    def can_add_columns(self) -> bool:
        """Whether it can have columns that its rows had not before."""
        return True

    def open_again(self) -> None:
        """Record that what it has is about to be out of date. Where only the record tells what it
        has, that stays."""
        if self._capabilities.can_be_asked:
            self._book.forget()

    def report(self) -> Delivered:
        record = self._book.find()
        return Delivered(
            kind=self.kind,
            target=self.shown,
            batches=record.batches if record is not None else 0,
            rows=record.rows if record is not None else 0,
            promise=ONCE if self._capabilities.can_be_asked else AT_LEAST_ONCE,
        )

    def _prepare(self, schema: pa.Schema) -> bool:
        """Whether this was the first time."""
        if self._is_prepared:
            return False
        self._add_columns(schema)
        self.destination.prepare(schema)
        self._is_prepared = True
        return True

    def _add_columns(self, schema: pa.Schema) -> None:  # noqa: B027
        """See that it has those that came later, before it is asked whether it has all."""

    def _tell_loss(self, what: str) -> InconsistentError:
        """Where it was given something, which it has no more, or of which it never had a token."""
        given = self._book.find()
        if given is not None and not given.can_be_asked:
            return InconsistentError(
                f"{self.shown} was given batches without tokens, so it can't be asked for them, as "
                "the job would have it now.",
                safe=f"Nothing was changed; {BATCHES_KEPT}",
                next="Give it batches without tokens as before, such as by transactions=False; or "
                "have it given all rows once more, under another name: dataset=…",
            )
        return InconsistentError(
            f"{self.shown} was given {what}.",
            safe=f"Nothing was changed; {BATCHES_KEPT}",
            next="Restore it; or have it given again: delete what is left of it there, rows and "
            f"tokens, move {self.record} away, then: {self._context.again}",
        )

    def _publish(self, staged: Staged) -> None:
        self._prepare(staged.schema)
        for _ in range(TRIES):
            if self.destination.publish(staged) is PublishEnd.COMMITTED:
                return
            if set(self.destination.lookup(staged.tokens)) == {TokenState.SAME}:
                return
        raise StorageError(
            f"{self.shown} did not take batch {staged.token.batch} in {TRIES} attempts.",
            safe=f"What it has is whole; {BATCHES_KEPT}",
            next=f"When it answers again: {self._context.again}",
        )
