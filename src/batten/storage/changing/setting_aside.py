"""A file that is in the way is moved aside. At no moment it has no durable name.

It may be killed anywhere and repeated.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from batten.errors import RefusedError
from batten.storage.base import Folder, Store
from batten.storage.relative import folder_of

_COMPARED_BYTES = 1 << 20


def set_aside(folder: Folder, name: str, to: str) -> None:
    """Move the file. Done already, it does nothing; raises `FileNotFoundError` where there is no
    such file under either name, and `RefusedError` if `to` is another file."""
    if folder.find(name) is not None:
        if not folder.publish(name, to) and not is_same(folder, name, to):
            raise RefusedError(
                f"{name!r} cannot be set aside as {to!r}: there is another file of that name.",
                safe="Neither file was touched.",
                next="Run the same command again, which chooses a new name.",
            )
    elif folder.find(to) is None:
        raise FileNotFoundError(name)
    folder.sync_names(folder_of(to))
    folder.delete(name)
    folder.sync_names(folder_of(name))


def is_same(storage: Store, first: str, second: str) -> bool:
    """Whether the two files hold the same bytes."""
    with storage.open(first) as one, storage.open(second) as other:
        if _is_one_file(one, other):
            return True  # which may be a large one of the user's
        while piece := one.read(_COMPARED_BYTES):
            if other.read(len(piece)) != piece:
                return False
        return not other.read(1)


def _is_one_file(one: BinaryIO, other: BinaryIO) -> bool:
    """Whether it is known to be one file under two names. A storage in memory can't tell, and the
    system may fail to; then their bytes do."""
    try:
        return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))
    except OSError:
        return False
