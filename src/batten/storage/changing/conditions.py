"""Changes that have a condition, on a folder: looked at first, under the folder's lock.

A file system has no such changes but for the first, so two that change a file at once without the
lock could both be told that they did. What is not whole yet lies beside the file, under a name
that batten gives to what is throwaway.
"""

from __future__ import annotations

from batten.storage.base import READ_BYTES_MAX, Folder, Got, Piece, Put, PutAnswer
from batten.storage.changing.publishing import fresh_name
from batten.storage.relative import check_name, folder_of, last_piece


class ConditionsOfFolder:
    """What of `Store` a `Folder` does by what it can do more."""

    def put_new(self: Folder, name: str, data: Piece) -> PutAnswer:
        """See `Store`."""
        staged = _stage(self, name, data)
        try:
            is_made = self.publish(staged, name)
            self.sync_names(folder_of(name))
        finally:
            self.delete(staged)
        return PutAnswer(Put.MADE, _version(self, name)) if is_made else _tell(self, name, data)

    def put_if(self: Folder, name: str, data: Piece, version: str) -> PutAnswer:
        """See `Store`."""
        if _version(self, name) != version or not version:
            return _tell(self, name, data)
        self.replace(_stage(self, name, data), name)
        self.sync_names(folder_of(name))
        return PutAnswer(Put.MADE, _version(self, name))

    def delete_if(self: Folder, name: str, version: str) -> PutAnswer:
        """See `Store`."""
        found = _version(self, name)
        if found and found != version:
            return PutAnswer(Put.OTHER, found)
        self.delete(name)
        if found:
            self.sync_names(folder_of(name))
        return PutAnswer(Put.MADE)

    def get(self: Folder, name: str, *, bytes_max: int | None = READ_BYTES_MAX) -> Got:
        """See `Store`."""
        while True:
            before = _version(self, name)
            data = self.read(name, bytes_max=bytes_max)
            if before == _version(self, name):
                return Got(data, before)


def _stage(folder: Folder, name: str, data: Piece) -> str:
    within = folder_of(check_name(name))
    folder.ensure_folder(within)
    staged = fresh_name(within, last_piece(name)).lstrip("/")
    folder.stage(staged, data, is_synced=True)
    return staged


def _version(folder: Folder, name: str) -> str:
    found = folder.find(name)
    return found.version if found is not None else ""


def _tell(folder: Folder, name: str, data: Piece) -> PutAnswer:
    try:
        found = folder.get(name, bytes_max=None)
    except FileNotFoundError:
        return PutAnswer(Put.OTHER)
    return PutAnswer(Put.SAME if found.data == bytes(data) else Put.OTHER, found.version)
