"""Changes that have a condition, on a folder: looked at first, under the folder's lock.

A file system has no such changes but for the first, so two that change a file at once without the
lock could both be told that they did. What is not whole yet lies beside the file, under a name
that batten gives to what is throwaway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batten.storage.base import READ_BYTES_MAX, Entry, Got, Piece, Put, PutAnswer
from batten.storage.publishing import fresh_name
from batten.storage.relative import check_name, folder_of, last_piece

if TYPE_CHECKING:
    from batten.storage.base import Folder


def put_new(folder: Folder, name: str, data: Piece) -> PutAnswer:
    """See `Store.put_new`."""
    staged = _stage(folder, name, data)
    try:
        is_made = folder.publish(staged, name)
        folder.sync_names(folder_of(name))
    finally:
        folder.delete(staged)
    return _tell(folder, name, data) if not is_made else PutAnswer(Put.MADE, _version(folder, name))


def put_if(folder: Folder, name: str, data: Piece, version: str) -> PutAnswer:
    """See `Store.put_if`."""
    if _version(folder, name) != version or not version:
        return _tell(folder, name, data)
    folder.replace(_stage(folder, name, data), name)
    folder.sync_names(folder_of(name))
    return PutAnswer(Put.MADE, _version(folder, name))


def delete_if(folder: Folder, name: str, version: str) -> PutAnswer:
    """See `Store.delete_if`."""
    found = _version(folder, name)
    if found and found != version:
        return PutAnswer(Put.OTHER, found)
    folder.delete(name)
    if found:
        folder.sync_names(folder_of(name))
    return PutAnswer(Put.MADE)


def get(folder: Folder, name: str, bytes_max: int | None = READ_BYTES_MAX) -> Got:
    """See `Store.get`."""
    while True:
        before = _version(folder, name)
        data = folder.read(name, bytes_max=bytes_max)
        if before == _version(folder, name):
            return Got(data, before)


def _stage(folder: Folder, name: str, data: Piece) -> str:
    within = folder_of(check_name(name))
    folder.ensure_folder(within)
    staged = fresh_name(within, last_piece(name)).lstrip("/")
    folder.stage(staged, data, is_synced=True)
    return staged


def _version(folder: Folder, name: str) -> str:
    found: Entry | None = folder.find(name)
    return found.version if found is not None else ""


def _tell(folder: Folder, name: str, data: Piece) -> PutAnswer:
    try:
        found = get(folder, name, None)
    except FileNotFoundError:
        return PutAnswer(Put.OTHER)
    return PutAnswer(Put.SAME if found.data == bytes(data) else Put.OTHER, found.version)
