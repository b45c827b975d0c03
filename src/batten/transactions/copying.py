"""Copies of files of a tree."""

from __future__ import annotations

from typing import BinaryIO

from batten.errors import UsageError
from batten.storage.digests import Measured
from batten.storage.local.tree import Tree


def copy_file(tree: Tree, source: str, name: str) -> None:
    """Copy a file with its permissions and time, or a symbolic link. Not yet durable.

    Raises `FileNotFoundError`, and `UsageError` for what is neither."""
    look = tree.look(source)
    if look is None:
        raise FileNotFoundError(source)
    if look.kind == "link":
        tree.make_link(name, tree.read_link(source))
        return
    if look.kind != "file":
        raise UsageError(
            f"{source!r} is neither a file nor a folder nor a symbolic link.",
            safe="Nothing was changed.",
            next="Move it elsewhere first.",
        )
    with tree.open(source) as file:
        tree.stage_from(name, file)
    tree.set_attributes(name, look, keeps_time=True)


class Digesting:
    """A file that is read once, and the SHA-256 of what was read of it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._measured = Measured()

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._measured.add(data)
        return data

    def hexdigest(self) -> str:
        """Of what was read so far."""
        return self._measured.digest
