"""Rows as messages: a key, a value and headers.

A value is the row as JSON; as a stream of Arrow with that row, which brings its columns along; or
as Avro, with what names its schema. The headers name the dataset, the batch and the item's key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from batten.optional import ensure_optional
from batten.sinks.base import Staged
from batten.sinks.files.formats import encode_json
from batten.sinks.rows.plain_values import list_values
from batten.sinks.rows.rejecting import UnstorableError

if TYPE_CHECKING:
    import pyarrow as pa

    from batten.kafka.cluster import Cluster
    from batten.sinks.kafka.topic import KafkaTopic

DATASET, BATCH, KEY = "batten-dataset", "batten-batch", "batten-key"

_OVERHEAD_BYTES = 61 + 40
"""What a batch of one message has beside it, and the lengths in the message itself, at most."""
_HEADER_BYTES = 10


class Message(NamedTuple):
    """What is sent for a row; `item` is what tells the row's item from others. Without a partition
    the client chooses one by the key. `size` is as the broker counts it, or a little more. With an
    `error` there is no value, and it can't be sent."""

    item: Any
    partition: int | None
    key: bytes | None
    value: bytes
    headers: list[tuple[str, str | bytes | None]]
    size: int
    error: UnstorableError | None = None


class ValueEncoder(Protocol):
    """Makes values of rows. It belongs to one destination."""

    def prepare(self, schema: pa.Schema) -> None:
        """See to it that readers can find the schema. It may be repeated. Raises `RefusedError` for
        columns that can't be written so, and `StorageError` where nobody answers."""

    def encode(self, rows: pa.RecordBatch) -> Sequence[bytes | UnstorableError]:
        """The value of each row, or why it has none. Rows have the schema that was prepared."""


class ValueFormat(NamedTuple):
    """`check` raises where a library is missing; `open` gives what makes values."""

    check: Callable[[], None]
    open: Callable[[KafkaTopic, Cluster], ValueEncoder]


def encode_messages(
    staged: Staged, *, key: str, values: ValueEncoder, partitions: int
) -> Iterator[Message]:
    """The messages of all rows, in order. Those without a key are kept together: batch by batch
    they go round the partitions."""
    dataset = staged.token.dataset.encode()
    batch = b"" if staged.token.batch is None else str(staged.token.batch).encode()
    home = (staged.token.batch or 0) % max(1, partitions)
    names = len(DATASET) + len(BATCH) + len(KEY) + 3 * _HEADER_BYTES
    fixed = names + len(dataset) + len(batch) + _OVERHEAD_BYTES
    for rows in staged.read():
        items = list_values(rows.column(0))
        keys = list_values(rows.column(rows.schema.get_field_index(key))) if key else None
        for place, made in enumerate(values.encode(rows)):
            value, error = (made, None) if isinstance(made, bytes) else (b"", made)
            chosen = _as_bytes(keys[place]) if keys is not None else None
            item = _as_bytes(items[place]) or b""
            yield Message(
                items[place],
                home if chosen is None else None,
                chosen,
                value,
                [(DATASET, dataset), (BATCH, batch), (KEY, item)],
                fixed + len(value) + len(item) + len(chosen or b""),
                error,
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


def encode_json_values(rows: pa.RecordBatch) -> list[bytes]:
    """Each row as an object."""
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


class SelfContained:
    """See `ValueEncoder`: each value says what it has, and needs no schema."""

    def __init__(self, encode: Callable[[pa.RecordBatch], Sequence[bytes]]) -> None:
        self.encode = encode

    def prepare(self, schema: pa.Schema) -> None:
        """Nothing is needed."""


def _open_avro(sink: KafkaTopic, cluster: Cluster) -> ValueEncoder:
    from batten.sinks.kafka.avro.format import AvroValues

    return AvroValues(sink, cluster)


def _check_avro() -> None:
    ensure_optional("fastavro", '.write_kafka(format="avro")', package="'batten[kafka]'")


AVRO = "avro"
VALUE_FORMATS = {
    "json": ValueFormat(lambda: None, lambda sink, cluster: SelfContained(encode_json_values)),
    "arrow": ValueFormat(lambda: None, lambda sink, cluster: SelfContained(_arrow)),
    AVRO: ValueFormat(_check_avro, _open_avro),
}
