"""What a sink may have besides the methods of `Sink`, and what holds where it has not.

Whoever asks a sink for one of these asks here. An open destination may have one more:
`add_columns`, see `TakesColumns`. What a source may have stands at the end of `sources.base`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batten.model.disk.items.item_names import NamePattern
from batten.model.value_class import value_class

if TYPE_CHECKING:
    from batten.sinks.base import Sink


@value_class
class Capabilities:
    """The attributes by their names, each with what is taken where a sink has it not.

    Attributes:
        path: The file or folder that it makes. No source reads it, and no other sink has it.
        places: Further files and folders of this machine that it changes.
        secrets: The environment variables that it needs.
        key: The columns by which rows take the place of others. Without, rows are only added.
        replaces: Whether a whole table takes the place of what is there.
        names: How the files of items are called, where it takes files.
        package: The package that brings it, where one does.
        is_remote: Whether a server has what it gets, so that only `verify --ask` looks at it.
        where: The columns and values that tell its rows in a table from those of other runs.
        can_be_asked: Whether it keeps tokens. Without, a batch may be there twice after a crash.
        form: How rows stand there, in words, where readers have to know it. Rows of another form
            don't come to stand beside them unasked.
        may_reject: Whether, of what takes the whole dataset, a value may be one that it can't hold.
            Then each batch is tried when it is published.
    """

    path: Path | None = None
    places: Sequence[Path] = ()
    secrets: Sequence[str] = ()
    key: Sequence[str] = ()
    replaces: bool = False
    names: NamePattern | None = None
    package: str = ""
    is_remote: bool = False
    can_be_asked: bool = True
    where: Mapping[str, str] | None = None
    form: str = ""
    may_reject: bool = False


def capabilities_of(sink: Sink) -> Capabilities:
    """What the sink says of these."""
    said: dict[str, Any] = {
        each.name: getattr(sink, each.name, each.default) for each in fields(Capabilities)
    }
    return Capabilities(**said)
