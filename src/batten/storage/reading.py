"""A file that is open for reading. Whatever of that fails, in whoever's hands it is, says which
file it was and what is safe: Arrow reads in it, and digests and comparisons do."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO, TypeVar

from batten.storage.beneath import close_read
from batten.storage.failures import reading_failure

Result = TypeVar("Result")


def open_to_read(descriptor: int, path: str) -> BinaryIO:
    """The open file, which owns the descriptor from here on; all that fails in it is a
    `StorageError`, but for its close. Raises `OSError`, and then the descriptor is closed."""
    try:
        raw = _Reading(descriptor, path)
    except BaseException:
        close_read(descriptor)
        raise
    return io.BufferedReader(raw)


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
        # It is closed even so, and what was read stays what it is.
        with suppress(OSError):
            super().close()

    def _do(self, action: Callable[..., Result], *arguments: object) -> Result:
        try:
            return action(*arguments)
        except OSError as error:
            raise reading_failure(error, "Reading", self._path) from error
