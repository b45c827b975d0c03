"""How the files of items are named: a pattern, filled with what comes from data.

Keys and names are anybody's. So each name is checked: it stays in the folder of the output, and a
filesystem can hold it.
"""

from __future__ import annotations

import re

from batten.model.patterns import pattern
from batten.model.telling.counts import count_of
from batten.model.value_class import value_class

PIECE_BYTES_MAX = 255
"""Of one piece of a name, on the filesystems in use."""

PATH_BYTES_MAX = 4095
"""Of a whole path that programs can open."""

_PLACE = pattern(r"\{(key|stem|name)\}")
_SHOWN_CHARACTERS = 80


class BadNameError(ValueError):
    """A name that no file of the output can have; the text says why."""


@value_class
class NamePattern:
    """How the file of an item is called, below the folder of the output. `{key}` stands for the
    item's key, `{stem}` for the key without its last suffix, `{name}` for the name of one of
    several files of an item."""

    text: str

    @property
    def has_names(self) -> bool:
        """Whether an item has several files, by name."""
        return "{name}" in self.text

    @property
    def tells_items_apart(self) -> bool:
        """Whether items have files of different names."""
        return "{key}" in self.text or "{stem}" in self.text

    def fill(self, key: str, name: str = "", *, room: int = PATH_BYTES_MAX) -> str:
        """The name of a file, in at most `room` bytes. Raises `BadNameError`."""
        folder, slash, last = key.rpartition("/")
        start, dot, _ = last.rpartition(".")
        values = {"key": key, "stem": f"{folder}{slash}{start if dot and start else last}"}
        values["name"] = name
        return check_item_name(_PLACE.sub(lambda found: values[found[1]], self.text), room=room)

    def is_like(self, name: str) -> bool:
        """Whether the pattern could give the name."""
        text = ".+".join(map(re.escape, _PLACE.split(self.text)[::2]))
        return re.fullmatch(text, name, re.DOTALL) is not None


def check_item_name(name: str, *, room: int) -> str:
    """The name itself. Raises `BadNameError`."""
    pieces = name.split("/")
    if name.startswith("/"):
        raise _refuse(name, "is absolute")
    if "\0" in name:
        raise _refuse(name, "holds a zero byte")
    if ".." in pieces:
        raise _refuse(name, "leads out of its folder")
    if "" in pieces or "." in pieces:
        raise _refuse(name, "has a piece that names nothing")
    try:
        sizes = [len(piece.encode(errors="surrogateescape")) for piece in pieces]
    except UnicodeEncodeError:
        raise _refuse(name, "can't be written as bytes") from None
    if max(sizes) > PIECE_BYTES_MAX:
        raise _refuse(
            name, f"has a piece of {count_of(max(sizes), 'byte')}, more than {PIECE_BYTES_MAX}"
        )
    if sum(sizes) + len(sizes) - 1 > room:
        raise _refuse(name, f"is longer than what is left for it: {count_of(room, 'byte')}")
    return name


def split_pattern(written: str) -> tuple[str, NamePattern]:
    """The folder that owns the files, and the pattern below it. The folder is empty where there is
    none before the first place for a key or a name."""
    pieces = written.split("/")
    first = next((n for n, piece in enumerate(pieces) if _PLACE.search(piece)), len(pieces))
    return "/".join(pieces[:first]), NamePattern(text="/".join(pieces[first:]))


def fill_around(text: str, fill: object) -> str:
    """Have `fill` put parameters in the place of their names, but for the places of a pattern."""
    if not callable(fill):
        raise TypeError(fill)
    kept = _PLACE.split(text)
    return "".join(
        f"{{{piece}}}" if number % 2 else str(fill(piece)) for number, piece in enumerate(kept)
    )


def _refuse(name: str, why: str) -> BadNameError:
    shown = name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}…"
    return BadNameError(f"its file would be called {shown!r}, which {why}")
