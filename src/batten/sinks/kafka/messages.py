"""Rows as messages: a key, a value and headers.

A value is the row as JSON, or as a stream of Arrow with that row, which brings its columns along.
The headers name the dataset, the batch and the item's key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from batten.sinks.base import Staged
from batten.sinks.files.formats import encode_json
from batten.sinks.rows.plain_values import list_values

if TYPE_CHECKING:
    import pyarrow as pa

DATASET, BATCH, KEY = "batten-dataset", "batten-batch", "batten-key"

_OVERHEAD_BYTES = 61 + 40
"""What a batch of one message has beside it, and the lengths in the message itself, at most."""
_HEADER_BYTES = 10


class Message(NamedTuple):
    """What is sent for a row; `item` is what tells the row's item from others. Without a partition
    the client chooses one by the key. `size` is as the broker counts it, or a little more."""

    item: Any
    partition: int | None
    key: bytes | None
    value: bytes
    headers: list[tuple[str, str | bytes | None]]
    size: int


class ValueFormat(NamedTuple):
    """`check` raises where a library is missing; `encode` gives the value of each row."""

    check: Callable[[], None]
    encode: Callable[[pa.RecordBatch], list[bytes]]


def encode_messages(staged: Staged, *, key: str, format: str, partitions: int) -> Iterator[Message]:
    """The messages of all rows, in order. Those without a key are kept together: batch by batch
    they go round the partitions."""
    dataset = staged.token.dataset.encode()
    batch = b"" if staged.token.batch is None else str(staged.token.batch).encode()
    home = (staged.token.batch or 0) % max(1, partitions)
    encode = VALUE_FORMATS[format].encode
    names = len(DATASET) + len(BATCH) + len(KEY) + 3 * _HEADER_BYTES
    fixed = names + len(dataset) + len(batch) + _OVERHEAD_BYTES
    for rows in staged.read():
        items = list_values(rows.column(0))
        keys = list_values(rows.column(rows.schema.get_field_index(key))) if key else None
        for place, value in enumerate(encode(rows)):
            chosen = _as_bytes(keys[place]) if keys is not None else None
            item = _as_bytes(items[place]) or b""
            yield Message(
                items[place],
                home if chosen is None else None,
                chosen,
                value,
                [(DATASET, dataset), (BATCH, batch), (KEY, item)],
                fixed + len(value) + len(item) + len(chosen or b""),
            )


def _as_bytes(value: Any) -> bytes | None:
    """Texts and bytes as they are, other values as JSON writes them, without quotes."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if type(value) is int:
        return b"%d" % value
    return json.dumps(value, default=str).removeprefix('"').removesuffix('"').encode()


def _json(rows: pa.RecordBatch) -> list[bytes]:
    return [text.encode() for text in encode_json(rows)]


def _arrow(rows: pa.RecordBatch) -> list[bytes]:
    import pyarrow as pa

    made = []
    for place in range(rows.num_rows):
        buffer = pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, rows.schema) as stream:
            stream.write_batch(rows.slice(place, 1))
        made.append(buffer.getvalue().to_pybytes())
    return made


def _nothing() -> None:
    """Needs nothing more."""


VALUE_FORMATS = {
    "json": ValueFormat(_nothing, _json),
    "arrow": ValueFormat(_nothing, _arrow),
}
