"""The quarantined items of an output, with their errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from batten.errors import StorageError
from batten.inspect.output_path import Place
from batten.ledger.facts.observation import Observation
from batten.ledger.part_rows import PartRows
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


def read_quarantined(
    place: Place, observation: Observation, unreadable: list[str]
) -> Iterator[Quarantined]:
    """Those of published batches only: without its part, a quarantine file is of a try that a crash
    ended. The names of files that can't be read go to `unreadable`."""
    batches = sorted(observation.quarantine.keys() & observation.parts.keys())
    if not batches:
        return
    import pyarrow as pa

    for batch in batches:
        claim = observation.claims.get(batch)
        name = place.layout.quarantined(batch, (claim.digest or "") if claim is not None else "")
        try:
            data = place.storage.read(name, bytes_max=RECORD_BYTES_MAX["quarantine"])
            rows = PartRows(data).read_table().to_pylist()
            found = [_read_row(batch, row) for row in rows]
        except (StorageError, OSError, ValueError, TypeError, KeyError, pa.ArrowException):
            unreadable.append(place.show(name))
        else:
            yield from found


def _read_row(batch: int, row: dict[str, Any]) -> Quarantined:
    """Raises `Damaged` if a field is not what batten writes there."""
    read: Quarantined = build(Quarantined, {**row, "batch": batch})
    return read
