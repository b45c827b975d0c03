"""The one way in which a file comes to be, and goes: on a folder, and on any other store.

A crash may come between any two system calls, and a power cut may keep a name without its bytes or
bytes without a name. So on a folder a file is made in four steps, and each rests on the one before.
It is written under a throwaway name, which no reader looks at. Its bytes are synced. Then it gets
its final name in one step: a link, which fails where the name is taken, so that nothing is ever
replaced by chance. Then the folder is synced, and from then on the name is durable. Only now the
throwaway name is removed, and only now anybody may rely on the file (decisions 0001, 0002).

A kill before the link leaves throwaway. A kill after it leaves the file, perhaps under two names.
The publisher who comes next does the same again, and is told that the file is there. After a failed
sync nothing is tried again: the kernel tells of a lost write only once.

On another store each is one change with a condition, which the store keeps. A change whose answer
was lost is asked for again, until it is known what became of it (decision 0081).

    create      exclusive: what is there already stays
    create_many the same for many, which on a folder share the syncs of their folders
    replace     what is there already is replaced in one step
    put_aside   a file whose name says what it holds
    delete      the file is gone

Each may be killed anywhere and repeated. What a killed one leaves in `staging` is throwaway.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial

from batten.errors import StorageError
from batten.model.disk.throwaway_names import staging_name
from batten.storage.base import Folder, Piece, Put, PutAnswer, Store
from batten.storage.changing.setting_aside import is_same
from batten.storage.relative import folder_of, last_piece

HOST = os.uname().nodename.partition(".")[0]
"""This machine, without its domain: in names of files dots set the host apart."""
TRIES = 5
"""So often is a change asked for of which no answer comes."""


def fresh_name(staging: str, what: str) -> str:
    """A name in the folder `staging` that no other process and no other call has."""
    random = os.urandom(8).hex()
    return f"{staging}/{staging_name(what, host=HOST, pid=os.getpid(), random=random)}"


def create(storage: Store, staging: str, name: str, data: Piece) -> Put:
    """`MADE` if the file was made now. If there was one of that name it is untouched: `SAME`
    if it has just this data, else `OTHER`. Whichever it is, it is durable under that name."""
    return create_many(storage, staging, [(name, data)])[0]


def create_many(storage: Store, staging: str, items: Iterable[tuple[str, Piece]]) -> list[Put]:
    """`create` for each name and its data, in order; a folder is synced once, at the end."""
    folder = storage.folder
    if folder is None:
        return [settle(storage, partial(storage.put_new, *item)).put for item in items]
    with folder.steady():
        staged = []
        for name, data in items:
            throwaway = fresh_name(staging, last_piece(name))
            folder.stage(throwaway, data, is_synced=True)
            staged.append((throwaway, name))
        puts = [
            Put.MADE if folder.publish(throwaway, name) else _compare(folder, throwaway, name)
            for throwaway, name in staged
        ]
        sync_names(folder, dict.fromkeys(folder_of(name) for _, name in staged))
        for throwaway, _ in staged:
            folder.delete(throwaway)
        return puts


def replace(storage: Store, staging: str, name: str, data: Piece, *, seen: str = "") -> Put:
    """The file is there with this data, durable on return, in the place of the version that was
    `seen`, or of none. On a folder that is not looked at, under its lock. `OTHER` if another
    version was there: that is untouched."""
    folder = storage.folder
    if folder is None:
        change = partial(storage.put_if, version=seen) if seen else storage.put_new
        return settle(storage, partial(change, name, data)).put
    throwaway = fresh_name(staging, last_piece(name))
    folder.stage(throwaway, data, is_synced=True)
    folder.replace(throwaway, name)
    folder.sync_names(folder_of(name))
    return Put.MADE


def put_aside(storage: Store, staging: str, name: str, data: Piece, *, is_synced: bool) -> None:
    """The file is there, whole, under a name that says what it holds: another one of that name was
    damaged. Its name is not synced, nor its bytes unless asked for; a store knows no such thing."""
    folder = storage.folder
    if folder is None:
        put = settle(storage, partial(storage.put_new, name, data))
        if put.put is Put.OTHER:
            settle(storage, partial(storage.put_if, name, data, put.version))
        return
    throwaway = fresh_name(staging, last_piece(name))
    folder.stage(throwaway, data, is_synced=is_synced)
    folder.replace(throwaway, name)


def delete(storage: Store, name: str) -> None:
    """The file is gone, as it was a moment ago; also when it was not there."""
    if storage.folder is not None:
        storage.folder.delete(name)
    elif (entry := storage.find(name)) is not None:
        settle(storage, partial(storage.delete_if, name, entry.version))


def make_folders(storage: Store, folders: Iterable[str]) -> None:
    """Names in these folders can be made from here on. Other stores have no need of that."""
    if storage.folder is not None:
        for folder in folders:
            storage.folder.ensure_folder(folder)


def sync_names(storage: Store, folders: Iterable[str]) -> None:
    """The names in these folders are durable. In other stores each is when it was answered for."""
    if storage.folder is not None:
        for folder in folders:
            storage.folder.sync_names(folder)


def append_line(storage: Store, name: str, line: bytes) -> None:
    """Add a line to a file that one alone writes to, of hints: a failure costs an explanation."""
    if storage.folder is not None:
        storage.folder.append_log(name, line)
        return
    with suppress(StorageError):
        try:
            had, version = storage.get(name)
        except FileNotFoundError:
            storage.put_new(name, line)
        else:
            storage.put_if(name, had + line, version)


def sync_file(storage: Store, name: str) -> None:
    """What was added to the file, and its name, is durable. Elsewhere it was at once."""
    if storage.folder is not None:
        storage.folder.begin_syncs(folder_of(name)).sync([name])
        storage.folder.sync_names(folder_of(name))


def settle(storage: Store, change: Callable[[], PutAnswer]) -> PutAnswer:
    """Ask for a change until it is known what became of it: each asks for the same, so it is done
    once. Raises `StorageError` if no answer comes."""
    for _ in range(TRIES):
        answer = change()
        if answer.put is not Put.UNKNOWN:
            return answer
    raise StorageError(
        f"{storage.place} did not say what became of a change, {TRIES} times.",
        safe="Nothing is lost: it was made or not, and the next run looks.",
        next="When it answers again, run the same command again.",
    )


def _compare(folder: Folder, throwaway: str, name: str) -> Put:
    """What was staged, and what has the name already: if that can be read at all."""
    try:
        return Put.SAME if is_same(folder, throwaway, name) else Put.OTHER
    except (FileNotFoundError, StorageError):
        return Put.OTHER
