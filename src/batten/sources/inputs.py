"""Whether what a source reads can be read now."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from batten.errors import BattenError
from batten.model.value_class import value_class
from batten.storage.addresses import find_scheme
from batten.storage.plugin import find_store


@value_class
class Input:
    """A file or folder that a source reads. `problem` says why it can't be read, or is empty;
    `bytes` is the size of a file."""

    path: str
    bytes: int | None
    problem: str

    @property
    def is_readable(self) -> bool:
        return not self.problem


def look_at_input(path: str | os.PathLike[str]) -> Input:
    """Opens it, and reads the first byte or the first name. A pipe is not opened, for what it gives
    can't be had twice."""
    shown = os.fspath(path)
    if find_scheme(shown):
        return _look_at_address(shown)
    try:
        status = os.stat(shown)
        if stat.S_ISDIR(status.st_mode):
            with os.scandir(shown) as entries:
                next(entries, None)
            return Input(path=shown, bytes=None, problem="")
        if not stat.S_ISREG(status.st_mode):
            return Input(path=shown, bytes=None, problem="it is neither a file nor a folder")
        with open(shown, "rb") as file:
            file.read(1)
    except OSError as error:
        return Input(path=shown, bytes=None, problem=error.strerror or str(error))
    return Input(path=shown, bytes=status.st_size, problem="")


def _look_at_address(address: str) -> Input:
    """Asks what is there. An object whose size is told can be read."""
    try:
        there = find_store(address, Path.cwd())
        found = None if there is None else there.open().find(there.name)
    except BattenError as error:
        return Input(path=address, bytes=None, problem=error.what.rstrip("."))
    if found is None:
        return Input(path=address, bytes=None, problem="nothing is there")
    return Input(path=address, bytes=found.size if found.is_file else None, problem="")
