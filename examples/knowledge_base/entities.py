"""What a text is about: names in it, the most frequent first."""

from __future__ import annotations

import re
from collections import Counter

ENTITIES_MAX = 8

_NAME = re.compile(r"\b[A-Z][A-Za-z0-9+]+(?: [A-Z][A-Za-z0-9+]+){0,3}")
_SENTENCE_START = re.compile(r"(?:^|[.:;!?#>|-])[\s\"'(]*$")
_LOWER_WORD = re.compile(r"\b[a-z][a-z0-9+]+")


def find_entities(text: str) -> list[str]:
    """Names of one to four capitalised words. A single one is no name at the beginning of a
    sentence, nor where it also occurs in lower case."""
    ordinary = set(_LOWER_WORD.findall(text))
    counts: Counter[str] = Counter()
    for line in text.splitlines():
        for match in _NAME.finditer(line):
            words = match[0].split()
            while words and words[0].lower() in ordinary:
                words.pop(0)
            is_first = len(words) == 1 and _SENTENCE_START.search(line[: match.start()])
            if words and not is_first and len(words[0]) > 2:
                counts[" ".join(words)] += 1
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    return ranked[:ENTITIES_MAX]
