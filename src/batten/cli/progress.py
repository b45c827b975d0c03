"""How far a run is, on standard error: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from batten.printable import escape

if TYPE_CHECKING:
    from batten.run.progress import Progress, Status

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""

_CLEAR = "\r\x1b[2K"


def choose_progress(*, is_quiet: bool) -> Progress:
    """The way to show progress that fits standard error."""
    from batten.run.progress import Silent

    if is_quiet:
        return Silent()
    stream = sys.stderr
    is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
    return Bar(stream) if is_terminal else Lines(stream)


class Bar:
    """One line that is drawn again and again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pace = ItemRate()
        self._is_drawn = False

    def show(self, status: Status) -> None:
        columns = 80
        with suppress(OSError, ValueError):
            columns = os.get_terminal_size(self._stream.fileno()).columns
        text = self._pace.describe(status)
        width = max(0, min(30, columns - len(text) - 4))
        filled = int(width * finished_share(status))
        bar = f"[{'#' * filled}{'-' * (width - filled)}] " if width >= 10 else ""
        self._write(_CLEAR + (bar + text)[: columns - 1])
        self._is_drawn = True

    def note(self, text: str) -> None:
        self._write((_CLEAR if self._is_drawn else "") + escape(text) + "\n")
        self._is_drawn = False

    def close(self) -> None:
        if self._is_drawn:
            self._write(_CLEAR)
            self._is_drawn = False

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()


class Lines:
    """A line every ten seconds, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pace = ItemRate()
        self._shown_at = 0.0

    def show(self, status: Status) -> None:
        if status.seconds - self._shown_at >= LINE_SECONDS:
            self._shown_at = status.seconds
            self.note(self._pace.describe(status))

    def note(self, text: str) -> None:
        with suppress(OSError):
            print(escape(text), file=self._stream, flush=True)

    def close(self) -> None:
        pass


class ItemRate:
    """Items a second, of late, and the time that is left."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._executed = 0
        self._rate: float | None = None

    def describe(self, status: Status) -> str:
        """`400/1,000 items  40%  12.3/s  ETA 0:48  1 quarantined  313 adopted`"""
        self._measure(status)
        finished = status.committed + status.staged
        words = [
            f"{finished:,}/{status.source:,} items",
            f"{finished_share(status):.0%}",
        ]
        if self._rate:
            left = max(0, status.source - finished) / self._rate
            words += [f"{self._rate:,.1f}/s", f"ETA {_clock(left)}"]
        if status.quarantined:
            words.append(f"{status.quarantined:,} quarantined")
        if status.adopted:
            words.append(f"{status.adopted:,} adopted")
        return "  ".join(words)

    def _measure(self, status: Status) -> None:
        seconds = status.seconds - self._seconds
        if seconds < 1.0 and self._rate is not None:
            return
        rate = (status.executed - self._executed) / seconds if seconds > 0 else 0.0
        self._rate = rate if self._rate is None else 0.7 * self._rate + 0.3 * rate
        self._seconds, self._executed = status.seconds, status.executed


def finished_share(status: Status) -> float:
    return (status.committed + status.staged) / status.source if status.source else 1.0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
