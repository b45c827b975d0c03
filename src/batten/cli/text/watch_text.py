"""A run at work, for people: a few lines that are drawn again and again."""

from __future__ import annotations

from collections.abc import Iterator

from batten.cli.text.diagnosis_text import labelled
from batten.display.rate import show_clock, tell_rate
from batten.inspect.watching import Sight
from batten.model.telling.counts import count_of

_IN_HAND_SHOWN = 8
_KINDS_SHOWN = 5


def list_lines(sight: Sight) -> Iterator[str]:
    """The lines of one look."""
    since = f"  since {sight.since}" if sight.since else ""
    yield f"{sight.state.value}  {sight.path}{since}"
    yield labelled("items", sight.items.show())
    yield labelled("rate", tell_rate(sight))
    if sight.in_hand:
        yield labelled("in hand", count_of(len(sight.in_hand), "item"))
    for each in sight.in_hand[:_IN_HAND_SHOWN]:
        longer = " or longer" if each.is_longer else ""
        yield labelled("", f"key {each.key}: for {show_clock(each.seconds)}{longer}")
    if (more := len(sight.in_hand) - _IN_HAND_SHOWN) > 0:
        yield labelled("", f"and {more:,} more")
    for kind in sight.failures[:_KINDS_SHOWN]:
        told = f"{kind.count:,} by {kind.kind}; key {kind.key}: {kind.error}"
        yield labelled("failed", told)
    if (more := len(sight.failures) - _KINDS_SHOWN) > 0:
        yield labelled("", f"and {count_of(more, 'other kind')}")
    if sight.failed_unpublished:
        count = f"{sight.failed_unpublished:,} not quarantined yet"
        yield labelled("", f"{count}; they are when their batch is published")
