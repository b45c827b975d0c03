"""What a transaction asks of the place where a live tree lies, beyond what `Folder` offers.

The tree is made by others: it may hold symbolic links, which are seen as themselves here, and
files that are changed in place. The control folder beside it holds only what batten makes.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import AbstractContextManager, suppress
from functools import cache, partial
from typing import Protocol

from batten.model.disk.trees.journal import ABSENT, describe_file
from batten.model.value_class import value_class
from batten.storage.base import Folder, Kind
from batten.storage.beneath import close_read
from batten.storage.changing import steps
from batten.storage.failures import reading_failure, writing_failure
from batten.storage.local.folder import LocalStorage, kind_of
from batten.storage.local.locking import locks
from batten.storage.local.writing.modes import Modes
from batten.storage.local.writing.writing import write_all

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_COPIED_BYTES = 1 << 20
_NO_LINK = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
)
"""What `link` answers where the filesystem can't; a copy takes its place then."""


class Readable(Protocol):
    """What can be read piece by piece."""

    def read(self, size: int = -1, /) -> bytes: ...


@value_class
class NameStatus:
    """What lies under a name: `kind` is "file", "folder", "link" or "other"; `size` in bytes,
    `modified_ns` since 1970, and who may use it."""

    kind: Kind
    size: int
    modified_ns: int
    mode: int = 0o644
    owner: int = -1
    group: int = -1

    @property
    def is_folder(self) -> bool:
        return self.kind == "folder"

    def describe(self) -> str:
        """The text that tells it from another file in a journal."""
        return describe_file(self.kind, self.size, self.modified_ns)


def describe_look(look: NameStatus | None) -> str:
    return ABSENT if look is None else look.describe()


TreeLock = AbstractContextManager[object]
"""A lock that is held; leaving the block lets go of it."""


class Tree(Folder, Protocol):
    """See the module. Every method raises `StorageError` when the machine fails it."""

    def hold(self, name: str, *, is_shared: bool, wait_seconds: float | None) -> TreeLock:
        """Take the lock, alone or beside others that share it; wait for it so long, or with None
        for as long as it takes. Raises `BusyError`."""
        ...

    def look(self, name: str) -> NameStatus | None:
        """What lies under that name itself, or None. Links are not followed."""
        ...

    def stage_from(self, name: str, file: Readable) -> None:
        """Create the file exclusively with all that can be read from `file`; not yet durable."""
        ...

    def link(self, source: str, name: str) -> bool:
        """Give the file or symbolic link a second name. False if the filesystem can't."""
        ...

    def sync_file(self, name: str) -> None:
        """The bytes of the file are durable."""
        ...

    def make_folder(self, name: str) -> None:
        """The folder is there; not yet durable."""
        ...

    def set_attributes(self, name: str, look: NameStatus, *, keeps_time: bool) -> None:
        """Permissions as in `look`, and the owner where that is allowed; with `keeps_time` also
        the time of the last change. Before the file is synced."""
        ...

    def read_link(self, name: str) -> str:
        """Where the symbolic link points."""
        ...

    def make_link(self, name: str, text: str) -> None:
        """Create a symbolic link exclusively."""
        ...


class LocalTree(LocalStorage):
    """Implements `Tree` in a folder of this machine."""

    def hold(self, name: str, *, is_shared: bool, wait_seconds: float | None) -> TreeLock:
        place = self._reach_lock(name)
        self._modes = Modes()
        if is_shared:
            return locks.acquire_shared(place, wait_seconds=wait_seconds)
        lock = locks.acquire(place, locks.current_holder(), wait_seconds=wait_seconds)
        return self._take_over(name, lock)

    def look(self, name: str) -> NameStatus | None:
        try:
            status = self._beneath.look(name)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return None
            raise reading_failure(error, "Looking up", self._beneath.path(name)) from error
        return NameStatus(
            kind=kind_of(status.st_mode),
            size=status.st_size,
            modified_ns=status.st_mtime_ns,
            mode=stat.S_IMODE(status.st_mode),
            owner=status.st_uid,
            group=status.st_gid,
        )

    def stage_from(self, name: str, file: Readable) -> None:
        try:
            descriptor = steps.do(
                "stage.create", name, self._beneath.act, name, os.open, _CREATE, 0o666
            )
            try:
                self._modes.settle(descriptor)
                steps.do("stage.write", name, _copy, file, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise writing_failure(error, "Copying to", self._beneath.path(name)) from error

    def link(self, source: str, name: str) -> bool:
        act = partial(self._beneath.act_on_two, source, name)
        try:
            steps.do("link", name, act, os.link, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            raise writing_failure(error, "Linking", self._beneath.path(name)) from error
        self._unproven.note(name)
        return True

    def sync_file(self, name: str) -> None:
        try:
            descriptor = self._beneath.open_file(name)
            try:
                steps.do("stage.sync", name, os.fsync, descriptor)
            finally:
                close_read(descriptor)
        except OSError as error:
            raise writing_failure(error, "Syncing", self._beneath.path(name)) from error

    def make_folder(self, name: str) -> None:
        try:
            with self._modes.restored():
                steps.do("make_folder", name, self._beneath.act, name, os.mkdir)
        except FileExistsError:
            return
        except OSError as error:
            raise writing_failure(error, "Making the folder", self._beneath.path(name)) from error
        self._unproven.note(name)

    def set_attributes(self, name: str, look: NameStatus, *, keeps_time: bool) -> None:
        try:
            if not keeps_time and _has_permissions(self._beneath.look(name), look):
                return
            descriptor = self._beneath.open_file(name)
            try:
                steps.do("set_attributes", name, _set_attributes, descriptor, look, keeps_time)
            finally:
                close_read(descriptor)
        except OSError as error:
            path = self._beneath.path(name)
            raise writing_failure(error, "Setting the permissions of", path) from error

    def close_folders(self) -> None:
        """Keep no folder open. The next act opens again what it needs."""
        self._beneath.forget()

    def read_link(self, name: str) -> str:
        try:
            text: str = self._beneath.act(name, os.readlink)
            return text
        except OSError as error:
            raise reading_failure(error, "Reading the link", self._beneath.path(name)) from error

    def make_link(self, name: str, text: str) -> None:
        try:
            steps.do("make_link", name, self._beneath.act, name, partial(os.symlink, text))
        except OSError as error:
            raise writing_failure(error, "Making the link", self._beneath.path(name)) from error
        self._unproven.note(name)


TREES_OPEN_MAX = 8
"""So many keep folders open. A process may look at thousands, and may have fewer files open."""

_last_used: dict[str, LocalTree] = {}


def open_tree(folder: str) -> LocalTree:
    """The one tree of this process in that folder, which remembers what could not be synced."""
    tree = _find_tree(folder)
    _last_used.pop(folder, None)
    _last_used[folder] = tree
    for other in list(_last_used)[:-TREES_OPEN_MAX]:
        if (left := _last_used.pop(other, None)) is not None:
            left.close_folders()
    return tree


@cache
def _find_tree(folder: str) -> LocalTree:
    return LocalTree(folder)


def _copy(file: Readable, descriptor: int) -> None:
    while piece := file.read(_COPIED_BYTES):
        write_all(descriptor, piece)


def _has_permissions(status: os.stat_result, look: NameStatus) -> bool:
    own = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    return stat.S_ISREG(status.st_mode) and own == (look.mode, look.owner, look.group)


def _set_attributes(descriptor: int, look: NameStatus, keeps_time: bool) -> None:
    status = os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (look.owner, look.group):
        with suppress(PermissionError):
            os.fchown(descriptor, look.owner, look.group)
    os.fchmod(descriptor, look.mode)
    if keeps_time:
        os.utime(descriptor, ns=(status.st_atime_ns, look.modified_ns))
