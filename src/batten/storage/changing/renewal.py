"""Names that could not be made durable are made anew by whoever takes the lock next.

Decision 0062 has the reasons.

The kernel tells only once that it failed to write what changed in a folder. It goes on showing
these names, and the next sync of the folder succeeds without them: a power cut may still take them.
So a failed sync leaves a record of them beside the lock. Whoever takes the lock gives each of them
a second name, takes the first away, makes it again, and syncs the folders; then the record goes.
A name that had been removed is made and removed again.

The record need not be durable when it is made: after a power cut the disk is all that there is, and
what it shows is durable. It is made durable before the first name is made anew, since from then on
a power cut may find a name away. Each step may be killed and repeated.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from contextlib import suppress

from batten.errors import StorageError
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.names import CONTROL_SUFFIX, UNSYNCED
from batten.model.disk.records import Unsynced, decode_record, encode_record
from batten.model.disk.staged_names import holds_throwaways
from batten.model.disk.trees.tree_names import TREE_FOLDER
from batten.model.value_class import value_class
from batten.storage.base import Entry, Folder
from batten.storage.changing.setting_aside import is_same
from batten.storage.relative import check_name, folder_of


class UnprovenNames:
    """What one storage knows of names that may not be durable.

    While the folder of a lock is held, it notes what changed in each folder since it was last
    synced. Without a lock it notes nothing, so a worker's list does not grow."""

    def __init__(self) -> None:
        self._control: str | None = None
        self._by_folder: dict[str, dict[str, None]] = {}
        self._synced: set[str] = set()
        self._distrusted: set[str] = set()

    def take_over(self, storage: Folder, control: str) -> None:
        """The lock in `control` is held from here on: what others could not make durable is made
        anew. Raises `StorageError`."""
        # A sync that fails in a renewal adds no names to the record: their numbers would change.
        self._control = None
        self._by_folder.clear()
        self._synced.clear()
        if storage.find(_record_of(control)) is not None:
            self._distrusted.clear()
            renew(storage, control)
        self._control = control

    def note(self, *names: str) -> None:
        """These were made, replaced or removed."""
        if self._control is not None:
            for name in names:
                folder = folder_of(name)
                if not holds_throwaways(folder):
                    self._by_folder.setdefault(folder, {})[name] = None

    def refuse_distrusted(self, folder: str) -> None:
        """The kernel reports a lost write once. A second sync would claim what the first denied."""
        if folder in self._distrusted:
            raise OSError(errno.EIO, os.strerror(errno.EIO), folder)

    def settle(self, folder: str) -> None:
        """The folder was synced."""
        self._by_folder.pop(folder, None)
        self._synced.add(folder)

    def fail(self, storage: Folder, folder: str) -> None:
        """The folder could not be synced. At the first sync what a killed process had made is in
        doubt as well, which may be anything in the folder."""
        self._distrusted.add(folder)
        if self._control is None:
            return
        names = set(self._by_folder.get(folder, ()))
        if folder not in self._synced and not holds_throwaways(folder):
            with suppress(StorageError):
                names.update(f"{folder}/{name}".lstrip("/") for name in storage.list_names(folder))
        if names:
            remember(storage, self._control, names)


def remember(storage: Folder, control: str, names: Iterable[str]) -> None:
    """Leave a record that the sync of these names failed; beside those of an earlier failure. A
    disk that takes not even that takes nothing more of the run either."""
    with suppress(StorageError):
        known = _find_record(storage, control) or ()
        _save(storage, control, sorted({*known, *names}), is_synced=False)


def renew(storage: Folder, control: str) -> None:
    """Make the names of the record durable. Under the lock. Raises `StorageError` if the disk
    fails again; the record stays then."""
    names = _find_record(storage, control) or []
    _save(storage, control, names, is_synced=True)
    storage.sync_names(control)
    held = [
        _Renewed(storage=storage, name=name, aside=f"{_record_of(control)}-{number:06}")
        for number, name in enumerate(names)
        if _is_within(name, control)
    ]
    for each in held:
        each.keep()
    storage.sync_names(control)
    for each in held:
        each.make()
    for folder in sorted({folder_of(each.name) for each in held}, key=len, reverse=True):
        if _is_there(storage, folder):
            storage.sync_names(folder)
    for each in held:
        each.forget()
    # A second name without the record would be taken for that of another name, one day.
    storage.sync_names(control)
    storage.delete(_record_of(control))
    storage.sync_names(control)


def _record_of(control: str) -> str:
    return f"{control}/{UNSYNCED}" if control else UNSYNCED


def _save(storage: Folder, control: str, names: list[str], *, is_synced: bool) -> None:
    made = f"{_record_of(control)}-made"
    with suppress(StorageError):
        storage.delete(made)
    storage.stage(made, encode_record(Unsynced(names=names)), is_synced=is_synced)
    storage.replace(made, _record_of(control))


def _is_within(name: str, control: str) -> bool:
    """A record may be forged, so it names nothing but what is the output's own. A folder that holds
    the record can't move; it was durable before the record was in it."""
    output = control.removesuffix(TREE_FOLDER).removesuffix(CONTROL_SUFFIX)
    is_own = name == output or name.startswith((f"{output}/", f"{output}{CONTROL_SUFFIX}/"))
    return is_own and not f"{control}/".startswith(f"{name}/")


def _find_record(storage: Folder, control: str) -> list[str] | None:
    """The names, or None if there is no record. A torn record is from before a power cut, and
    nothing is left to do for it."""
    try:
        data = storage.read(_record_of(control), bytes_max=RECORD_BYTES_MAX["unsynced"])
        return [check_name(name) for name in decode_record(Unsynced, data).names]
    except FileNotFoundError:
        return None
    except ValueError:
        return []


@value_class
class _Renewed:
    """One name, and the second one that holds what it means while it is made anew."""

    storage: Folder
    name: str
    aside: str

    @property
    def _nothing(self) -> str:
        """An empty file, which takes the name for a moment where the name had been removed."""
        return f"{self.aside}-removed"

    def keep(self) -> None:
        """What it means has a second name. A folder can have only one: it moves away and back."""
        storage = self.storage
        is_begun = _is_there(storage, self.aside) or _is_there(storage, self._nothing)
        if is_begun or not _is_there(storage, folder_of(self.name)):
            return
        found = storage.find(self.name)
        if found is None:
            storage.stage(self._nothing, b"", is_synced=True)
        elif found.is_folder:
            storage.replace(self.name, self.aside)
            storage.replace(self.aside, self.name)
        else:
            try:
                storage.publish(self.name, self.aside)
            except StorageError as error:
                # Below a mount point in a tree it can have no second name here (decision 0062).
                if error.errno != errno.EXDEV:
                    raise

    def make(self) -> None:
        """What someone else has put there meanwhile stays."""
        storage = self.storage
        kept = storage.find(self.aside)
        if kept is not None and kept.is_folder:
            storage.replace(self.aside, self.name)
        elif kept is not None:
            found = storage.find(self.name)
            if found is None or _is_same(storage, kept, found):
                storage.delete(self.name)
                storage.publish(self.aside, self.name)
        elif _is_there(storage, self._nothing) and (
            storage.publish(self._nothing, self.name) or is_same(storage, self._nothing, self.name)
        ):
            storage.delete(self.name)

    def forget(self) -> None:
        self.storage.delete(self.aside)
        self.storage.delete(self._nothing)


def _is_same(storage: Folder, kept: Entry, found: Entry) -> bool:
    if kept.kind != "file" or found.kind != "file":
        return kept.kind == found.kind
    return is_same(storage, kept.name, found.name)


def _is_there(storage: Folder, name: str) -> bool:
    return not name or storage.find(name) is not None
