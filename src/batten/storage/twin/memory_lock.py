"""A lock of the storage in memory."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from batten.storage.changing.steps import Step


class MemoryLock:
    """A lock of a `MemoryStorage`; it is gone after a crash."""

    def __init__(self, write: Callable[[Step, bytes], None], drop: Callable[[], object]) -> None:
        self._write = write
        self._drop = drop
        self._is_held = True

    def release(self) -> None:
        """Empty the text, then unlock. May be repeated."""
        if self._is_held:
            self._is_held = False
            self._write("lock.clear", b"")
            self._drop()

    def __enter__(self) -> MemoryLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
