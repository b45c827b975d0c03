"""How fast a run is, and in which words that is told."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from batten.display.colours import Colour, Span
from batten.printable import count_columns, escape

if TYPE_CHECKING:
    from batten.inspect.watching import Sight
    from batten.run.progress import Status


_GAP = Span("  ")
_WAITS = 2
_WAIT_COLUMNS = 10
"""So much of what it waits for is shown before anything else has to go."""


class _Ranked(NamedTuple):
    """One of lower rank matters more."""

    rank: int
    span: Span


class ItemRate:
    """Items a second, of late, and the time that is left."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._executed = 0
        self._rate: float | None = None

    def describe(self, status: Status, columns: int | None = None) -> list[Span]:
        """`400/1,000 items  40%  12.3/s  0:33  ETA 0:48  1 quarantined  313 adopted`, and where
        there are so few columns, what matters most of it."""
        self._measure(status)
        told = [
            _Ranked(0, Span(f"{status.finished:,}/{status.source:,} items")),
            _Ranked(4, Span(f"{finished_share(status):.0%}")),
        ]
        if self._rate:
            told.append(_Ranked(6, Span(f"{self._rate:,.1f}/s")))
        told.append(_Ranked(5, Span(show_clock(status.seconds))))
        if self._rate and not status.is_stopping:
            left = max(0, status.source - status.finished) / self._rate
            told.append(_Ranked(3, Span(f"ETA {show_clock(left)}")))
        told += _list_rest(status)
        if columns is not None:
            told = _fit(told, columns)
        spaced = ((_GAP, piece.span) for piece in told)
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
    return [piece.span for piece in _list_rest(status)]


def _list_rest(status: Status) -> list[_Ranked]:
    told = []
    if status.quarantined:
        told.append(_Ranked(1, Span(f"{status.quarantined:,} quarantined", Colour.DOUBTFUL)))
    if status.adopted:
        told.append(_Ranked(7, Span(f"{status.adopted:,} adopted")))
    return [*told, *(_Ranked(_WAITS, Span(escape(wait), Colour.DOUBTFUL)) for wait in status.waits)]


def _fit(told: list[_Ranked], columns: int) -> list[_Ranked]:
    """Without as many of them as there is no room for, those that matter least first. What it waits
    for comes last in the line, and is cut."""
    kept = list(told)
    while _count(kept) > columns:
        least = max(kept, key=lambda piece: piece.rank)
        if least.rank <= _WAITS:
            break
        kept.remove(least)
    return kept


def _count(told: list[_Ranked]) -> int:
    columns = count_columns(_GAP.text) * (len(told) - 1)
    for rank, span in told:
        width = count_columns(span.text)
        columns += min(width, _WAIT_COLUMNS) if rank == _WAITS else width
    return columns


def finished_share(status: Status) -> float:
    return status.finished / status.source if status.source else 1.0


def tell_rate(sight: Sight) -> str:
    """`12.3 items/s, ETA 0:48` of a run that is watched. One that stops does not do them all."""
    told = "not known yet" if sight.rate is None else f"{sight.rate:,.1f} items/s"
    if sight.signal:
        return f"{told}; stopping after {sight.signal}: only what is in hand may end"
    if sight.rate:
        told += f", ETA {show_clock(sight.items.pending / sight.rate)}"
    return told


def show_clock(seconds: float) -> str:
    """`0:48`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
