"""How far a run is: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from batten.display.rate import ItemRate, finished_share
from batten.printable import escape

if TYPE_CHECKING:
    from batten.run.progress import Status

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""

COLUMNS_USUAL = 80
"""Where the terminal does not say how wide it is."""

_CLEAR = "\r\x1b[2K"


class Bar:
    """One line that is drawn again and again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pace = ItemRate()
        self._is_drawn = False

    def show(self, status: Status) -> None:
        columns = 0
        with suppress(OSError, ValueError):
            columns = os.get_terminal_size(self._stream.fileno()).columns
        columns = columns or COLUMNS_USUAL
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
