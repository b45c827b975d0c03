"""Which items of a batch a destination can't hold.

A database names a wrong value, or not even that, but never an item. So halves of the batch are
tried until the items are alone that can't be stored. Those go into quarantine; the batch is made
anew without them (decision 0050). Of all rows of a dataset each batch is tried like that (decision
0161).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from batten.errors import BATCHES_KEPT, RefusedError
from batten.model.disk.outcomes import decode_outcomes
from batten.sinks.base import RejectedBatchesError, RejectedError, Staged

if TYPE_CHECKING:
    import pyarrow as pa

FIRST_ITEMS_MAX = 20
"""Where so many items at the beginning of a batch are refused, and none was taken, it is the table
that does not fit, and no item is to blame."""


class UnstorableError(Exception):
    """Why a destination can't hold a value; what became of the item says it."""


Attempt = Callable[["pa.Table"], Exception | None]
"""Stores rows and keeps them; or leaves nothing of them, and says why."""


def find_rejected(
    staged: Staged, lacking: Staged, attempt: Attempt, target: str
) -> dict[int, Exception]:
    """The items whose rows, of those that are lacking, can't be stored, by their numbers in the
    batch; all others are stored when this returns. Raises `RefusedError` if no item can be."""
    import pyarrow as pa

    table = pa.Table.from_batches(lacking.read(), schema=staged.schema)
    spans = list(list_spans(staged, table))
    search = _RowSearch(table, spans, attempt, target)
    search.halve(0, len(spans))
    return search.rejected


def reject(
    staged: Staged, lacking: Staged, attempt: Attempt, target: str, error: Exception
) -> Exception:
    """What is to be raised where those rows can't be stored together, by that error: which items
    are to blame, or that none is. All others are stored."""
    if not staged.is_whole:
        return RejectedError(find_rejected(staged, lacking, attempt, target))
    found, with_rows = {}, 0
    for batch in staged.split():
        with_rows += sum(outcome.has_rows for outcome in decode_outcomes(batch.outcomes))
        rejected = find_rejected(batch, batch, attempt, target)
        if rejected and batch.token.batch is not None:
            found[batch.token.batch] = RejectedError(rejected)
    # If it takes none, that is the table's fault, and what it has is not replaced by nothing.
    is_of_items = 0 < sum(len(each.errors) for each in found.values()) < with_rows
    return RejectedBatchesError(found) if is_of_items else _refuse_row(target, error)


def _refuse_row(target: str, error: Exception) -> RefusedError:
    """Where no item can be set aside for it."""
    refused = RefusedError(
        f"{target} can't hold a row: {tell_reason(error)}.",
        safe="Nothing was changed there; it holds what it held.",
        next="Correct the table, or the function that makes the rows, then run again.",
    )
    refused.__cause__ = error
    return refused


class _RowSearch:
    """`spans` are items with the rows that they have in the table, in order."""

    def __init__(
        self,
        table: pa.Table,
        spans: Sequence[tuple[int, int, int]],
        attempt: Attempt,
        target: str,
    ) -> None:
        self._table = table
        self._spans = spans
        self._attempt = attempt
        self._target = target
        self._has_stored = False
        self.rejected: dict[int, Exception] = {}

    def halve(self, first: int, end: int) -> None:
        if first >= end:
            return
        begin, stop = self._spans[first][1], self._spans[end - 1][2]
        error = self._attempt(self._table.slice(begin, stop - begin))
        if error is None:
            self._has_stored = True
        elif end - first > 1:
            middle = (first + end) // 2
            self.halve(first, middle)
            self.halve(middle, end)
        else:
            self._reject(self._spans[first][0], error)

    def _reject(self, item: int, error: Exception) -> None:
        reason = tell_reason(error)
        if not self._has_stored and len(self.rejected) + 1 >= FIRST_ITEMS_MAX:
            raise RefusedError(
                f"{self._target} can't hold any of the first {FIRST_ITEMS_MAX} items of a batch; "
                f"of the last it says: {reason}.",
                safe=f"Nothing of this batch is there; {BATCHES_KEPT}",
                next="Correct the table or the job, or write to another table, then run again.",
            ) from error
        unstorable = UnstorableError(f"{self._target} can't hold it: {reason}")
        unstorable.__cause__ = error
        self.rejected[item] = unstorable


def tell_reason(error: Exception) -> str:
    """The first line of an error, without a full stop."""
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__


def list_spans(staged: Staged, table: pa.Table) -> Iterator[tuple[int, int, int]]:
    """Each item of the table, with the rows from where to where are its own. The rows of an item
    are neighbours and have its key in the first column."""
    outcomes = enumerate(decode_outcomes(staged.outcomes))
    committed = (item for item, outcome in outcomes if outcome.has_rows)
    keys = (key for batch in staged.read() for key in batch.column(0).to_pylist())
    numbers = dict(zip((key for key, _ in groupby(keys)), committed, strict=True))
    start = 0
    for key, rows in groupby(table.column(0).to_pylist()):
        stop = start + sum(1 for _ in rows)
        yield numbers[key], start, stop
        start = stop
