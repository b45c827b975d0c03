"""Whether a source still has what was planned, compared a block at a time.

The keys of the plan are compared where they lie, and never made texts of Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from batten.ledger.files.plan_file import PICKLE, VALUE
from batten.plan.plan import Plan
from batten.sources.base import ScanBlock

if TYPE_CHECKING:
    import pyarrow as pa


class PlannedKeys:
    """The keys and positions of a plan, in order, beside those that a scan finds."""

    def __init__(self, plan: Plan) -> None:
        self._tables = _list_tables(plan)
        self._table: pa.Table | None = None

    def match(self, block: ScanBlock) -> bool:
        """Whether the block is what the plan holds next. If it is not, it is undefined where the
        next one would begin."""
        import pyarrow as pa

        from batten.rows.arrays import integers, texts

        columns: dict[str, pa.Array] = {}
        if block.keys is not None:
            columns["key"] = texts(block.keys)
        if block.positions is not None:
            columns["position"] = integers(block.positions)
        found = pa.table(columns)
        while found.num_rows:
            if self._table is None or not self._table.num_rows:
                self._table = next(self._tables, None)
                if self._table is None:
                    return False
            both = min(found.num_rows, self._table.num_rows)
            if not found.slice(0, both).equals(self._table.slice(0, both)):
                return False
            found, self._table = found.slice(both), self._table.slice(both)
        return True


def _list_tables(plan: Plan) -> Iterator[pa.Table]:
    import pyarrow as pa

    for number in range(plan.batches):
        columns = plan.columns(plan.batch(number))
        if columns is not None:
            yield pa.table(
                {
                    name: columns[name]
                    for name in columns.schema.names
                    if name not in (VALUE, PICKLE)
                }
            )
