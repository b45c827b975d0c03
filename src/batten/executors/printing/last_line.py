"""The last line of a terminal, which is drawn again and again; what others print goes above it.

Whoever prints while it is there clears the line, prints whole lines, and draws it again. So what is
printed is never cut through, and never drawn over. The nursery, which prints for the workers, reads
in shared memory what the driver has drawn (decision 0106).
"""

from __future__ import annotations

import mmap
import os
import threading
from contextlib import suppress

CLEAR = b"\r\x1b[2K"

_SHARED_BYTES = 1 << 12

TAIL_BYTES_MAX = 1 << 12
"""A line that is longer is passed on in pieces, each as a line."""


class WholeLines:
    """Keeps back what is no whole line yet."""

    def __init__(self) -> None:
        self._tail = b""

    def take(self, data: bytes) -> bytes:
        """What may be printed now: lines with their ends."""
        whole, end, tail = (self._tail + data).rpartition(b"\n")
        self._tail = tail
        if len(tail) > TAIL_BYTES_MAX:
            return whole + end + self.finish()
        return whole + end

    def finish(self) -> bytes:
        """The rest, as a line; empty if there is none."""
        tail, self._tail = self._tail, b""
        return tail + b"\n" if tail else b""


class ShownLine:
    """What is drawn, in memory that another process sees. It may read half of a change; the next
    drawing makes that good."""

    def __init__(self, handle: int | None = None) -> None:
        self.handle = handle if handle is not None else os.memfd_create("batten-last-line")
        os.ftruncate(self.handle, _SHARED_BYTES)
        self._map = mmap.mmap(self.handle, _SHARED_BYTES)

    def store(self, shown: bytes) -> None:
        self._map[: len(shown)] = shown
        self._map[len(shown)] = 0

    def load(self) -> bytes:
        return self._map[:].partition(b"\0")[0]

    def close(self) -> None:
        self._map.close()
        os.close(self.handle)


class LastLine:
    """That of this process. A forked worker has its own copy, and its output is no terminal."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self.shown: ShownLine | None = None
        self._kept: dict[int, WholeLines] = {}
        self._lock = threading.Lock()

    @property
    def is_claimed(self) -> bool:
        """Whether there is one."""
        return self.shown is not None

    def claim(self, descriptor: int) -> None:
        """From now on this terminal has one, which is empty."""
        self._descriptor = descriptor
        self.shown = ShownLine()

    def draw(self, text: str) -> None:
        """Show this in the place of what was there. May be repeated."""
        data = text.encode(errors="backslashreplace")[: _SHARED_BYTES - 1]
        with self._lock:
            if self.shown is not None:
                self.shown.store(data)
                self._write(CLEAR + data)

    def release(self) -> None:
        """There is none any more. May be repeated."""
        with self._lock:
            if self.shown is None:
                return
            rest = b"".join(lines.finish() for lines in self._kept.values())
            if self.shown.load() or rest:
                self._write(CLEAR + rest)
            self.shown.close()
            self.shown = None
            self._kept.clear()

    def add_above(self, descriptor: int, data: bytes) -> bytes:
        """What to write to the descriptor, a terminal's, so that the data stands above the line."""
        with self._lock:
            whole = self._kept.setdefault(descriptor, WholeLines()).take(data)
            shown = self.shown.load() if self.shown is not None else b""
            return CLEAR + whole + shown if whole else b""

    def _write(self, data: bytes) -> None:
        with suppress(OSError):
            if self._descriptor is not None:
                os.write(self._descriptor, data)


last_line = LastLine()
"""This process's own."""
