"""A file that is in the way is moved aside. At no moment it has no durable name.

It gets its second name, which is synced before the first one goes. Files that move together share
the syncs of their folders (decision 0160). It may be killed anywhere and repeated.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from batten.errors import RefusedError
from batten.storage.base import Folder, Store
from batten.storage.relative import folder_of

_COMPARED_BYTES = 1 << 20


def set_aside(folder: Folder, name: str, to: str) -> None:
    """Move the file. Done already, it does nothing; raises `FileNotFoundError` where there is no
    such file under either name, and `RefusedError` if `to` is another file."""
    set_aside_many(folder, [(name, to)])


def set_aside_many(folder: Folder, moves: Sequence[tuple[str, str]]) -> None:
    """`set_aside` for each name and where it goes. If it raises, each file has its first name or
    both."""
    with folder.steady():
        for name, to in moves:
            _name_again(folder, name, to)
        _sync_folders(folder, (to for _, to in moves))
        for name, _ in moves:
            folder.delete(name)
        _sync_folders(folder, (name for name, _ in moves))


def _name_again(folder: Folder, name: str, to: str) -> None:
    if folder.find(name) is not None:
        if not folder.publish(name, to) and not is_same(folder, name, to):
            raise RefusedError(
                f"{name!r} cannot be set aside as {to!r}: there is another file of that name.",
                safe="Neither file was touched.",
                next="Run the same command again, which chooses a new name.",
            )
    elif folder.find(to) is None:
        raise FileNotFoundError(name)


def _sync_folders(folder: Folder, names: Iterable[str]) -> None:
    for each in dict.fromkeys(map(folder_of, names)):
        folder.sync_names(each)


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
