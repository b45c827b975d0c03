"""Batches of records as compaction leaves them: the offsets of what it removed stay taken, also
those at the end. A producer can't send such, so they are sent byte by byte."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping

_PRODUCE, _VERSION, _ALL_REPLICAS = 0, 3, -1
_SECONDS = 30.0

HEADERS = {"h": b"\xff"}

Record = tuple[bytes, bytes | None]
"""A key and a value; without a value it is a tombstone."""


def send_compacted(
    servers: str,
    topic: str,
    kept: Mapping[int, Record],
    offsets: int,
    headers: Mapping[str, bytes] | None = None,
) -> None:
    """One batch that had so many records, of which only those at the offsets in `kept` are left.
    They count from the end that the first partition has now."""
    batch = _encode_batch(kept, offsets, headers or {})
    body = struct.pack(">hhii", -1, _ALL_REPLICAS, 1000 * int(_SECONDS), 1) + _text(topic)
    body += struct.pack(">iii", 1, 0, len(batch)) + batch
    head = struct.pack(">hhi", _PRODUCE, _VERSION, 1) + _text("compacted")
    host, _, port = servers.rpartition(":")
    with socket.create_connection((host, int(port)), _SECONDS) as connection:
        connection.sendall(struct.pack(">i", len(head + body)) + head + body)
        answer = _receive(connection, struct.unpack(">i", _receive(connection, 4))[0])
    at = 4 + 4 + 2 + len(topic) + 4 + 4
    (code,) = struct.unpack_from(">h", answer, at)
    if code:
        raise RuntimeError(f"the broker answered with error {code}")


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (piece := connection.recv(size - len(data))):
            raise ConnectionError("the broker ended the connection")
        data += piece
    return data


def _encode_batch(kept: Mapping[int, Record], offsets: int, headers: Mapping[str, bytes]) -> bytes:
    now = round(1000 * time.time())
    records = b"".join(_encode_record(offset, *record, headers) for offset, record in kept.items())
    checked = struct.pack(">hiqqqhi", 0, offsets - 1, now, now, -1, -1, -1)
    checked += struct.pack(">i", len(kept)) + records
    behind = struct.pack(">ibI", -1, 2, _crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(behind)) + behind


def _encode_record(
    offset: int, key: bytes, value: bytes | None, headers: Mapping[str, bytes]
) -> bytes:
    data = b"\0" + _varint(0) + _varint(offset) + _varint(len(key)) + key
    data += _varint(-1) if value is None else _varint(len(value)) + value
    data += _varint(len(headers))
    for name, held in headers.items():
        named = name.encode(errors="surrogateescape")
        data += _varint(len(named)) + named + _varint(len(held)) + held
    return _varint(len(data)) + data


def _varint(number: int) -> bytes:
    left, data = (number << 1) ^ (number >> 63), bytearray()
    while left > 0x7F:
        data.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*data, left])


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF
