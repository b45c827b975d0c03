"""Publishing a batch into a table of a database: rows and token in one transaction.

The tokens lie in the table `batten_tokens` of the same database, one for each dataset, table and
batch. A token is claimed last, when the rows are there, and only in the place of what was found at
the beginning. A second claim waits for the first, if that is not decided yet, and then fails. So of
two that publish a batch, after a lost reply or side by side, one is undone. Were it claimed first,
a client that is gone without a word while it sends rows would hold it, for hours maybe (decision
0023).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from batten.errors import BATCHES_KEPT, InconsistentError, refused_there
from batten.model.disk.destinations.tokens import PublishEnd, Token, TokenState
from batten.model.value_class import value_class
from batten.sinks.base import RejectedError, Staged
from batten.sinks.rows.rejecting import reject
from batten.sinks.rows.replacing import refuse_others
from batten.sinks.rows.revisions import select_lacking

if TYPE_CHECKING:
    import pyarrow as pa

TOKENS = "batten_tokens"


@value_class
class EarlierPublication:
    """What an earlier publication of a batch left beside its rows."""

    digest: str
    outcomes: str


class TableTransaction(Protocol):
    """One transaction. After `commit` raised, whether it happened is not known."""

    def find(self, tokens: Sequence[Token]) -> list[EarlierPublication | None]:
        """What is there of each token, all of one dataset."""
        ...

    def clear(self, staged: Staged) -> bool:
        """Delete the rows of all items of the batch; False if they can't be told from others."""
        ...

    def attempt(self, schema: pa.Schema, rows: Iterable[pa.RecordBatch]) -> Exception | None:
        """Insert the rows; where the table can't hold one of them, insert none and say why."""
        ...

    def claim(self, token: Token, outcomes: str, had: EarlierPublication | None) -> bool:
        """Put the token in the place of what was found of it; False if that is not there any
        more."""
        ...

    def hold(self) -> None:
        """Let no other replace rows of the table until this transaction ends."""
        ...

    def find_others(self, token: Token, *, has_own: bool) -> str:
        """What the table holds that the dataset of the token did not put there, in words; empty if
        nothing tells of such. `has_own`: rows without a token may be its own."""
        ...

    def empty(self, token: Token, where: Mapping[str, str]) -> None:
        """Delete the rows with these values, or all; and the tokens of the dataset."""
        ...


def compare_tokens(
    target: str, tokens: Sequence[Token], found: Mapping[int | None, str], *, is_there: bool
) -> list[TokenState]:
    """How tokens compare with the digests that were found of a dataset's batches. Raises
    `InconsistentError` if the table is not there, although its tokens are."""
    if found and not is_there:
        raise InconsistentError(
            f"{target} is gone, and batches were published there.",
            safe=f"Nothing was changed; {BATCHES_KEPT}",
            next=f"Restore it; or have it made anew: delete the rows of dataset "
            f"{tokens[0].dataset!r} from {TOKENS} and move the record in deliveries/ away, then "
            "run again.",
        )
    return [_compare(token, found.get(token.batch)) for token in tokens]


def _compare(token: Token, digest: str | None) -> TokenState:
    if digest is None:
        return TokenState.ABSENT
    return TokenState.SAME if digest == token.digest else TokenState.OTHER


def refuse_missing_columns(target: str, schema: pa.Schema, columns: Collection[str]) -> None:
    """Raises `RefusedError` if the table of these columns can't take all of a row."""
    missing = [name for name in schema.names if name not in columns]
    if missing:
        raise refused_there(
            f"{target} has no column {missing[0]!r}.", "Add the column, or write to another table."
        )


def publish_rows(
    transaction: TableTransaction, staged: Staged, target: str, *, is_keyed: bool
) -> PublishEnd:
    """Do all of the transaction but its end. If this does not give `COMMITTED`, the transaction is
    to be undone. Raises `InconsistentError` if the rows that are there are others, and
    `RejectedError`."""
    had = transaction.find(staged.tokens)
    lacking = staged
    if _has_all(staged, had):
        return PublishEnd.LOST_RACE
    if any(had):
        is_cleared = staged.revision and transaction.clear(staged)
        if not is_cleared and not (staged.is_whole and is_keyed):
            lacking = select_lacking(staged, had[0].outcomes if had[0] else "", target)
    if (error := transaction.attempt(staged.schema, lacking.read())) is not None:
        rejection = _store_others(transaction, staged, lacking, target, error)
        # Rows that are there already are refused, too. So look first whether another was quicker.
        if transaction.find(staged.tokens) != had:
            return PublishEnd.LOST_RACE
        if not isinstance(rejection, RejectedError) or rejection.errors:
            raise rejection
    return _claim_all(transaction, staged, had)


def replace_rows(
    transaction: TableTransaction, staged: Staged, target: str, where: Mapping[str, str]
) -> PublishEnd:
    """As `publish_rows`, for all rows of a dataset, in the place of those that are there, or of
    those with the values of `where`. Raises `RefusedError` where these may be others'."""
    transaction.hold()
    had = transaction.find(staged.tokens)
    if _has_all(staged, had):
        return PublishEnd.LOST_RACE
    if not where and (held := transaction.find_others(staged.token, has_own=any(had))):
        raise refuse_others(target, held)
    transaction.empty(staged.token, where)
    if (error := transaction.attempt(staged.schema, staged.read())) is not None:
        raise _store_others(transaction, staged, staged, target, error)
    return _claim_all(transaction, staged, [None] * len(had))


def _has_all(staged: Staged, had: Sequence[EarlierPublication | None]) -> bool:
    """Whether each of its tokens is there: somebody may have deleted some of them."""
    found = zip(staged.tokens, had, strict=True)
    return all(held is not None and held.digest == token.digest for token, held in found)


def _claim_all(
    transaction: TableTransaction, staged: Staged, had: Sequence[EarlierPublication | None]
) -> PublishEnd:
    for token, held in zip(staged.tokens, had, strict=True):
        if not transaction.claim(token, staged.outcomes, held):
            return PublishEnd.LOST_RACE
    return PublishEnd.COMMITTED


def _store_others(
    transaction: TableTransaction, staged: Staged, lacking: Staged, target: str, error: Exception
) -> Exception:
    def attempt(rows: pa.Table) -> Exception | None:
        return transaction.attempt(staged.schema, rows.to_batches())

    return reject(staged, lacking, attempt, target, error)
