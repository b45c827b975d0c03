"""The quarantine file of a batch: a row for each item that failed for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from batten.model.disk.bounds import (
    MEBIBYTE,
    RECORD_BYTES_MAX,
    Count,
    Name,
    Position,
    Text,
    build,
)
from batten.model.value_class import value_class

if TYPE_CHECKING:
    import pyarrow as pa

    from batten.storage.base import Store

Long = Annotated[str, Text(64 * MEBIBYTE)]


@value_class
class Quarantined:
    """An item that failed for good.

    Attributes:
        batch: The number of its batch.
        item: Its number within the batch, from 0.
        key: Its key.
        error: The error, in one line.
        traceback: The traceback of the job's code.
        attempts: How often it was tried.
        time: When it failed for good, in UTC.
    """

    batch: Position
    item: Count
    key: Long
    error: Long
    traceback: Long
    attempts: Count
    time: Name


def encode_quarantine(columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Buffer:
    """The bytes of the file."""
    import pyarrow as pa

    from batten.sinks.parquet import encode_rows

    schema = pa.schema(
        [
            ("key", pa.string()),
            ("item", pa.int64()),
            ("error", pa.string()),
            ("traceback", pa.string()),
            ("attempts", pa.int64()),
            ("time", pa.string()),
        ]
    )
    return encode_rows(pa.table(dict(columns), schema=schema))


def read_quarantine(storage: Store, name: str, batch: int) -> list[Quarantined]:
    """The items of the file of that batch. Raises what reading raises, and `ValueError` for fields
    that batten never writes there."""
    from batten.ledger.files.part_rows import PartRows

    data = storage.read(name, bytes_max=RECORD_BYTES_MAX["quarantine"])
    return [_read_row(batch, row) for row in PartRows(data).read_table().to_pylist()]


def _read_row(batch: int, row: dict[str, Any]) -> Quarantined:
    """Raises `Damaged` if a field is not what batten writes there."""
    read: Quarantined = build(Quarantined, {**row, "batch": batch})
    return read
