"""Publishing a batch into a table of a database: rows and token in one transaction.

The tokens lie in the table `batten_tokens` of the same database, one for each dataset, table and
batch. A token can be claimed once; a second claim finds the first, waiting for it where it is not
decided yet. So whoever publishes a batch again, after a lost reply or beside another process, is
told what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from batten.model.outcomes import decode_outcomes
from batten.model.tokens import Published
from batten.model.words import Outcome
from batten.sinks.base import Staged, other_content

if TYPE_CHECKING:
    import pyarrow as pa

TOKENS = "batten_tokens"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What an earlier publication of a batch left beside its rows."""

    digest: str
    outcomes: str


class Transaction(Protocol):
    """One transaction. After `commit` raised, whether it happened is not known."""

    def claim(self, staged: Staged) -> Claim | None:
        """Put the token in, and return None; or return what is there, and put nothing in."""
        ...

    def renew(self, staged: Staged) -> None:
        """Put the token in the place of that which is there."""
        ...

    def insert(self, schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> None: ...


def publish_rows(transaction: Transaction, staged: Staged, target: str) -> Published:
    """Do in the transaction all but ending it. Not `COMMITTED` means that there is nothing to
    commit. Raises `InconsistentError` where the rows that are there are others."""
    had = transaction.claim(staged)
    rows = staged.read()
    if had is not None:
        if had.digest == staged.token.digest:
            return Published.LOST_RACE
        if not _is_revision(had.outcomes, staged.outcomes):
            raise other_content(target, staged.token)
        transaction.renew(staged)
        rows = select_new_rows(rows, had.outcomes, staged.outcomes)
    transaction.insert(staged.schema, rows)
    return Published.COMMITTED


def _is_revision(old: str, new: str) -> bool:
    """Whether items that had failed were tried again, and all that was committed stayed so."""
    before, after = list(decode_outcomes(old)), list(decode_outcomes(new))
    return (
        old != new
        and len(before) == len(after)
        and all(
            now is Outcome.COMMITTED
            for was, now in zip(before, after, strict=True)
            if was is Outcome.COMMITTED
        )
    )


def select_new_rows(rows: Iterable[pa.RecordBatch], old: str, new: str) -> Iterator[pa.RecordBatch]:
    """Of a batch's rows those whose items were not committed before. The rows of an item are
    neighbours and have its key in the first column; items without rows are not committed."""
    is_new = iter(
        [
            was is not Outcome.COMMITTED
            for was, now in zip(decode_outcomes(old), decode_outcomes(new), strict=True)
            if now is Outcome.COMMITTED
        ]
    )
    key, is_wanted = object(), False
    for batch in rows:
        start = 0
        for value, group in groupby(batch.column(0).to_pylist()):
            stop = start + len(list(group))
            if value != key:
                key, is_wanted = value, next(is_new)
            if is_wanted:
                yield batch.slice(start, stop - start)
            start = stop
