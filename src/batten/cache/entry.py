"""An entry in use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from batten.errors import StorageError, UsageError
from batten.storage.local import folders


class CacheEntry:
    """An entry in use: a folder that stays until `close`, or until the `with` block ends.

    Don't write to the folder. Threads may share the entry. `Cache.get_or_create` gives one.

    Attributes:
        path: The folder.
        is_hit: Whether the entry was there already.
    """

    __slots__ = ("_close", "_process", "is_hit", "path")

    def __init__(self, path: Path, *, is_hit: bool, close: Callable[[], None]) -> None:
        self.path = path
        self.is_hit = is_hit
        self._close: Callable[[], None] | None = close
        self._process = os.getpid()

    def read_files(self) -> dict[str, bytes]:
        """Read all files at once, which is quicker than to open each.

        Returns:
            The bytes of every file, by its name relative to `path`, with `/`, in no order.

        Raises:
            UsageError: The entry was closed. Nothing was read.
            StorageError: Something in it is no file, can't be read, or has no room in memory.
        """
        if self._close is None:
            raise UsageError(
                f"{self!r} was closed: its files may be gone.",
                safe="Nothing was read.",
                next="Read within the `with` block.",
            )
        try:
            return folders.read_files(str(self.path))
        except (OSError, MemoryError) as error:
            why = getattr(error, "strerror", None) or str(error) or "there is no memory for them"
            raise StorageError(
                f"The files of {self!r} can't be read: {why}.",
                safe="Nothing was changed.",
                next="Look at what lies there, or have `cache verify` check the whole cache.",
                errno=getattr(error, "errno", None),
            ) from error

    def close(self) -> None:
        """Let go of the entry, so that it may be removed.

        It may be repeated. In a forked process it does nothing: the entry is held by the process
        that took it.
        """
        close, self._close = self._close, None
        if close is not None and os.getpid() == self._process:
            close()

    def __enter__(self) -> CacheEntry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"CacheEntry({str(self.path)!r})"
