"""A destination that takes batches, each in one step, in the order of the plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import inf

from batten.deliver.whole.applied_result import AppliedResult
from batten.deliver.whole.table_route import TableRoute
from batten.errors import BATCHES_KEPT, InterruptedRunError, RefusedError
from batten.model.disk.destinations.tokens import Token, TokenState
from batten.model.disk.published import Published
from batten.model.disk.runs.refusals import Way
from batten.model.rules.findings import ELSEWHERE
from batten.model.telling.counts import count_of
from batten.plan.differs_errors import ChangedJobError
from batten.plan.planned_items import PlannedItems
from batten.run.context import Context
from batten.sinks.base import RejectedError, Sink, Staged, other_content

SAVE_SECONDS = 1.0
"""What was delivered is recorded this often. The record may lag: destinations are asked."""


class BatchRoute(TableRoute):
    """A destination of rows: a table, mostly."""

    adds_rows = True

    def __init__(self, context: Context, sink: Sink, result: AppliedResult | None = None) -> None:
        super().__init__(context, sink, result)
        self._published: set[int] = set()
        self._reach = 0
        self._saved_at = 0.0
        self._lacking: set[int] = set()
        self._held_back: set[int] = set()
        self._has_rows = False
        self._rehearsed: set[int] = set()
        self._rows: dict[int, int] = {}

    def look(self, published: Collection[int], items: PlannedItems) -> None:
        super().look(published, items)
        self._published, self._reach = set(published), 0
        commits = list(map(self._supply.load_commit, sorted(published)))
        self._has_rows = any(commit.rows for commit in commits)
        tokens = {self._token(commit): commit for commit in commits if self._is_given(commit)}
        found = self._ask(tokens)
        record = self._book.find()
        # What was given no rows has lost none.
        delivered = record.batches if record is not None and record.rows else 0
        for token, commit in tokens.items():
            if found[token] is TokenState.ABSENT:
                self._refuse_loss(commit, delivered)
            self._rows[commit.batch] = commit.rows
        self.refuse_other_form(sum(held is not TokenState.ABSENT for held in found.values()))
        # Of items that have changed the rows are replaced by key, whatever is kept beside them.
        others = [
            token
            for token, held in found.items()
            if held is TokenState.OTHER and not (tokens[token].revision and self._is_keyed)
        ]
        for token in self.destination.list_closed(others):
            raise other_content(self.shown, token)
        self._lacking = {
            tokens[token].batch for token, held in found.items() if held is not TokenState.SAME
        }

    def _ask(self, tokens: Mapping[Token, Published]) -> dict[Token, TokenState]:
        """What it has. A part with columns added has the rows that the part before had, so nothing
        is published again (decision 0102)."""
        found = dict(zip(tokens, self.destination.lookup(list(tokens)), strict=True))
        earlier = {
            replace(token, digest=digest): token
            for token, commit in tokens.items()
            if found[token] is TokenState.OTHER and commit.widens
            for digest in commit.widens.split(",")
        }
        held = zip(earlier, self.destination.lookup(list(earlier)), strict=True) if earlier else ()
        return found | {
            earlier[token]: TokenState.SAME for token, state in held if state is TokenState.SAME
        }

    def refuse_retry(self, batches: Collection[int]) -> None:
        commits = [self._supply.load_commit(batch) for batch in sorted(batches)]
        if kept := self.list_kept([each.batch for each in commits if each.revision]):
            raise RefusedError(
                f"{self.shown} has batch {kept[0]}, of which items have changed, and its rows "
                "can't be told from others and taken out.",
                safe="Nothing was changed.",
                next="Compute the quarantined items in a job of their own.",
            )
        tokens = [
            self._token(commit)
            for commit in commits
            if not commit.revision and self._is_given(commit)
        ]
        for token in self.destination.list_closed(tokens):
            raise RefusedError(
                f"{self.shown} has batch {token.batch}, and keeps no outcomes of it that would "
                "tell which items' rows these are.",
                safe="Nothing was changed.",
                next="Compute the quarantined items in a job of their own.",
            )

    def holds(self, batch: int) -> bool:
        is_given = batch in self._published and batch not in self._lacking
        return is_given and self._rows.get(batch, 0) > 0

    @property
    def first_lacking(self) -> int:
        """Everything before this batch was delivered."""
        return min(self._lacking, default=self._reached())

    @property
    def is_lacking(self) -> bool:
        return self.first_lacking < self._reached()

    def expect(self, batches: Sequence[int]) -> None:
        self._published.update(batches)
        self._lacking.update(batches)

    def rehearse(self, batch: int) -> None:
        if batch not in self._lacking or batch in self._rehearsed:
            return
        commit = self._supply.load_commit(batch)
        if self._is_given(commit):
            staged = self._stage(commit)
            self._begin(staged)
            self.destination.rehearse(staged)
        self._rehearsed.add(batch)

    def take(
        self,
        until: float = inf,
        before: int | None = None,
        rehearse: Callable[[int], None] = lambda batch: None,
    ) -> dict[int, RejectedError]:
        rejected: dict[int, RejectedError] = {}
        reached = self._reached() if before is None else min(before, self._reached())
        ready = sorted(batch for batch in self._lacking if batch < reached)
        for batch in ready:
            if self._context.signals.received is not None:
                break
            commit = self._supply.load_commit(batch)
            if commit.rows and not self._has_rows:
                self._has_rows = True
                if self._held_back:
                    # They come before it, and may be given now.
                    self._lacking |= self._held_back
                    self._held_back.clear()
                    return self.take(until, before, rehearse)
            if self._is_given(commit):
                try:
                    rehearse(batch)
                    staged = self._stage(commit)
                    self._begin(staged)
                    self._publish(staged)
                except RejectedError as error:
                    rejected[batch] = error
                    break
            elif not self._has_rows:
                self._held_back.add(batch)
            self._rows[batch] = commit.rows
            self._lacking.discard(batch)
            if not self._capabilities.can_be_asked:
                self._save()
            if time.monotonic() >= until:
                break
        if ready and (not self.is_lacking or time.monotonic() >= self._saved_at + SAVE_SECONDS):
            self._save()
        return rejected

    def withdraw(self, batches: Collection[int]) -> None:
        self._published.difference_update(batches)
        self._lacking.difference_update(batches)
        self._held_back.difference_update(batches)
        self._rehearsed.difference_update(batches)
        self._reach = min([self._reach, *batches])

    def is_behind(self, batches: int) -> bool:
        record = self._book.find()
        is_recorded = record is not None and record.batches == batches
        return not is_recorded or bool(self._lacking) or bool(self._find_other_form())

    def finish(self, batches: int) -> None:
        self.take()
        if self._lacking:
            raise InterruptedRunError(
                f"Stopped by {self._context.signals.received}, before {self.shown} had everything.",
                safe="Every batch is kept; it is safe to run again.",
                next=f"Run the same command again; it resumes: {self._context.again}",
            )
        if self.is_behind(batches):
            if batches and self._supply.list_added():
                self._prepare(self._supply.read_schema(0))
            self._save()

    def list_kept(self, batches: Collection[int]) -> list[int]:
        if self._is_keyed:
            return []
        commits = map(self._supply.load_given, sorted(batches))
        # What is committed stays so: of a batch without rows it never had any.
        tokens = [self._token(commit) for commit in commits if commit.rows]
        found = zip(tokens, self.destination.lookup(tokens), strict=True)
        return [
            token.batch
            for token, held in found
            if held is not TokenState.ABSENT and token.batch is not None
        ]

    @property
    def has_own_keys(self) -> bool:
        is_one_each = all(step.kind != "flat_map" for step in self._context.pipeline.steps)
        return self._is_keyed and is_one_each

    @property
    def _is_keyed(self) -> bool:
        """Whether it tells the rows of an item by the item's key."""
        return self._context.pipeline.settings.key_column in self._capabilities.key

    def can_start_anew(self) -> bool:
        record = self._book.find()
        return record is None or not record.keeps_rows

    def _is_given(self, commit: Published) -> bool:
        """Whether the destination gets the batch. While no item gave a row, the columns are not
        known, and a table that was made without them could take no rows later (decision
        0165)."""
        if commit.rows or not self._capabilities.can_be_asked:
            return bool(commit.rows)
        return self._has_rows or self._supply.has_columns()

    def _token(self, commit: Published) -> Token:
        return self._supply.token(commit)

    def _stage(self, commit: Published) -> Staged:
        return self._supply.stage(commit, self._token(commit))

    def _begin(self, staged: Staged) -> None:
        if self._prepare(staged.schema):
            record = self._book.find()
            if record is None or record.form != self._capabilities.form:
                self._save()

    def _save(self) -> None:
        first = self.first_lacking
        rows = sum(rows for batch, rows in self._rows.items() if batch < first)
        self._book.save(batches=first, rows=rows, content="", size=self._count_bytes(first))
        self._saved_at = time.monotonic()

    def _count_bytes(self, batches: int) -> int:
        """Of what the first so many batches have there, where that is known."""
        return 0

    def _reached(self) -> int:
        """The first batch that the ledger lacks."""
        while self._reach in self._published:
            self._reach += 1
        return self._reach

    def _find_other_form(self) -> str:
        """How rows stand there, if those of now would stand there in another way; else empty."""
        record, form = self._book.find(), self._capabilities.form
        return record.form if record is not None and form and record.form != form else ""

    def refuse_other_form(self, held: int | None = None) -> None:
        record = self._book.find()
        if held is None:
            held = record.batches if record is not None else 0
        other = self._find_other_form()
        # What has no tokens may have been given a batch that is not recorded.
        is_there = held or not self._capabilities.can_be_asked
        if not other or not is_there or self._context.options.accepts_change:
            return
        given = count_of(held, "batch", "batches")
        raise ChangedJobError(
            f"{self.shown} was given {given} with {other}, and would now get rows with "
            f"{self._capabilities.form}.",
            safe=f"Nothing was changed there; {BATCHES_KEPT}",
            next="Undo the change; or keep what is there, and give it the other batches in the new "
            f"form, so that its readers meet both ({self._context.wish('accept_change')}); or "
            f"{ELSEWHERE}.",
            ways=(Way.ACCEPT,),
        )

    def _refuse_loss(self, commit: Published, delivered: int) -> None:
        """Raises `InconsistentError` if it was given the batch, which it has no more."""
        if commit.batch < delivered:
            raise self._tell_loss(f"batch {commit.batch}, and has it no more")
