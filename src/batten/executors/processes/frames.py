"""Messages on the pipes between the driver and a worker: a header, then bytes.

The driver never blocks on a pipe. So a worker that is stopped, stuck or killed in the middle of a
message holds up nobody. A worker has nothing else to do, and blocks.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

_HEADER = struct.Struct("=qqq")
_READ_BYTES = 1 << 16


class Header(NamedTuple):
    """`task_id` says which task it is about, `length` how many bytes follow."""

    task_id: int
    kind: int
    length: int


def encode_frame(task_id: int, kind: int, payload: bytes) -> bytes:
    return _HEADER.pack(task_id, kind, len(payload)) + payload


def write_frame(pipe: int, task_id: int, kind: int, payload: bytes) -> None:
    """Blocks until all is written."""
    rest = memoryview(encode_frame(task_id, kind, payload))
    while rest:
        rest = rest[os.write(pipe, rest) :]


def read_header(pipe: int) -> Header:
    """Blocks; raises `EOFError` when the other end is closed."""
    return Header._make(_HEADER.unpack(read_payload(pipe, _HEADER.size)))


def read_payload(pipe: int, length: int) -> bytes:
    """Blocks; raises `EOFError` when the other end is closed."""
    data = os.read(pipe, length) if length else b""
    if len(data) == length:
        return data
    pieces = [data]
    while data and (length := length - len(data)):
        data = os.read(pipe, length)
        pieces.append(data)
    if not data:
        raise EOFError
    return b"".join(pieces)


class FrameReader:
    """Gives the whole frames of a pipe that does not block; a torn one at the end is no frame."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._data = bytearray()

    def read_available(self) -> bool:
        """Take in what is there. False when the other end is closed and all was taken."""
        while True:
            try:
                data = os.read(self._pipe, _READ_BYTES)
            except BlockingIOError:
                return True
            self._data += data
            if len(data) < _READ_BYTES:
                return bool(data)

    def take_frames(self) -> Iterator[tuple[Header, bytes]]:
        start = 0
        while len(self._data) - start >= _HEADER.size:
            header = Header._make(_HEADER.unpack_from(self._data, start))
            stop = start + _HEADER.size + header.length
            if stop > len(self._data):
                break
            yield header, bytes(self._data[start + _HEADER.size : stop])
            start = stop
        del self._data[:start]


class FrameWriter:
    """Writes frames to a pipe that does not block, and keeps what the pipe has no room for."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._rest = bytearray()

    @property
    def is_waiting(self) -> bool:
        return bool(self._rest)

    def write(self, frame: bytes = b"") -> None:
        """Write what there is room for. Raises nothing if the other end is closed: the end of
        that worker is reported elsewhere."""
        self._rest += frame
        try:
            while self._rest:
                del self._rest[: os.write(self._pipe, self._rest)]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._rest.clear()
