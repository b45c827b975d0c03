"""What a stopped call touches, read from the memory of its thread and from /proc."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable

from batten.crashlab.tracing.ptrace import Registers, read_memory, read_string, write_memory
from batten.crashlab.tracing.system_calls import CallPlace, SystemCall
from batten.model.value_class import value_class

_DELETED = " (deleted)"
_BUFFER = struct.Struct("QQ")


@value_class
class Touched:
    """The paths that a call names, absolute, and the bytes that it asks for."""

    path: str
    target: str
    size: int


def observe(
    thread: int, row: SystemCall, arguments: tuple[int, ...], is_watched: Callable[[str], bool]
) -> Touched | None:
    """What the call touches, or None if none of it is watched."""
    paths = [_path_of(thread, place, arguments) for place in row.places]
    if not any(is_watched(path) for path in paths):
        return None
    target = paths[1] if len(paths) > 1 else ""
    return Touched(path=paths[0], target=target, size=_size(thread, row, arguments))


def _path_of(thread: int, place: CallPlace, arguments: tuple[int, ...]) -> str:
    if place.address is not None:
        return _mapped_file(thread, arguments[place.address])
    path = ""
    if place.path is not None and arguments[place.path]:
        path = os.fsdecode(read_string(thread, arguments[place.path]))
    if os.path.isabs(path):
        return os.path.normpath(path)
    base = _read_link(f"/proc/{thread}/cwd")
    if place.descriptor is not None:
        descriptor = ctypes.c_int(arguments[place.descriptor] & 0xFFFFFFFF).value
        if descriptor >= 0:
            base = _read_link(f"/proc/{thread}/fd/{descriptor}")
        elif place.path is None:
            return ""
    # An empty path means the descriptor itself.
    return os.path.normpath(os.path.join(base, path)) if path else base


def _read_link(link: str) -> str:
    try:
        return os.readlink(link).removesuffix(_DELETED)
    except FileNotFoundError:
        return ""  # a descriptor that is not open


def _mapped_file(thread: int, address: int) -> str:
    with open(f"/proc/{thread}/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            columns = line.rstrip("\n").split(maxsplit=5)
            first, last = (int(bound, 16) for bound in columns[0].split("-"))
            if first <= address < last:
                return columns[5].removesuffix(_DELETED) if len(columns) > 5 else ""
    return ""


def _buffers(thread: int, row: SystemCall, arguments: tuple[int, ...]) -> list[tuple[int, int]]:
    if row.size is None:
        raise ValueError(f"{row.name} has no buffers")
    count = arguments[row.size]
    return list(_BUFFER.iter_unpack(read_memory(thread, arguments[row.size - 1], count * 16)))


def _size(thread: int, row: SystemCall, arguments: tuple[int, ...]) -> int:
    if row.size is None:
        return 0
    if row.is_vector:
        return sum(length for _, length in _buffers(thread, row, arguments))
    return arguments[row.size]


@value_class
class Patch:
    """Bytes of a thread's memory that were changed for the time of a call."""

    address: int
    original: bytes

    def undo(self, thread: int) -> None:
        write_memory(thread, self.address, self.original)


def halve_write(thread: int, row: SystemCall, registers: Registers, size: int) -> Patch | None:
    """Make the stopped call write only the first half of its `size` bytes, rounded up."""
    if row.size is None:
        raise ValueError(f"{row.name} writes nothing")
    half = (size + 1) // 2
    if not row.is_vector:
        registers.set_argument(row.size, half)
        return None
    address = registers.arguments[row.size - 1]
    buffers = _buffers(thread, row, registers.arguments)
    shortened = []
    for start, length in buffers:
        shortened.append((start, min(length, half)))
        half -= shortened[-1][1]
    write_memory(thread, address, b"".join(_BUFFER.pack(*each) for each in shortened))
    return Patch(address=address, original=b"".join(_BUFFER.pack(*each) for each in buffers))
