"""A destination that keeps no tokens: the record of deliveries alone tells what it has.

The record is written after each batch. A crash between the two leaves a batch that is there and not
recorded, and it is given again. So each row is there at least once (decision 0142).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batten.model.disk.destinations.tokens import PublishEnd, Token, TokenState
from batten.sinks.base import Destination, Staged, TakesColumns
from batten.sinks.deliveries import DeliveryBook

if TYPE_CHECKING:
    import pyarrow as pa


class RecordedDestination:
    """See `Destination`. It is open already."""

    def __init__(self, destination: Destination, book: DeliveryBook) -> None:
        self._destination = destination
        self._book = book

    def prepare(self, schema: pa.Schema) -> None:
        self._destination.prepare(schema)

    def add_columns(self, schema: pa.Schema) -> None:
        if isinstance(self._destination, TakesColumns):
            self._destination.add_columns(schema)

    def lookup(self, tokens: Sequence[Token]) -> list[TokenState]:
        record = self._book.find()
        # What was given no rows may be given those of a dataset that was made anew for them.
        batches = record.batches if record is not None and record.rows else 0
        content = record.content if record is not None else ""

        def has(token: Token) -> bool:
            is_given = token.batch is not None and token.batch < batches
            return is_given and content in ("", token.digest)

        return [TokenState.SAME if has(each) else TokenState.ABSENT for each in tokens]

    def list_closed(self, tokens: Sequence[Token]) -> list[Token]:
        """All: which items its rows belong to is not known."""
        return list(tokens)

    def publish(self, staged: Staged) -> PublishEnd:
        return self._destination.publish(staged)

    def rehearse(self, staged: Staged) -> None:
        self._destination.rehearse(staged)

    def close(self) -> None:
        self._destination.close()
