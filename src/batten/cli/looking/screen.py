"""Fits a diagnosis to a terminal.

What to do is always there and whole. What has no room is left out, from the least important on.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from batten.printable import count_columns, escape

_ALWAYS = ("", "why", "do", "next", "risky")
_BY_IMPORTANCE = (
    *(
        "or",
        "retry",
        "upstream",
        "holder",
        "worker",
        "readers",
        "key",
        "items",
        "output",
        "tables",
        "again",
        "hint",
        "found",
    ),
    *("has", "given", "input", "orphans", "read"),
)
_WHOLE = frozenset({"next", "or", "retry"})
"""Commands: half of one is worse than none."""

_ROWS_MAX = {"": 2, "why": 3, "do": 2, "risky": 2, "items": 2, "again": 2, "hint": 2}
"""How many rows a line may take; others take one."""

_ROWS_LEFT = 2
"""For the command that was typed, and for the prompt."""

_TERM_MAX = 26
"""The longest term of the accounts, with a number of billions."""

_LABEL = re.compile(r"  (\S*) +")


def find_size() -> tuple[int, int] | None:
    """Columns and rows of the terminal that standard output is; None if it is none."""
    try:
        size = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return None
    return (size.columns, size.lines) if size.columns and size.lines else None


def fit(lines: Iterable[str], columns: int, rows: int) -> list[str]:
    """The lines of a diagnosis, escaped, as far as there is room for them."""
    groups: list[tuple[str, list[str]]] = []
    for number, line in enumerate(map(escape, lines)):
        found = _LABEL.match(line) if number else None
        label = found[1] if found is not None else ""
        if number and not label:
            groups[-1][1].append(_shorten(line, columns))
        else:
            is_whole = label in _WHOLE
            groups.append(
                (label, [line if is_whole else _shorten(line, columns, _ROWS_MAX.get(label, 1))])
            )
    room, dropped = rows - _ROWS_LEFT, 0
    for at in _list_least_first(groups):
        if _count_all(groups, columns) + bool(dropped) <= room:
            break
        dropped += len(groups[at][1])
        groups[at] = (groups[at][0], [])
    told = list(chain.from_iterable(lines for _, lines in groups))
    return [*told, f"           {dropped} lines more: --json has them all"] if dropped else told


def fit_watch(lines: Iterable[str], columns: int, rows: int) -> list[str]:
    """Lines that are drawn again and again: each takes one row, and they are no more than fit. The
    accounts are told whole, in more of them."""
    room = columns - 1
    fitted = chain.from_iterable(_fit_one(escape(line), room) for line in lines)
    return list(islice(fitted, max(0, rows - _ROWS_LEFT)))


def _fit_one(line: str, columns: int) -> list[str]:
    found = _LABEL.match(line)
    if found is None or found[1] != "items" or columns <= found.end() + _TERM_MAX:
        return [_shorten(line, columns)]
    return textwrap.wrap(line, columns, subsequent_indent=" " * found.end())


def _list_least_first(groups: Sequence[tuple[str, list[str]]]) -> list[int]:
    """The places of what may be left out, in that order."""
    places = [at for at, (label, _) in enumerate(groups) if label not in _ALWAYS]
    ranks = {label: rank for rank, label in enumerate(_BY_IMPORTANCE)}
    return sorted(places, key=lambda at: (-ranks.get(groups[at][0], len(ranks)), -at))


def _count_all(groups: Sequence[tuple[str, list[str]]], columns: int) -> int:
    return sum(count_rows(line, columns) for _, lines in groups for line in lines)


def count_rows(line: str, columns: int) -> int:
    """How many rows of a terminal the line takes."""
    return max(1, -(-count_columns(line) // columns))


def _shorten(line: str, columns: int, rows: int = 1) -> str:
    """The beginning and the end of a line that is longer."""
    room = columns * rows
    if count_columns(line) <= room:
        return line
    tail = room // 3
    head = room - tail - 1
    while count_columns(line[:head]) > room - tail - 1:
        head -= 1
    end = line[-tail:]
    while count_columns(end) > tail:
        end = end[1:]
    return f"{line[:head]}…{end}"
