"""The value of a secret in a text that others wrote: as it is, a part of it, or in another writing.

Clients quote it for an address, escape it, change its case, cut it short, or code it for a header.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote, urlsplit

from batten.model.json_text import parse_json
from batten.model.patterns import pattern
from batten.model.telling.hiding import is_secret_name

CHARACTERS_MIN = 4
"""A shorter value is part of too many texts to be taken out of them."""

_PART_CHARACTERS_MIN = 5
_RUN = 8
"""So many characters in a row tell a value that was cut short."""

_SCHEMES = ("basic", "bearer", "digest", "token")
_SETTING = pattern(r"([A-Za-z_][\w.-]{0,99})\s?=\s?('[^']{0,9999}'|\"[^\"]{0,9999}\"|[^\s;&]+)")
_CUT = pattern(r"[\s:;,|@=&/?]+")
_BASE64 = pattern(r"[A-Za-z0-9+/_-]{6,}={0,2}")
_BASE32 = pattern(r"[A-Z2-7]{8,}={0,6}")

Span = tuple[int, int, str]


def take_out(text: str, values: Mapping[str, str], label: Callable[[str], str]) -> str:
    """The text with `label(name)` wherever something of a value is told; `values` maps the values
    of secrets to their names."""
    lowered = _lower(text)
    spans: list[Span] = []
    for value, name in values.items():
        parts = frozenset(_list_parts(value))
        writings = _list_writings(frozenset({value}) | parts)
        found = [*_find_writings(lowered, writings), *_find_coded(text, writings)]
        found += _find_runs(lowered, _list_runs(parts or frozenset({value})))
        spans += [(start, stop, name) for start, stop in found]
    if not spans:
        return text
    told, end = [], 0
    for start, stop, name in _merge(spans):
        # A run of characters may begin with the space before a piece.
        start = stop - len(text[start:stop].lstrip())
        stop = start + len(text[start:stop].rstrip())
        told += [text[end:start], label(name)]
        end = stop
    return "".join([*told, text[end:]])


def _merge(spans: list[Span]) -> list[Span]:
    """In order and apart. What touches is one; the longest names it."""
    merged: list[Span] = []
    longest = 0
    for start, stop, name in sorted(spans):
        if not merged or start >= merged[-1][1]:
            merged.append((start, stop, name))
            longest = stop - start
            continue
        first, last, known = merged[-1]
        is_longer = stop - start > longest
        longest = max(longest, stop - start)
        merged[-1] = (first, max(last, stop), name if is_longer else known)
    return merged


def _lower(text: str) -> str:
    """In small letters, each character one."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := each.lower()) == 1 else each for each in text)


@lru_cache(maxsize=64)
def _list_writings(parts: frozenset[str]) -> tuple[str, ...]:
    """How they may be written, in small letters, the longest first."""
    written: set[str] = set()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        ways = {
            *(part, quote(data), quote(data, safe=""), quote_plus(data), html.escape(part)),
            *(json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1]),
            *(repr(part)[1:-1], repr(data)[2:-1], ascii(part)[1:-1], data.hex()),
            *(base64.b85encode(data).decode(), base64.a85encode(data).decode()),
        }
        written |= {_lower(each) for each in ways}
    return tuple(sorted(written, key=len, reverse=True))


def _list_parts(value: str) -> Iterator[str]:
    """The pieces of a value that are secret by themselves. Of an address that is the password. Of
    settings it is what has the name of a secret. Of other values it is what stands between
    separators."""
    if "://" in value:
        found = list(_parts_of_address(value))
    elif value.lstrip()[:1] in ("{", "["):
        found = list(_parts_of_json(value))
    elif settings := [(m[1], m[2].strip("'\"")) for m in _SETTING.finditer(value)]:
        found = [text for name, text in settings if is_secret_name(name)]
    else:
        found = [value, *(each for each in _CUT.split(value) if each.lower() not in _SCHEMES)]
    for each in found:
        yield from (part for part in (each, unquote(each)) if len(part) >= _PART_CHARACTERS_MIN)


def _parts_of_address(value: str) -> Iterator[str]:
    place, _, _ = value.partition("://")[2].rpartition("@")
    user, colon, password = place.partition(":")
    yield password if colon else user
    yield place
    try:
        query = urlsplit(value).query
    except ValueError:
        return
    for setting in query.split("&"):
        name, _, text = setting.partition("=")
        if is_secret_name(name):
            yield text


def _parts_of_json(value: str) -> Iterator[str]:
    try:
        waiting = [("", parse_json(value))]
    except ValueError:
        yield from _CUT.split(value)
        return
    while waiting:
        name, held = waiting.pop()
        if isinstance(held, dict):
            waiting += [(str(key), each) for key, each in held.items()]
        elif isinstance(held, list):
            waiting += [(name, each) for each in held]
        elif isinstance(held, str) and is_secret_name(name):
            yield held
            yield from held.split("\n")


def _find_writings(lowered: str, writings: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    for writing in writings:
        start = lowered.find(writing)
        while start >= 0:
            yield start, start + len(writing)
            start = lowered.find(writing, start + 1)


def _find_runs(lowered: str, runs: frozenset[str]) -> Iterator[tuple[int, int]]:
    for start in range(len(lowered) - _RUN + 1 if runs else 0):
        if lowered[start : start + _RUN] in runs:
            yield start, start + _RUN


@lru_cache(maxsize=64)
def _list_runs(parts: frozenset[str]) -> frozenset[str]:
    """All that is so long and part of a writing."""
    return frozenset(
        each[start : start + _RUN]
        for each in _list_writings(parts)
        for start in range(len(each) - _RUN + 1)
    )


def _find_coded(text: str, writings: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Words that are the code of something that holds a value, as a header of a user and a
    password is."""
    for words, decode in ((_BASE64, _decode_base64), (_BASE32, _decode_base32)):
        for found in words.finditer(text):
            inner = _lower(decode(found[0]))
            if any(each in inner for each in writings):
                yield found.span()


def _decode_base64(word: str) -> str:
    word = word.rstrip("=").replace("-", "+").replace("_", "/")
    word = word[:-1] if len(word) % 4 == 1 else word
    try:
        return base64.b64decode(word + "=" * (-len(word) % 4)).decode("utf-8", "replace")
    except (ValueError, binascii.Error):
        return ""


def _decode_base32(word: str) -> str:
    try:
        return base64.b32decode(word.rstrip("=") + "=" * (-len(word.rstrip("=")) % 8)).decode(
            "utf-8", "replace"
        )
    except (ValueError, binascii.Error):
        return ""
