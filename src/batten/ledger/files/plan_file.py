"""A keys file of the plan, held against the record that describes it.

Arrow trusts what it reads, so the digest comes first. A digest tells damage and not malice, so what
is read then is checked as well.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from batten.ledger.facts.unpacked import refuse_unpacked
from batten.model.disk.records import Segment, Unreadable

if TYPE_CHECKING:
    import pyarrow as pa

KEY, POSITION = "key", "position"

VALUE = "value"
"""The column that holds items, as plain bytes."""

PICKLE = "payload"
"""The same of batten 0.1, which pickled them."""


class PlanFile:
    """The record batches of a segment, each read when it is asked for. Raises `Unreadable` if
    the bytes are not what the record describes."""

    def __init__(self, data: bytes, segment: Segment) -> None:
        import pyarrow as pa

        if hashlib.sha256(data).hexdigest() != segment.keys_digest:
            raise Unreadable("its digest is not the one that its record names")
        self._segment = segment
        refuse_unpacked(data)
        try:
            options = pa.ipc.IpcReadOptions(use_threads=False)
            self._reader = pa.ipc.open_file(pa.py_buffer(data), options=options)
            # Names need not be UTF-8 there.
            fields = {field.name: field.type for field in self._reader.schema}
        except (OSError, ValueError, pa.ArrowException) as error:
            raise Unreadable(_first_line(error)) from error
        count = self._reader.num_record_batches
        if count != segment.batches:
            raise Unreadable(f"it has {count} batches; its record says {segment.batches}")
        kinds = {
            KEY: pa.string(),
            POSITION: pa.int64(),
            VALUE: pa.large_binary(),
            PICKLE: pa.large_binary(),
        }
        odd = [name for name, kind in fields.items() if kinds.get(name) != kind]
        if odd or len(fields) != len(self._reader.schema) or (KEY in fields) != segment.is_keyed:
            raise Unreadable("its columns are not those of a plan")

    def read(self, position: int) -> pa.RecordBatch:
        """The batch of that position in the segment."""
        import pyarrow as pa

        try:
            batch = self._reader.get_batch(position)
            batch.validate(full=True)
        except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
            raise Unreadable(_first_line(error)) from error
        segment = self._segment
        items = min(segment.batch_size, segment.items - position * segment.batch_size)
        if batch.num_rows != items or any(column.null_count for column in batch.columns):
            raise Unreadable(f"its batch {position} is not of {items} items")
        return batch


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
