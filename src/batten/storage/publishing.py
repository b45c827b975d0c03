"""The one way in which a file comes to be: staged, synced, published, its name synced.

A crash may come between any two system calls, and a power cut may keep a name without its bytes or
bytes without a name. So a file is made in four steps, and each rests on the one before. It is
written under a throwaway name, which no reader looks at. Its bytes are synced. Then it gets its
final name in one step: a link, which fails where the name is taken, so that nothing is ever
replaced by chance. Then the folder is synced, and from then on the name is durable. Only now the
throwaway name is removed, and only now anybody may rely on the file (decisions 0001, 0002).

A kill before the link leaves throwaway. A kill after it leaves the file, perhaps under two names.
The publisher who comes next does the same again, and is told that the file is there. After a failed
sync nothing is tried again: the kernel tells of a lost write only once.

    create      exclusive: what is there already stays
    create_many the same for many, which share the syncs of their folders
    replace     what is there already is replaced in one step
    set_aside   moved, with no moment in which the file has no durable name

Each may be killed anywhere and repeated. What a killed one leaves in `staging` is throwaway.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from typing import BinaryIO

from batten.errors import RefusedError
from batten.model.disk.names import staging_name
from batten.storage.base import Storage
from batten.storage.relative import folder_of, last_piece

HOST = os.uname().nodename.partition(".")[0]
"""This machine, without its domain: in names of files dots set the host apart."""
_COMPARED_BYTES = 1 << 20


def fresh_name(staging: str, what: str) -> str:
    """A name in the folder `staging` that no other process and no other call has."""
    random = os.urandom(8).hex()
    return f"{staging}/{staging_name(what, host=HOST, pid=os.getpid(), random=random)}"


def create(storage: Storage, staging: str, name: str, data: bytes | memoryview) -> bool:
    """Whether the file was made now. False if there was one of that name, which is untouched. In
    both cases the file is durable under that name."""
    return create_many(storage, staging, [(name, data)])[0]


def create_many(
    storage: Storage, staging: str, items: Iterable[tuple[str, bytes | memoryview]]
) -> list[bool]:
    """`create` for each name and its data, in order; a folder is synced once, at the end."""
    with storage.steady():
        staged = []
        for name, data in items:
            throwaway = fresh_name(staging, last_piece(name))
            storage.stage(throwaway, data, is_synced=True)
            staged.append((throwaway, name))
        is_new = [storage.publish(throwaway, name) for throwaway, name in staged]
        for folder in dict.fromkeys(folder_of(name) for _, name in staged):
            storage.sync_names(folder)
        for throwaway, _ in staged:
            storage.delete(throwaway)
        return is_new


def replace(storage: Storage, staging: str, name: str, data: bytes | memoryview) -> None:
    """The file is there with this data, in the place of any that was; durable on return."""
    throwaway = fresh_name(staging, last_piece(name))
    storage.stage(throwaway, data, is_synced=True)
    storage.replace(throwaway, name)
    storage.sync_names(folder_of(name))


def set_aside(storage: Storage, name: str, to: str) -> None:
    """Move the file. Done already, it does nothing; raises `FileNotFoundError` where there is no
    such file under either name, and `RefusedError` if `to` is another file."""
    if storage.find(name) is not None:
        if not storage.publish(name, to) and not is_same(storage, name, to):
            raise RefusedError(
                f"{name!r} cannot be set aside as {to!r}: there is another file of that name.",
                safe="Neither file was touched.",
                next="Run the same command again, which chooses a new name.",
            )
    elif storage.find(to) is None:
        raise FileNotFoundError(name)
    storage.sync_names(folder_of(to))
    storage.delete(name)
    storage.sync_names(folder_of(name))


def is_same(storage: Storage, first: str, second: str) -> bool:
    """Whether the two files hold the same bytes."""
    with storage.open(first) as one, storage.open(second) as other:
        if _is_one_file(one, other):
            return True  # which may be a large one of the user's
        while piece := one.read(_COMPARED_BYTES):
            if other.read(len(piece)) != piece:
                return False
        return not other.read(1)


def _is_one_file(one: BinaryIO, other: BinaryIO) -> bool:
    """Whether it is one file under two names; a storage in memory can't tell."""
    try:
        return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))
    except io.UnsupportedOperation:
        return False
