"""A store from afar, of which what is staged lies on a disk of this machine (decision 0108).

What is staged can be made again, and only who made it has a use for it. So it costs no requests. A
run that goes on here finds it, by the record of the dataset: another dataset that came to the same
address has another one. A run on another machine finds nothing, and computes these items again.
Nothing is synced, since the name of each file says what it should hold.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO

from batten.errors import StorageError
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.disk.records import Config, Unreadable, decode_record
from batten.model.disk.runs.holders import Holder
from batten.model.disk.staged_names import DIGEST_CHARACTERS, find_staging_control
from batten.storage.base import (
    READ_BYTES_MAX,
    Entry,
    Folder,
    Got,
    Lock,
    Piece,
    Put,
    PutAnswer,
    Store,
)
from batten.storage.changing.publishing import put_aside
from batten.storage.listing import list_names_after
from batten.storage.local.folder import LocalStorage
from batten.storage.local.user_caches import user_caches
from batten.storage.relative import folder_of, last_piece

FOLDER_VARIABLE = "BATTEN_STAGING_DIR"


def staging_folder() -> str:
    """`BATTEN_STAGING_DIR`, or else `batten-staged` among the user's caches."""
    return os.environ.get(FOLDER_VARIABLE) or os.path.join(user_caches(), "batten-staged")


class StagedHere:
    """Implements `Store`: that of `store`, but for what is staged, which is below `root`."""

    folder: None = None
    local: None = None

    def __init__(self, store: Store, root: str) -> None:
        self._store, self._root = store, os.path.abspath(root)
        self._known: dict[str, Folder] = {}
        self._one_at_a_time = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._store, self._root)

    @property
    def place(self) -> str:
        return self._store.place

    def steady(self) -> AbstractContextManager[None]:
        return self._store.steady()

    def put_new(self, name: str, data: Piece) -> PutAnswer:
        control = find_staging_control(name)
        if control:
            return self._put_aside(control, name, data)
        self._forget(name)
        return self._store.put_new(name, data)

    def put_if(self, name: str, data: Piece, version: str) -> PutAnswer:
        self._forget(name)
        return self._of(name).put_if(name, data, version)

    def delete_if(self, name: str, version: str) -> PutAnswer:
        return self._of(name).delete_if(name, version)

    def get(self, name: str, *, bytes_max: int | None = READ_BYTES_MAX) -> Got:
        return self._of(name).get(name, bytes_max=bytes_max)

    def read(
        self,
        name: str,
        *,
        offset: int = 0,
        length: int | None = None,
        bytes_max: int | None = READ_BYTES_MAX,
    ) -> bytes:
        return self._of(name).read(name, offset=offset, length=length, bytes_max=bytes_max)

    def open(self, name: str) -> BinaryIO:
        return self._of(name).open(name)

    def find(self, name: str) -> Entry | None:
        return self._of(name).find(name)

    def list(self, folder: str) -> Iterator[Entry]:
        return self._of(folder).list(folder)

    def list_names(self, folder: str) -> Iterator[str]:
        return self._of(folder).list_names(folder)

    def list_names_after(self, folder: str, after: str) -> Iterator[str]:
        return list_names_after(self._of(folder), folder, after)

    def read_each(self, folder: str, names: Iterable[str]) -> Iterator[bytes | None]:
        return self._of(folder).read_each(folder, names)

    def lease(self, name: str, holder: Holder) -> Lock:
        return self._store.lease(name, holder)

    def observe_lock(self, name: str) -> Holder | None:
        return self._store.observe_lock(name)

    def _of(self, name: str) -> Store:
        """Where the file or folder of that name lies."""
        control = find_staging_control(name)
        return self._open(control) if control else self._store

    def _put_aside(self, control: str, name: str, data: Piece) -> PutAnswer:
        folder, staging = self._open(control), f"{control}/staging"
        try:
            os.makedirs(folder.place, mode=0o700, exist_ok=True)
            for each in (staging, folder_of(name)):
                folder.ensure_folder(each)
        except OSError as error:
            raise self._unfit(os.strerror(error.errno or errno.EIO)) from error
        put_aside(folder, staging, name, data, is_synced=False)
        found = folder.find(name)
        return PutAnswer(Put.MADE, found.version if found is not None else "")

    def _open(self, control: str) -> Folder:
        """The folder for what is staged of the dataset that is there now."""
        if os.path.lexists(self._root) and not os.path.isdir(self._root):
            raise self._unfit("it is no folder")
        with self._one_at_a_time:
            if control not in self._known:
                created = self._find_created(control)
                of = f"{self.place}\n{control}\n{created}"
                digest = hashlib.sha256(of.encode(errors="surrogateescape")).hexdigest()
                found = LocalStorage(f"{self._root}/{digest[:DIGEST_CHARACTERS]}")
                if not created:
                    return found
                self._known[control] = found
            return self._known[control]

    def _unfit(self, reason: str) -> StorageError:
        return StorageError(
            f"What is finished for {self.place!r} can't be put aside in {self._root!r}: {reason}.",
            safe="What was committed before is safe.",
            next=f"Name a folder of this machine by {FOLDER_VARIABLE}, and run it again.",
            errno=errno.EIO,
        )

    def _find_created(self, control: str) -> str:
        """When the record of the dataset was made, which no two have in common; empty if there is
        none, or none that can be read."""
        try:
            return decode_record(Config, self._store.read(f"{control}/{_RECORD}")).created
        except (FileNotFoundError, Unreadable):
            return ""

    def _forget(self, name: str) -> None:
        if last_piece(name) == _RECORD and folder_of(name).endswith(CONTROL_SUFFIX):
            with self._one_at_a_time:
                self._known.pop(folder_of(name), None)


_RECORD = "dataset.json"
