"""Outcomes of consecutive items as a short text, run by run: `998c1f1q`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from batten.model.patterns import pattern
from batten.model.words import Outcome

_RUN = pattern(r"(\d{1,16})([cfqra])", re.ASCII)


def encode_outcomes(outcomes: Iterable[Outcome]) -> str:
    return "".join(f"{len(list(run))}{kind.value}" for kind, run in groupby(outcomes))


def decode_outcomes(text: str) -> Iterator[Outcome]:
    for count, kind in _runs(text):
        outcome = Outcome(kind)
        for _ in range(count):
            yield outcome


def find_places(text: str, wanted: Outcome) -> frozenset[int]:
    """The places of items with that outcome."""
    if wanted.value not in text:
        return frozenset()
    return frozenset(n for n, outcome in enumerate(decode_outcomes(text)) if outcome is wanted)


def count_outcomes(text: str) -> dict[Outcome, int]:
    counts = dict.fromkeys(Outcome, 0)
    for count, kind in _runs(text):
        counts[Outcome(kind)] += count
    return counts


def _runs(text: str) -> Iterator[tuple[int, str]]:
    end = 0
    for match in _RUN.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        yield int(match[1]), match[2]
    if end != len(text):
        raise ValueError(f"not a text of outcomes: {text!r}")
