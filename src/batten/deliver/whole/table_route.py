"""What the ways to a table have in common, whether it takes batches or all rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batten.deliver.route import Route
from batten.sinks.base import TakesColumns

if TYPE_CHECKING:
    import pyarrow as pa


class TableRoute(Route):
    """A destination with columns, which may get others later."""

    def can_add_columns(self) -> bool:
        return isinstance(self.destination, TakesColumns)

    def _add_columns(self, schema: pa.Schema) -> None:
        added = set(self._supply.list_added())
        if added and isinstance(self.destination, TakesColumns):
            new = [place for place, name in enumerate(schema.names) if name in added]
            self.destination.add_columns(_select(schema, new))


def _select(schema: pa.Schema, places: Sequence[int]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([schema.field(place) for place in places])
