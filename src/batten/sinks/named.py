"""Names that a destination would not keep apart, or would cut, are refused before it is changed."""

from __future__ import annotations

from collections.abc import Iterable

from batten.errors import refused_there
from batten.model.telling.counts import count_of
from batten.sinks.databases.tables import TOKENS


def refuse_alike(target: str, columns: Iterable[str]) -> None:
    """Raises `RefusedError` for columns that differ in case alone, where that is folded."""
    seen: dict[str, str] = {}
    for name in columns:
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise refused_there(
                f"{target} can't keep the columns {other!r} and {name!r} apart.",
                "Give one of them another name.",
            )


def refuse_own_name(target: str, table: str) -> None:
    """Raises `RefusedError` for a table of a database that can't be one of rows."""
    name = table.rpartition(".")[2].lower()
    problem = ""
    if name == TOKENS:
        problem = "is the table in which batten keeps its tokens"
    elif name.startswith("sqlite_"):
        problem = "has a name that SQLite keeps for itself"
    elif not name or "\0" in table:
        problem = "has a name that no table can have"
    if problem:
        raise refused_there(f"{target} {problem}.", "Write to another table.")


def refuse_long(target: str, names: Iterable[str], *, bytes_max: int) -> None:
    """Raises `RefusedError` for names that the server would cut: two could become one."""
    for name in names:
        size = len(name.encode(errors="replace"))
        if size > bytes_max:
            raise refused_there(
                f"The name {name!r} has {count_of(size, 'byte')}; "
                f"{target.rpartition(' of ')[2]} cuts names to {bytes_max}.",
                "Give it a shorter name, so that no two become one.",
            )
