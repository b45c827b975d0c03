"""Quarantined items on the page: by kind of error, with tracebacks."""

from __future__ import annotations

from batten.inspect.diagnosis import Diagnosis
from batten.ledger.files.quarantine_file import Quarantined
from batten.model.telling.commands import as_path, command
from batten.model.telling.counts import count_of
from batten.model.telling.markup import NOTHING, Markup, element, join, lines_of
from batten.page.drawing.blocks import (
    Column,
    Outline,
    code,
    folded,
    key,
    line,
    more,
    note,
    sentences,
    table,
)
from batten.page.drawing.pictures import show_recorded
from batten.page.failures import FailureGroup, FailuresSeen
from batten.page.looking import OutputSeen
from batten.page.sections.state import show_command

GROUPS_MAX = 20
TRACEBACKS_MAX = 2
TRACEBACK_MAX = 4000
ERROR_MAX = 300
UNREADABLE_MAX = 20


def show_failures(seen: OutputSeen, outline: Outline) -> Markup:
    """The groups, the most frequent first; and what was not read."""
    found, failures = seen.diagnosis, seen.failures
    if found is None or not (found.items.quarantined or failures.groups or failures.unreadable):
        return NOTHING
    inner = Outline(outline.level + 1, outline.prefix)
    groups = [
        _show_group(group, inner, f"{outline.prefix}kind-{number}")
        for number, group in enumerate(failures.groups[:GROUPS_MAX])
    ]
    left = failures.groups[GROUPS_MAX:]
    return outline.section(
        "Quarantined items",
        "quarantined",
        _tell_read(found, failures),
        note("Try them again: ", show_command(found.next_run.retry))
        if found.next_run.retry
        else NOTHING,
        sentences(f"{name} can't be read" for name in failures.unreadable[:UNREADABLE_MAX]),
        more(len(failures.unreadable) - UNREADABLE_MAX, "file", rest=" that can't be read"),
        *groups,
        more(len(left), "kind of error", "kinds of errors", _count_items(left)),
    )


def _count_items(groups: tuple[FailureGroup, ...]) -> str:
    return f", of {count_of(sum(each.count for each in groups), 'item')}"


def _tell_read(found: Diagnosis, failures: FailuresSeen) -> Markup:
    """Whether the groups are of all items, or of some."""
    all_ = max(found.items.quarantined, failures.items)
    all_of_them = code(command("show", "--json", as_path(found.path)))
    if failures.files < failures.files_all:
        return note(
            f"{count_of(all_, 'item')} failed for good. These groups are of "
            f"{failures.items:,} of them, from {failures.files:,} of {failures.files_all:,} files, "
            "chosen from everywhere; a rare kind may be missing. All of them: ",
            all_of_them,
        )
    if not failures.groups:
        return note(f"{count_of(all_, 'item')} failed for good; no file tells why.")
    return note(f"{count_of(all_, 'item')} failed for good. As JSON: ", all_of_them)


def _show_group(group: FailureGroup, outline: Outline, ident: str) -> Markup:
    heading = outline.heading(
        join((key(group.kind), f": {count_of(group.count, 'item')}")), ident=ident
    )
    columns = (
        Column("item"),
        Column("error"),
        Column("attempts", True),
        Column("time", is_short=True),
    )
    rows = [
        (
            key(each.key),
            line(each.error.partition("\n")[0], ERROR_MAX),
            f"{each.attempts:,}",
            show_recorded(each.time),
        )
        for each in group.examples
    ]
    listed = table(
        f"The first {len(rows)} of {group.count:,}" if len(rows) < group.count else "All of them",
        columns,
        rows,
    )
    return element(
        "section",
        heading,
        *_list_tracebacks(group.examples),
        folded(f"{count_of(len(rows), 'item')} of this kind", listed) if len(rows) > 1 else listed,
        more(group.count - len(rows), "item"),
        aria_labelledby=ident,
    )


def _list_tracebacks(items: tuple[Quarantined, ...]) -> list[Markup]:
    """Those of the first items that differ, but for the key."""
    told: dict[str, Quarantined] = {}
    for each in items:
        if each.traceback:
            told.setdefault(each.traceback.rpartition("\n  File")[0] or each.traceback, each)
    shown = list(told.values())[:TRACEBACKS_MAX]
    return [
        folded(
            join(
                (
                    "traceback of ",
                    key(each.key),
                    ": ",
                    line(each.error.partition("\n")[0], ERROR_MAX),
                )
            ),
            element("pre", lines_of(each.traceback, TRACEBACK_MAX)),
        )
        for each in shown
    ]
