"""Where a destination lies, and how that is written in one line, for people and records."""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from batten.model.value_class import value_class

PACKAGED = "packaged"
"""Of a destination that a package brings: its line is its own."""


@value_class
class Target:
    """A file or folder at `path`; or a `table` in the file at `path`, or in the `base` of a
    `server`. Of Iceberg the base is the catalogue, and `path` its file, where it is one of this
    machine. A path is relative to the folder of the ledger, or absolute."""

    table: str = ""
    path: str = ""
    base: str = ""
    server: str = ""

    def locate(self, place: str) -> str:
        """The path, from the folder of the ledger at `place`."""
        return posixpath.normpath(posixpath.join(place, self.path))


def show_table(table: str, place: str) -> str:
    """How the table of a database is written: `place` is its file, or what `show_base` gives."""
    return f"table {table} of {place}"


def show_base(base: str, server: str) -> str:
    """How the base of a server is written, and a catalogue, whose server may be a path."""
    return f"{base} at {server}" if server else base


def show_topic(topic: str, servers: str) -> str:
    """How a topic is written. Its name holds no blank."""
    return f"topic {topic} at {servers}"


def show_target(kind: str, text: str, show: Callable[[str], str]) -> str:
    """The line with its path, where it has one, as `show` names it for who reads it."""
    where = Target() if kind == PACKAGED else read_target(kind, text)
    if not where.path or where.base or posixpath.isabs(where.path):
        return text
    path = show(where.path)
    return show_table(where.table, path) if where.table else path


def read_target(kind: str, text: str) -> Target:
    """What the line says of a destination of this kind."""
    told = text.removeprefix("table ")
    if kind == "sqlite":
        table, _, path = told.rpartition(" of ")
        return Target(table=table, path=path)
    if kind == "postgres":
        table, _, place = told.rpartition(" of ")
        base, _, server = place.rpartition(" at ")
        return Target(table=table, base=base, server=server)
    if kind == "kafka":
        topic, _, server = text.removeprefix("topic ").partition(" at ")
        return Target(table=topic, server=server)
    if kind == "iceberg":
        table, _, place = told.partition(" of catalogue ")
        base, is_here, path = place.partition(" at /")
        if is_here:
            return Target(table=table, base=base, path="/" + path.lstrip("/"))
        base, _, server = place.rpartition(" at ") if " at " in place else (place, "", "")
        return Target(table=table, base=base, server=server)
    return Target(path=text)
