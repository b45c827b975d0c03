"""How much memory an Arrow IPC file will take, before it takes it.

A buffer that is compressed says first how large it is without that: a few kilobytes can stand for
many gigabytes. Where the buffers lie is said by the metadata of each message, a FlatBuffer:
`Message.header` is a `RecordBatch`, whose third field lists offsets and lengths of its buffers, and
whose fourth is there where they are compressed.
"""

from __future__ import annotations

import struct

from batten.model.disk.records import Unreadable
from batten.model.telling.counts import count_of

UNPACKED_BYTES_MAX = 1 << 29
"""Of one record batch; batten's own are cut at a sixteenth of this, or hold one batch of items."""

_MAGIC_BYTES = 8
_HEADER, _BUFFERS, _COMPRESSION = 2, 2, 3
_NOT_COMPRESSED = -1


def refuse_unpacked(data: bytes) -> None:
    """Raises `Unreadable` if a record batch of the file would take more than is allowed. If it
    can't be followed, it is left to Arrow, which checks its order."""
    import pyarrow as pa

    try:
        reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(data[_MAGIC_BYTES:]))
        for message in reader:
            if message.type in ("record batch", "dictionary"):
                size = _sum_sizes(message.metadata.to_pybytes(), message.body)
                if size > UNPACKED_BYTES_MAX:
                    raise Unreadable(f"a batch of {count_of(size, 'byte')}")
    except (struct.error, ValueError, OSError, EOFError, pa.ArrowException) as error:
        if isinstance(error, Unreadable):
            raise


def _sum_sizes(metadata: bytes, body: memoryview) -> int:
    message = _follow(metadata, 0)
    header = _find_field(metadata, message, _HEADER)
    batch = _follow(metadata, header) if header else 0
    if not header or not _find_field(metadata, batch, _COMPRESSION):
        return 0  # then it is as large as it lies there
    field = _find_field(metadata, batch, _BUFFERS)
    if not field:
        return 0
    vector = _follow(metadata, field)
    (count,) = struct.unpack_from("<I", metadata, vector)
    total = 0
    for number in range(min(count, len(metadata) // 16)):
        offset, length = struct.unpack_from("<qq", metadata, vector + 4 + 16 * number)
        if length >= 8 and 0 <= offset <= len(body) - 8:
            (size,) = struct.unpack_from("<q", body, offset)
            total += length if size == _NOT_COMPRESSED else max(size, 0)
    return total


def _follow(data: bytes, place: int) -> int:
    return int(place + struct.unpack_from("<I", data, place)[0])


def _find_field(data: bytes, table: int, number: int) -> int:
    """Where a field of a table lies; 0 where it has none."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    (size,) = struct.unpack_from("<H", data, vtable)
    if 4 + 2 * number >= size:
        return 0
    (offset,) = struct.unpack_from("<H", data, vtable + 4 + 2 * number)
    return int(table + offset) if offset else 0
