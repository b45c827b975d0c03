"""A destination that takes all rows at once, when the dataset is complete: a table.

Of a job of whole tables the rows are what its function made. Else they are those of all batches,
and the table replaces what it holds. Each batch has a token there, and all tokens stand for the
whole (decision 0100).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from batten.deliver.whole.table_route import TableRoute
from batten.errors import refused_there
from batten.model.disk.destinations.tokens import Token, TokenState
from batten.sinks.base import Staged

if TYPE_CHECKING:
    import pyarrow as pa


class WholeTableRoute(TableRoute):
    """A table that gets everything in one step."""

    adds_rows = True

    def expect(self, batches: Sequence[int]) -> None:
        is_first = batches and not self._is_prepared and self._result is None
        if is_first and self._supply.has_columns():
            # What the table can't hold is told with the first batch, not with the last.
            self._begin(self._supply.read_schema(batches[0]))

    def refuse_retry(self, batches: Collection[int]) -> None:
        """It takes whatever there is at the end."""

    def rehearse(self, batch: int) -> None:
        """Nobody knows before the end: rows that are there make way first (decision 0161)."""

    def withdraw(self, batches: Collection[int]) -> None:
        """It has none of them."""

    def is_behind(self, batches: int) -> bool:
        record = self._book.find()
        if record is None or record.batches != batches or not record.content:
            return True
        if self._result is None and record.content != self._supply.token_of_all(batches).digest:
            return True
        if not record.rows and not self._capabilities.replaces:
            return False
        tokens = self._list_tokens(batches, record.content)
        return set(self.destination.lookup(tokens)) != {TokenState.SAME}

    def expect_result(self, batches: int) -> None:
        self._refuse_earlier(self._stage(batches))

    def finish(self, batches: int) -> None:
        if not self.is_behind(batches):
            return
        staged = self._stage(batches)
        if staged.rows or self._has_columns or self._capabilities.replaces:
            self._begin(staged.schema)
            # Where rows are added, none leave no token: later there may be some.
            if staged.rows or self.lets_go:
                self._publish(staged)
        self._book.save(batches=batches, rows=staged.rows, content=staged.token.digest)

    @property
    def _has_columns(self) -> bool:
        return self._result is not None or self._supply.has_columns()

    def _stage(self, batches: int) -> Staged:
        staged = replace(self._supply.stage_all(batches), is_whole=True)
        if self._result is not None:
            staged = self._result.stage(staged)
        else:
            staged = replace(staged, split=partial(self._split, batches))
        token, *others = self._list_tokens(batches, staged.token.digest)
        return replace(staged, token=token, more_tokens=tuple(others))

    def _split(self, batches: int) -> Iterator[Staged]:
        commits = map(self._supply.load_commit, range(batches))
        return (self._supply.stage(each, self._supply.token(each)) for each in commits)

    def can_start_anew(self) -> bool:
        record = self._book.find()
        return self.lets_go or record is None or not record.keeps_rows

    def _refuse_earlier(self, staged: Staged) -> None:
        """Rows can't be added to those that another call made, nor to themselves."""
        record = self._book.find()
        given = record.content if record is not None and record.keeps_rows else ""
        if self.lets_go or not (staged.rows or given):
            return
        held = self.destination.lookup(staged.tokens)
        if TokenState.OTHER in held or given not in ("", staged.token.digest):
            raise refused_there(
                f"{self.shown} holds rows that this job made before, of other tables or by other "
                "code, and rows of now would stand beside them.",
                'Have them replaced: mode="replace", with where= for a table that other runs '
                "share, or key=. Or write to another table.",
            )
        lacking = held.count(TokenState.ABSENT)
        if lacking and (given or lacking < len(held)):
            raise self._tell_loss("all rows at once, and has not all of their tokens any more")

    @property
    def lets_go(self) -> bool:
        return bool(self._capabilities.replaces or self._capabilities.key)

    def _begin(self, schema: pa.Schema) -> None:
        if self._prepare(schema) and self._book.find() is None:
            self._book.save(batches=0, rows=0, content="")

    def _list_tokens(self, batches: int, digest: str) -> list[Token]:
        dataset = self._supply.dataset
        numbers = range(max(1, batches))
        return [Token(dataset=dataset, batch=number, digest=digest) for number in numbers]
