"""What a notebook shows of a value: a title and a table, in which all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from batten.printable import blot, escape


def show_as_html(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """The title, and a line for each name with what it stands for; those without are left out."""
    told = [(name, _plain(str(value))) for name, value in rows if value not in (None, "")]
    lines = "".join(
        f'<tr><th style="text-align: left">{_plain(name)}</th>'
        f'<td style="text-align: left">{value}</td></tr>'
        for name, value in told
    )
    table = f"<table>{lines}</table>" if lines else ""
    return f"<div><strong>{_plain(title)}</strong>{table}</div>"


def show_table_as_html(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    failed: Iterable[tuple[str, str]],
) -> str:
    """The title, a table with a head, and what failed, each with its reason."""
    head = "".join(f"<th>{_plain(name)}</th>" for name in columns)
    lines = "".join(
        f"<tr>{''.join(f'<td>{_plain(value)}</td>' for value in row)}</tr>" for row in rows
    )
    table = f"<table><tr>{head}</tr>{lines}</table>" if columns else ""
    rest = "".join(f"<div>{_plain(name)}: {_plain(why)}</div>" for name, why in failed)
    return f"<div><strong>{_plain(title)}</strong>{table}{rest}</div>"


def _plain(text: str) -> str:
    import html

    return html.escape(escape(blot(text)))
