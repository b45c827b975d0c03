"""A live tree, into which the user's function puts each item.

Each item has a transaction of its own, which carries the item's token (decision 0022).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from batten.errors import BusyError, OutdatedError, StorageError, usage_error
from batten.model.disk.destinations.tokens import PublishEnd, Token, TokenState
from batten.model.value_class import value_class
from batten.model.words import Takes
from batten.sinks.base import AtPath, LedgerPlace, RejectedError, Staged
from batten.sinks.rows.plain_values import list_rows
from batten.storage.blame import find_machine_failure
from batten.transactions.entry import (
    clear_leftovers,
    has_token,
    locate_tree,
    read_lock,
    transaction,
)
from batten.transactions.transaction import Transaction

if TYPE_CHECKING:
    import pyarrow as pa

CommitItem = Callable[[Transaction, Any, Any], object]


def check_commit(commit: object) -> None:
    """Raises `UsageError` for what can't put items into a tree."""
    if not callable(commit) or inspect.iscoroutinefunction(commit):
        raise usage_error(
            f"commit is {commit!r}, which is no plain function.",
            "Give one that takes the transaction, the item and what was prepared; what awaits "
            "belongs into a step before.",
        )


@value_class
class TreeSink(AtPath):
    """The tree below `path`. `commit` is called with the transaction, the item of the source, and
    what the steps made of it: a dict, or with `is_many` a list of them."""

    path: Path
    commit: CommitItem = field(repr=False)
    dataset: str
    is_many: bool
    kind: ClassVar[str] = "tree"
    takes: ClassVar[Takes] = Takes.ITEMS

    def fill(self, fill: Callable[[str], str]) -> TreeSink:
        return replace(self, path=Path(fill(str(self.path))))

    def check(self) -> None:
        """Needs nothing that batten does not."""

    def open(self, ground: LedgerPlace) -> TreeDestination:
        return TreeDestination(self)


class TreeDestination:
    """The tree of one sink; see the module."""

    def __init__(self, sink: TreeSink) -> None:
        self._sink = sink

    def prepare(self, schema: pa.Schema) -> None:
        """A tree takes whatever the function makes of the rows."""

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        root = self._sink.path
        with ExitStack() as stack:
            if locate_tree(root).is_there:
                clear_leftovers(root)
                stack.enter_context(read_lock(root))
            return [
                TokenState.SAME if has_token(root, _spell(token)) else TokenState.ABSENT
                for token in tokens
            ]

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        """None: what failed was never put there."""
        return []

    def publish(self, staged: Staged) -> PublishEnd:
        """Raises `RejectedError` if the item can't be had, or the function raises: the tree is
        as it was before."""
        sink, token = self._sink, _spell(staged.token)
        if has_token(sink.path, token):
            return PublishEnd.COMMITTED
        key_column = staged.schema.names[0]
        rows = [
            {name: value for name, value in row.items() if name != key_column}
            for batch in staged.read()
            for row in list_rows(batch)
        ]
        item = _load(staged)
        with transaction(sink.path, token=token) as change:
            try:
                sink.commit(change, item, rows if sink.is_many else rows[0])
                change.refuse_doomed()
            except (StorageError, BusyError):
                raise
            except Exception as error:
                if (failure := find_machine_failure(error)) is not None:
                    raise failure from error
                is_outdated = isinstance(error, OutdatedError)
                raise RejectedError({0: error}, is_outdated=is_outdated) from error
        return PublishEnd.COMMITTED

    def rehearse(self, staged: Staged) -> None:
        """What the function makes of an item is known when it is put there."""

    def close(self) -> None:
        """Nothing is held open."""


def _load(staged: Staged) -> Any:
    try:
        return staged.load_item()
    except StorageError:
        raise
    except Exception as error:
        raise RejectedError({0: error}) from error


def _spell(token: Token) -> str:
    """The token does not hold the content. So an item that was put into the tree stays there, also
    when its ledger was lost and it was prepared anew."""
    return f"{token.dataset}\n{token.key}"
