"""The pieces that a page is made of: headings, tables, lists of names and what they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from batten.model.telling.counts import count_of
from batten.model.telling.markup import NOTHING, Markup, element, join, plain

KEY_MAX = 300
LINE_MAX = 1000
"""Characters of a text that is shown in a line."""


class Column(NamedTuple):
    """The head of a column. Numbers stand to the right; what is short takes one line."""

    head: str
    is_number: bool = False
    is_short: bool = False

    @property
    def kind(self) -> str | None:
        return "number" if self.is_number else "short" if self.is_short else None


class Outline(NamedTuple):
    """Where in the page: the level of its headings, and what its names begin with."""

    level: int
    prefix: str

    def heading(self, text: str | Markup, *, below: int = 0, ident: str = "") -> Markup:
        """A heading, so many levels below this place."""
        return element(f"h{min(6, self.level + below)}", text, id=ident or None)

    def section(self, title: str, name: str, *content: Markup) -> Markup:
        """A part of the page with its heading; nothing if there is no content."""
        if not any(content):
            return NOTHING
        ident = f"{self.prefix}{name}"
        return element("section", self.heading(title, ident=ident), *content, aria_labelledby=ident)


def line(text: str, most: int = LINE_MAX) -> Markup:
    """A text on one line, cut where it is very long."""
    return plain(text, most)


def key(text: str) -> Markup:
    """The key of an item, or another name that comes from data."""
    return element("bdi", plain(text, KEY_MAX), class_="key")


def code(text: str) -> Markup:
    return element("code", line(text))


def note(*content: str) -> Markup:
    """What is said beside."""
    return element("p", *content, class_="quiet")


def listing(rows: Iterable[tuple[str, str | Markup]]) -> Markup:
    """Names and what each stands for; those without are left out. A name that comes again is not
    said twice."""
    told: list[Markup] = []
    before = ""
    for name, value in rows:
        if not value:
            continue
        if name != before:
            told.append(element("dt", name))
        told.append(element("dd", value if isinstance(value, Markup) else line(value)))
        before = name
    return element("dl", *told) if told else NOTHING


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[str | Markup]],
    *,
    layout: str = "wide",
) -> Markup:
    """A table with a caption and a head. The first of a row is its name. `layout` is `wide`, which
    is a list on a telephone, `narrow`, or both."""
    head = element(
        "tr",
        *(element("th", each.head, scope="col", class_=each.kind) for each in columns),
    )
    body = [_row(columns, row) for row in rows]
    if not body:
        return NOTHING
    return element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", *body),
        class_=layout,
    )


def _row(columns: Sequence[Column], row: Sequence[str | Markup]) -> Markup:
    cells = []
    for number, (column, value) in enumerate(zip(columns, row, strict=True)):
        shown = value if isinstance(value, Markup) else line(value)
        if number == 0:
            cells.append(element("th", shown, scope="row", class_=column.kind))
        else:
            cells.append(element("td", shown, data_head=column.head, class_=column.kind))
    return element("tr", *cells)


def folded(summary: str | Markup, *content: Markup) -> Markup:
    """What is shown when it is asked for."""
    return element("details", element("summary", summary), *content)


def more(count: int, noun: str, plural: str = "", rest: str = "") -> Markup:
    """`and 3 more items`, where some are left out."""
    if count <= 0:
        return NOTHING
    return note(f"and {count_of(count, f'more {noun}', plural and f'more {plural}')}{rest}")


def sentences(texts: Iterable[str]) -> Markup:
    """Each in a line of its own."""
    return join(element("p", line(each)) for each in texts)
