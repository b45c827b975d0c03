"""One line names where a destination lies, and is read again part by part."""

from __future__ import annotations

import pytest

from batten.model.disk.destinations.targets import (
    Target,
    read_target,
    show_base,
    show_table,
    show_target,
)

LINES = [
    ("csv", "out.csv", Target(path="out.csv")),
    ("delta", "a of b", Target(path="a of b")),
    ("sqlite", show_table("t", "../base.db"), Target(table="t", path="../base.db")),
    ("sqlite", show_table("a of b", "base.db"), Target(table="a of b", path="base.db")),
    (
        "postgres",
        show_table("s.t", show_base("shop", "a:1,b:2")),
        Target(table="s.t", base="shop", server="a:1,b:2"),
    ),
    ("iceberg", show_table("s.t", "catalogue lab"), Target(table="s.t", base="lab")),
    (
        "iceberg",
        show_table("s.t", f"catalogue {show_base('lab', 'host/rest')}"),
        Target(table="s.t", base="lab", server="host/rest"),
    ),
    (
        "iceberg",
        show_table("s.t", f"catalogue {show_base('lab', '//look at /me.db')}"),
        Target(table="s.t", base="lab", path="/look at /me.db"),
    ),
]


@pytest.mark.parametrize(("kind", "line", "target"), LINES)
def test_what_is_written_is_read_again(kind: str, line: str, target: Target) -> None:
    assert read_target(kind, line) == target


@pytest.mark.parametrize(("kind", "line", "target"), LINES)
def test_only_a_path_from_the_ledger_is_shown_from_elsewhere(
    kind: str, line: str, target: Target
) -> None:
    shown = show_target(kind, line, lambda path: f"here/{path}")
    is_moved = bool(target.path) and not target.base
    assert (read_target(kind, shown).path, shown == line) == (
        f"here/{target.path}" if is_moved else target.path,
        not is_moved,
    )
