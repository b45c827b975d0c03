"""What a notebook shows of a value: a title and a table, in which all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from batten.model.telling.markup import NOTHING, Markup, element, join

_LEFT = "text-align: left"


def show_as_html(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """The title, and a line for each name with what it stands for; those without are left out."""
    told = [(name, str(value)) for name, value in rows if value not in (None, "")]
    lines = join(
        element("tr", element("th", name, style=_LEFT), element("td", value, style=_LEFT))
        for name, value in told
    )
    return _put_together(title, element("table", lines) if lines else NOTHING)


def show_table_as_html(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    failed: Iterable[tuple[str, str]],
) -> str:
    """The title, a table with a head, and what failed, each with its reason."""
    head = element("tr", *(element("th", name) for name in columns))
    lines = [element("tr", *(element("td", value) for value in row)) for row in rows]
    table = element("table", head, *lines) if columns else NOTHING
    return _put_together(title, table, *(element("div", f"{name}: {why}") for name, why in failed))


def _put_together(title: str, *pieces: Markup) -> str:
    return str(element("div", element("strong", title), *pieces))
