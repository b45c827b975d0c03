"""How fast a run is, and in which words that is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batten.run.progress import Status


class ItemRate:
    """Items a second, of late, and the time that is left."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._executed = 0
        self._rate: float | None = None

    def describe(self, status: Status) -> str:
        """`400/1,000 items  40%  12.3/s  ETA 0:48  1 quarantined  313 adopted`"""
        self._measure(status)
        finished = status.finished
        words = [
            f"{finished:,}/{status.source:,} items",
            f"{finished_share(status):.0%}",
        ]
        if self._rate:
            left = max(0, status.source - finished) / self._rate
            words += [f"{self._rate:,.1f}/s", f"ETA {_clock(left)}"]
        return "  ".join([*words, *list_rest(status)])

    def _measure(self, status: Status) -> None:
        seconds = status.seconds - self._seconds
        if seconds < 1.0 and self._rate is not None:
            return
        rate = (status.executed - self._executed) / seconds if seconds > 0 else 0.0
        self._rate = rate if self._rate is None else 0.7 * self._rate + 0.3 * rate
        self._seconds, self._executed = status.seconds, status.executed


def list_rest(status: Status) -> list[str]:
    """What else there is to say: what failed, what was taken over."""
    words = []
    if status.quarantined:
        words.append(f"{status.quarantined:,} quarantined")
    if status.adopted:
        words.append(f"{status.adopted:,} adopted")
    return words


def finished_share(status: Status) -> float:
    return status.finished / status.source if status.source else 1.0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
