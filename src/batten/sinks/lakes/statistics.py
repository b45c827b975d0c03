"""What the footer of a Parquet file says of its columns, as table formats keep it."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow.parquet as pq

COLUMNS_MAX = 32
TEXT_CHARACTERS_MAX = 32


def describe_columns(data: bytes) -> dict[str, Any]:
    """Rows, and of the first plain columns the least and the greatest value and how many are null.
    A column is left out of what is not known of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(pa.BufferReader(data))
    told: dict[str, Any] = {
        "numRecords": metadata.num_rows,
        "minValues": {},
        "maxValues": {},
        "nullCount": {},
    }
    for place in range(min(metadata.num_columns, COLUMNS_MAX)):
        name = metadata.schema.column(place).path
        if name != metadata.schema.column(place).name:
            continue
        found = [
            metadata.row_group(group).column(place).statistics
            for group in range(metadata.num_row_groups)
        ]
        if all(each is not None and each.has_null_count for each in found):
            told["nullCount"][name] = sum(each.null_count for each in found)
        ends = _find_ends([each for each in found if each is None or each.num_values])
        if ends is not None:
            told["minValues"][name], told["maxValues"][name] = ends
    return told


def _find_ends(found: list[pq.Statistics | None]) -> tuple[Any, Any] | None:
    if not found or not all(each is not None and each.has_min_max for each in found):
        return None
    try:
        values = [value for each in found if each is not None for value in (each.min, each.max)]
    except (OverflowError, ValueError):
        # Python has no time of the year 20000.
        return None
    if not all(_is_plain(value) for value in values):
        return None
    ends = min(values), max(values)
    return (ends[0].isoformat(), ends[1].isoformat()) if isinstance(ends[0], date) else ends


def _is_plain(value: object) -> bool:
    """Whether JSON says it whole, and readers order it as Parquet does."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return len(value) <= TEXT_CHARACTERS_MAX
    if isinstance(value, bool | datetime):
        return False
    return isinstance(value, int | date)
