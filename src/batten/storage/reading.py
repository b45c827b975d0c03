"""Files that are open for reading.

Others read in such a file: Arrow, a digest, a comparison. Whatever fails then says which file it
was, and what is safe."""

from __future__ import annotations

import io
import os
import stat
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, BinaryIO, TypeVar

from batten.storage.beneath import READ, close_read, refuse_irregular
from batten.storage.failures import reading_failure, too_large
from batten.storage.machine import Machine

Result = TypeVar("Result")

MUCH_BYTES = 1 << 30
"""Of a file to be read whole that has more, it is asked first whether there is room in memory."""

SMALL_BYTES = 1 << 12
"""A file of fewer bytes is small."""


def open_to_read(descriptor: int, path: str) -> BinaryIO:
    """The open file, which owns the descriptor from here on; all that fails in it is a
    `StorageError`, but for its close. Raises `OSError`, and then the descriptor is closed."""
    try:
        raw = _Reading(descriptor, path)
    except BaseException:
        close_read(descriptor)
        raise
    return io.BufferedReader(raw)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """A file at a path that others gave; links are followed. Waits for nobody. Raises `OSError`,
    also for a folder, a pipe, a device."""
    descriptor = os.open(path, READ & ~os.O_NOFOLLOW)
    try:
        refuse_irregular(os.fstat(descriptor).st_mode)
    except BaseException:
        close_read(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def close_with(owner: object, file: IO[Any]) -> Callable[[], object]:
    """Have an open file closed when its owner is gone, or when what this gives is called."""
    return weakref.finalize(owner, _close, file)


def _close(file: IO[Any]) -> None:
    # It is closed even so, and what was read stays what it is.
    with suppress(OSError):
        file.close()


class _Reading(io.FileIO):
    def __init__(self, descriptor: int, path: str) -> None:
        super().__init__(descriptor, "rb")
        self._path = path

    def readinto(self, buffer: Any) -> Any:
        return self._do(super().readinto, buffer)

    def readall(self) -> Any:
        return self._do(super().readall)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._do(super().seek, offset, whence)

    def tell(self) -> int:
        return self._do(super().tell)

    def close(self) -> None:
        # As above.
        with suppress(OSError):
            super().close()

    def _do(self, action: Callable[..., Result], *arguments: object) -> Result:
        try:
            return action(*arguments)
        except OSError as error:
            raise reading_failure(error, "Reading", self._path) from error


def read_range(descriptor: int, offset: int, length: int | None, bytes_max: int | None) -> bytes:
    status = os.fstat(descriptor)
    refuse_irregular(status.st_mode)
    size = status.st_size
    start = max(size + offset, 0) if offset < 0 else offset
    wanted = max(size - start, 0)
    wanted = wanted if length is None else min(wanted, length)
    if wanted > (_room_bytes(wanted) if bytes_max is None else bytes_max):
        raise too_large()
    pieces: list[bytes] = []
    try:
        while wanted and (piece := os.pread(descriptor, wanted, start)):
            pieces.append(piece)
            start += len(piece)
            wanted -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    except MemoryError:
        # This process may be allowed less than the machine has.
        raise too_large() from None


def _room_bytes(wanted: int) -> int:
    """How much can be read at once if nobody knows what to expect: as much as there is memory."""
    if wanted <= MUCH_BYTES:
        return wanted
    room = Machine().observe_memory()
    return wanted if room is None else room.available_bytes


def read_small(name: str, parent: int) -> bytes | None:
    try:
        descriptor = os.open(name, READ, dir_fd=parent)
    except OSError:
        return None
    try:
        data = os.read(descriptor, SMALL_BYTES)
        status = os.fstat(descriptor)
        is_whole = stat.S_ISREG(status.st_mode) and status.st_size == len(data) < SMALL_BYTES
        return data if is_whole else None
    except OSError:
        return None
    finally:
        close_read(descriptor)
