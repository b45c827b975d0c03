"""One destination of a run: what of the ledger it lacks, and how it is given that."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batten.errors import InconsistentError, InterruptedRunError, RefusedError, StorageError
from batten.jobs.job_folder import show_path
from batten.ledger.contents import load_commit
from batten.ledger.parts import Parts
from batten.model.disk.published import Published
from batten.model.disk.records import Config, decode_record
from batten.model.disk.tokens import PublishEnd, Token, TokenState, digest_of_all
from batten.plan.planned_items import PlannedItems
from batten.run.clock import utc_now
from batten.run.context import Context
from batten.run.report import Delivered
from batten.sinks.base import (
    Destination,
    LedgerPlace,
    RejectedError,
    Sink,
    Staged,
    other_content,
)
from batten.sinks.deliveries import DeliveryBook

if TYPE_CHECKING:
    import pyarrow as pa

TRIES = 5
"""How often a batch is published anew where no answer came, or others were quicker."""

SAVE_SECONDS = 1.0
"""What was delivered is recorded this often. The record may lag: destinations are asked."""


class Route:
    """One destination, and what it lacks."""

    def __init__(self, context: Context, sink: Sink) -> None:
        self._context = context
        self.sink = sink
        folder = _folder_of_ledger(context)
        self.target = sink.describe(folder)
        self._shown = show_path(folder / self.target) if sink.is_whole else self.target
        self._book = DeliveryBook(
            context.storage,
            context.layout,
            kind=sink.kind,
            target=self.target,
            run=context.run,
            now=utc_now,
            dataset=self._dataset,
            adds_rows=not sink.is_whole and not getattr(sink, "key", ()),
        )
        self.destination: Destination = sink.open(
            LedgerPlace(
                storage=context.storage, layout=context.layout, folder=folder, book=self._book
            )
        )
        self._published: set[int] = set()
        self._reach = 0
        self._saved_at = 0.0
        self._lacking: set[int] = set()
        self._rehearsed: set[int] = set()
        self._rows: dict[int, int] = {}
        self._items: PlannedItems | None = None
        self._parts: Parts | None = None
        self._is_prepared = False

    def look(self, published: Collection[int], items: PlannedItems) -> None:
        self._published, self._reach = set(published), 0
        self._items = items
        if self.sink.takes_items and not items.are_single:
            raise RefusedError(
                f"{self.target} takes items one at a time, and this dataset has larger batches.",
                safe="Nothing was computed, and nothing was put there.",
                next=f"Compute all anew ({self._context.wish('fresh')}), the old one stays until "
                "the new one is complete; or write to another output.",
            )
        if self.sink.is_whole:
            return
        commits = [
            commit for commit in map(self._load_commit, sorted(published)) if self._is_given(commit)
        ]
        found = self.destination.lookup([self._token(commit) for commit in commits])
        record = self._book.find()
        delivered = record.batches if record is not None else 0
        for commit, held in zip(commits, found, strict=True):
            if held is TokenState.ABSENT and commit.batch < delivered:
                raise self._lost(commit.batch)
            self._rows[commit.batch] = commit.rows
        others = [
            self._token(commit)
            for commit, held in zip(commits, found, strict=True)
            if held is TokenState.OTHER
        ]
        for token in self.destination.list_closed(others):
            raise other_content(self.target, token)
        self._lacking = {
            commit.batch
            for commit, held in zip(commits, found, strict=True)
            if held is not TokenState.SAME
        }

    def refuse_retry(self, batches: Collection[int]) -> None:
        """Raise where it could not take the rows of these batches' items that are retried."""
        if self.sink.is_whole:
            return
        tokens = [self._token(self._load_commit(batch)) for batch in sorted(batches)]
        for token in self.destination.list_closed(tokens):
            raise RefusedError(
                f"{self.target} has batch {token.batch}, and keeps no outcomes of it that would "
                "tell which items' rows these are.",
                safe="Nothing was changed.",
                next="Compute the quarantined items in a job of their own.",
            )

    def holds(self, batch: int) -> bool:
        """Whether it has rows of the batch for good: a file of all rows is made anew."""
        is_given = batch in self._published and batch not in self._lacking
        return is_given and not self.sink.is_whole and self._rows.get(batch, 0) > 0

    @property
    def record(self) -> str:
        """Where it is recorded what it was given."""
        return show_path(Path(self._context.storage.place) / self._book.name)

    def key_of(self, batch: int, item: int = 0) -> str:
        """That of an item, by its number in the batch; empty before `look`."""
        return self._items.key(batch, item) if self._items else ""

    def is_behind(self, batches: int) -> bool:
        """Whether it lacks something, or only its record does, by a crash between the two."""
        record = self._book.find()
        if record is None or record.batches != batches or self._lacking:
            return True
        return self.sink.is_whole and self.destination.lookup([self._token_of_all(batches)]) != [
            TokenState.SAME
        ]

    @property
    def first_lacking(self) -> int:
        """Everything before this batch was delivered."""
        return min(self._lacking, default=self._reached())

    @property
    def is_lacking(self) -> bool:
        return not self.sink.is_whole and self.first_lacking < self._reached()

    def expect(self, batches: Sequence[int]) -> None:
        """These batches have just been published, so it lacks them."""
        self._published.update(batches)
        if not self.sink.is_whole:
            self._lacking.update(batches)
        elif batches and not self._is_prepared:
            # What the file's format can't hold is told with the first batch, not with the last.
            self._prepare(self._select([self._load_commit(batches[0])]).read_schema())

    def rehearse(self, batch: int) -> None:
        """Raises `RejectedError` where it lacks the batch, and could not take it."""
        if batch not in self._lacking or batch in self._rehearsed:
            return
        commit = self._load_commit(batch)
        if self._is_given(commit):
            staged = self._stage(commit)
            self._prepare(staged.schema)
            self.destination.rehearse(staged)
        self._rehearsed.add(batch)

    def take(
        self,
        until: float = inf,
        before: int | None = None,
        rehearse: Callable[[int], None] = lambda batch: None,
    ) -> dict[int, RejectedError]:
        """Gives the batch of which items were rejected, if one was. `until` by the monotonic clock,
        at least one; `before`: what follows this batch waits. `rehearse` is called with each
        before it is published."""
        rejected: dict[int, RejectedError] = {}
        if self.sink.is_whole:
            return rejected
        reached = self._reached() if before is None else min(before, self._reached())
        ready = sorted(batch for batch in self._lacking if batch < reached)
        for batch in ready:
            if self._context.signals.received is not None:
                break
            commit = self._load_commit(batch)
            if self._is_given(commit):
                try:
                    rehearse(batch)
                    self._publish(self._stage(commit))
                except RejectedError as error:
                    rejected[batch] = error
                    break
            self._rows[batch] = commit.rows
            self._lacking.discard(batch)
            if time.monotonic() >= until:
                break
        if ready and (not self.is_lacking or time.monotonic() >= self._saved_at + SAVE_SECONDS):
            self._save()
        return rejected

    def withdraw(self, batches: Collection[int]) -> None:
        """One that takes items has nothing of what was rejected or had failed, so the record must
        not say that it was given that."""
        self._published.difference_update(batches)
        self._lacking.difference_update(batches)
        self._rehearsed.difference_update(batches)
        self._reach = min([self._reach, *batches])
        record = self._book.find() if self.sink.takes_items and batches else None
        if record is not None and record.batches > min(batches):
            self._save()

    def finish(self, batches: int) -> None:
        self.take()
        if not self.sink.is_whole and self._lacking:
            raise InterruptedRunError(
                f"Stopped by {self._context.signals.received}, before {self.target} had "
                "everything.",
                safe="Every batch is kept; it is safe to run again.",
                next=f"Run the same command again; it resumes: {self._context.again}",
            )
        if not self.is_behind(batches):
            return
        if self._context.pipeline.whole is not None:
            from batten.deliver.applying import publish_applied

            publish_applied(self._context, self.destination, self._stage_all(batches))
        elif self.sink.is_whole:
            self._publish(self._stage_all(batches))
        else:
            self._save()

    def can_start_anew(self) -> bool:
        """Whether nothing of the old dataset would remain among rows of a new one."""
        record = self._book.find()
        if self.sink.is_whole or record is None or not record.batches:
            return True
        return not record.keeps_rows

    def open_again(self) -> None:
        record = self._book.find()
        if record is not None:
            self._book.save(
                batches=0,
                rows=record.rows,
                content=record.content,
                size=record.size,
                digest=record.digest,
                replaces=record.replaces,
            )

    def report(self) -> Delivered:
        record = self._book.find()
        return Delivered(
            kind=self.sink.kind,
            target=self._shown,
            batches=record.batches if record is not None else 0,
            rows=record.rows if record is not None else 0,
        )

    def _publish(self, staged: Staged) -> None:
        self._prepare(staged.schema)
        for _ in range(TRIES):
            if self.destination.publish(staged) is PublishEnd.COMMITTED:
                return
            if self.destination.lookup([staged.token]) == [TokenState.SAME]:
                return
        raise StorageError(
            f"{self.target} did not take batch {staged.token.batch} in {TRIES} attempts.",
            safe="What it has is whole; every batch is kept in the ledger.",
            next=f"When it answers again: {self._context.again}",
        )

    def _prepare(self, schema: pa.Schema) -> None:
        if not self._is_prepared:
            self.destination.prepare(schema)
            self._is_prepared = True
            if not self.sink.is_whole and self._book.find() is None:
                self._save()

    def _save(self) -> None:
        first = self.first_lacking
        rows = sum(rows for batch, rows in self._rows.items() if batch < first)
        self._book.save(batches=first, rows=rows, content="")
        self._saved_at = time.monotonic()

    def _reached(self) -> int:
        """The first batch that the ledger lacks."""
        while self._reach in self._published:
            self._reach += 1
        return self._reach

    def _load_commit(self, batch: int) -> Published:
        context = self._context
        return load_commit(context.storage, context.layout, batch, context.path)

    def _is_given(self, commit: Published) -> bool:
        """Whether the destination gets the batch: one that takes items does not get what was
        filtered or failed."""
        return bool(commit.rows) or not self.sink.takes_items

    def _token(self, commit: Published) -> Token:
        key = self.key_of(commit.batch) if self.sink.takes_items else ""
        return Token(
            dataset=self._dataset,
            batch=commit.batch,
            digest=str(commit.digest),
            fingerprint=commit.fingerprint,
            key=key,
        )

    def _token_of_all(self, batches: int) -> Token:
        digests = [str(self._load_commit(batch).digest) for batch in range(batches)]
        return Token(dataset=self._dataset, batch=None, digest=digest_of_all(digests))

    @property
    def _dataset(self) -> str:
        return self.sink.dataset or self._context.layout.output

    def _stage(self, commit: Published) -> Staged:
        parts = self._select([commit])
        layout, storage = self._context.layout, self._context.storage
        return Staged(
            token=self._token(commit),
            schema=parts.read_schema(),
            batches=commit.batch + 1,
            rows=commit.rows,
            outcomes=commit.outcomes,
            read=parts.read_batches,
            load=lambda: storage.read(layout.part(commit.batch), bytes_max=None),
            load_item=partial(self._load_item, commit.batch),
        )

    def _stage_all(self, batches: int) -> Staged:
        commits = [self._load_commit(batch) for batch in range(batches)]
        parts = self._select(commits)

        def load() -> bytes:
            raise LookupError("the whole dataset is no single part")

        return Staged(
            token=self._token_of_all(batches),
            schema=parts.read_schema(),
            batches=batches,
            rows=sum(commit.rows for commit in commits),
            outcomes="",
            read=parts.read_batches,
            load=load,
        )

    def _load_item(self, batch: int) -> Any:
        if self._items is None:
            raise LookupError("the plan is not known yet")
        return self._items.load(batch)

    def _select(self, commits: Iterable[Published]) -> Parts:
        if self._parts is None:
            context = self._context
            self._parts = Parts(
                storage=context.storage,
                layout=context.layout,
                path=context.path,
                config=decode_record(Config, context.storage.read(context.layout.config)),
                sizes={},
                is_keyed=context.pipeline.source.is_keyed,
            )
        return replace(self._parts, sizes={each.batch: each.size or 0 for each in commits})

    def _lost(self, batch: int) -> InconsistentError:
        return InconsistentError(
            f"{self.target} was given batch {batch}, and has it no more.",
            safe="Nothing was changed; every batch is kept in the ledger.",
            next=f"Restore it; or, to have it given all that it lacks, move {self.record} "
            f"away, then: {self._context.again}",
        )


def _folder_of_ledger(context: Context) -> Path:
    output = context.pipeline.output
    return output.parent if output is not None else Path()
