"""How fast a run is, and in which words that is told."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from batten.display.colours import Colour, Span
from batten.printable import escape

if TYPE_CHECKING:
    from batten.run.progress import Status


class ItemRate:
    """Items a second, of late, and the time that is left."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._executed = 0
        self._rate: float | None = None

    def describe(self, status: Status) -> list[Span]:
        """`400/1,000 items  40%  12.3/s  0:33  ETA 0:48  1 quarantined  313 adopted`"""
        self._measure(status)
        told = [
            Span(f"{status.finished:,}/{status.source:,} items"),
            Span(f"{finished_share(status):.0%}"),
        ]
        if self._rate:
            told.append(Span(f"{self._rate:,.1f}/s"))
        told.append(Span(show_clock(status.seconds)))
        if self._rate:
            left = max(0, status.source - status.finished) / self._rate
            told.append(Span(f"ETA {show_clock(left)}"))
        spaced = ((Span("  "), piece) for piece in (*told, *list_rest(status)))
        return list(chain.from_iterable(spaced))[1:]

    def _measure(self, status: Status) -> None:
        seconds = status.seconds - self._seconds
        if seconds < 1.0 and self._rate is not None:
            return
        rate = (status.executed - self._executed) / seconds if seconds > 0 else 0.0
        self._rate = rate if self._rate is None else 0.7 * self._rate + 0.3 * rate
        self._seconds, self._executed = status.seconds, status.executed


def list_rest(status: Status) -> list[Span]:
    """What else there is to say: what failed, what was taken over, what waits."""
    told = []
    if status.quarantined:
        told.append(Span(f"{status.quarantined:,} quarantined", Colour.DOUBTFUL))
    if status.adopted:
        told.append(Span(f"{status.adopted:,} adopted"))
    return [*told, *(Span(escape(wait), Colour.DOUBTFUL) for wait in status.waits)]


def finished_share(status: Status) -> float:
    return status.finished / status.source if status.source else 1.0


def show_clock(seconds: float) -> str:
    """`0:48`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
