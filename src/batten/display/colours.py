"""Colours of a terminal, where it has them and nobody said no (https://no-color.org)."""

from __future__ import annotations

import os
from enum import Enum
from typing import NamedTuple, TextIO

from batten.printable import count_columns


class Colour(Enum):
    """What a terminal is told for it."""

    NONE = ""
    GOOD = "32"
    DOUBTFUL = "33"
    QUIET = "2"


class Span(NamedTuple):
    """A part of a line, and its colour."""

    text: str
    colour: Colour = Colour.NONE


def has_colours(stream: TextIO) -> bool:
    """Whether colours may be written there."""
    is_terminal = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return is_terminal and not os.environ.get("NO_COLOR")


def join_spans(spans: list[Span], columns: int, *, coloured: bool) -> str:
    """One line that takes no more than so many columns of a terminal."""
    told = ""
    for text, colour in spans:
        width = count_columns(text)
        shown = text if width <= columns else _cut(text, columns)
        # What comes after a piece that has no room has none either.
        columns = max(0, columns - width)
        is_coloured = coloured and colour is not Colour.NONE and shown
        told += f"\x1b[{colour.value}m{shown}\x1b[0m" if is_coloured else shown
    return told


def _cut(text: str, columns: int) -> str:
    """Half of a number says something else, so what is cut shows it."""
    if not columns or text.isspace():
        return ""
    shown = text[: columns - 1]
    while count_columns(shown) >= columns:
        shown = shown[:-1]
    return f"{shown}…"
