"""HTML and SVG, made of values. All that is not made here is escaped here (decision 0111)."""

from __future__ import annotations

from collections.abc import Iterable

from batten.model.telling.cutting import cut_lines, cut_middle
from batten.printable import blot, escape


class Markup(str):
    """What is HTML already. Whatever is made of it in another way is a plain text again, and is
    escaped."""

    __slots__ = ()


NOTHING = Markup("")

_WITHOUT_CONTENT = frozenset({"meta", "br", "col"})


def plain(text: str, most: int = 0) -> Markup:
    """A text as it may stand in HTML: on one line, without secrets and control characters. What is
    longer than `most` characters is cut, and says so."""
    import html

    shown = escape(blot(text))
    if most and len(shown) > most:
        shown = f"{shown[:most]}… ({len(shown) - most:,} characters more)"
    return Markup(html.escape(shown))


def lines_of(text: str, most: int) -> Markup:
    """A text of several lines; of a long one the beginning and the end."""
    return Markup("\n".join(map(plain, cut_lines(cut_middle(text, most)))))


def element(tag: str, *content: str | int, **attributes: str | int | bool | None) -> Markup:
    """An element with its content. An attribute that is None or False is left out, one that is True
    has no value. `class_` stands for `class`, `aria_label` for `aria-label`."""
    told = "".join(
        _name(name) + ("" if value is True else f'="{join([value])}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in _WITHOUT_CONTENT:
        return Markup(f"<{tag}{told}>")
    return Markup(f"<{tag}{told}>{join(content)}</{tag}>")


def _name(name: str) -> str:
    return f" {name.rstrip('_').replace('_', '-')}"


def join(pieces: Iterable[str | int]) -> Markup:
    """The pieces one after the other, escaped where they are plain."""
    return Markup(
        "".join(each if isinstance(each, Markup) else plain(str(each)) for each in pieces)
    )
