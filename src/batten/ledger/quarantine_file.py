"""The quarantine file of a batch: a row for each item that failed for good."""

from __future__ import annotations

import pyarrow as pa

from batten.sinks.parquet import encode_rows

_COLUMNS = pa.schema(
    [
        ("key", pa.string()),
        ("item", pa.int64()),
        ("error", pa.string()),
        ("traceback", pa.string()),
        ("attempts", pa.int64()),
        ("time", pa.string()),
    ]
)


def encode_quarantine(rows: list[dict[str, object]]) -> pa.Buffer:
    """The bytes of the file."""
    return encode_rows(pa.Table.from_pylist(rows, schema=_COLUMNS))
