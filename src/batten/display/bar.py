"""How far a run is: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from batten.display.colours import Colour, Span, has_colours, join_spans
from batten.display.rate import ItemRate, finished_share
from batten.executors.printing.last_line import last_line
from batten.printable import count_columns, tell

if TYPE_CHECKING:
    from batten.run.progress import Status

LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""

COLUMNS_USUAL = 80
"""Where the terminal does not say how wide it is."""

COLUMNS_FREE = 3
"""At the end of the line: for the ^C that the terminal itself shows, and its cursor. A line that
went on into the next one would stay there."""

WIDTH_MIN, WIDTH_MAX = 10, 30
"""Of the bar itself; where there is less room there is none."""


class Bar:
    """The last line of a terminal, which is drawn again and again."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rate = ItemRate()
        self._has_colours = has_colours(stream)
        self._is_closed = False
        last_line.claim(stream.fileno())

    def show(self, status: Status) -> None:
        columns = 0
        with suppress(OSError, ValueError):
            columns = os.get_terminal_size(self._stream.fileno()).columns
        columns = columns or COLUMNS_USUAL
        columns -= COLUMNS_FREE
        told = self._rate.describe(status, columns)
        width = max(0, min(WIDTH_MAX, columns - sum(count_columns(span.text) for span in told) - 3))
        spans = [*_draw(width, status), *told] if width >= WIDTH_MIN else told
        last_line.draw(join_spans(spans, columns, coloured=self._has_colours))

    def note(self, text: str) -> None:
        tell(text, self._stream)

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            last_line.release()


def _draw(width: int, status: Status) -> list[Span]:
    filled = int(width * finished_share(status))
    bar = Span("#" * filled, Colour.GOOD), Span("-" * (width - filled), Colour.QUIET)
    return [Span("["), *bar, Span("] ")]


class Lines:
    """A line every ten seconds, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rate = ItemRate()
        self._shown_at = 0.0

    def show(self, status: Status) -> None:
        if status.seconds - self._shown_at >= LINE_SECONDS:
            self._shown_at = status.seconds
            self.note("".join(piece.text for piece in self._rate.describe(status)))

    def note(self, text: str) -> None:
        tell(text, self._stream)

    def close(self) -> None:
        pass
