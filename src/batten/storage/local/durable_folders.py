"""Folders whose names are durable: made, and synced in the folder that holds them."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from functools import partial

from batten.storage.base import Folder
from batten.storage.beneath import Beneath, Obstructed, close_read
from batten.storage.changing import steps
from batten.storage.changing.renewal import UnprovenNames
from batten.storage.local.writing.modes import Modes
from batten.storage.relative import folder_of

_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.EBADF, errno.ENOTSUP})
"""What some filesystems answer to fsync of a folder because they have no need of it."""


class DurableFolders:
    """Those of one storage, which it makes and syncs."""

    def __init__(self, beneath: Beneath, modes: Modes, unproven: UnprovenNames) -> None:
        self._beneath = beneath
        self._modes = modes
        self._unproven = unproven
        self._durable: set[str] = set()

    def sync(self, storage: Folder, path: str, name: str) -> None:
        """`path` is below the root, and `name` is its name there; or `path` is above it."""
        is_above = not name and path != storage.place
        key = path if is_above else name
        self._unproven.refuse_distrusted(key)
        descriptor = Beneath(path).open_folder("") if is_above else self._beneath.open_folder(name)
        try:
            steps.do("sync_names", name, os.fsync, descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                self._unproven.fail(storage, key)
                raise
        else:
            self._unproven.settle(key)
        finally:
            close_read(descriptor)

    def ensure(self, storage: Folder, path: str, name: str) -> None:
        """Make it where it is not there, with all above it."""
        is_made = False
        if not self._is_folder(path, name):
            self.ensure(storage, os.path.dirname(path), folder_of(name))
            is_made = self._make_folder(path, name)
        if path in self._durable and not is_made:
            return
        # Also for a folder found: its maker may have been killed before this sync. Its own
        # parents need none, since a folder is only made in one whose name is durable.
        self._unproven.note(name)
        try:
            self.sync(storage, os.path.dirname(path), folder_of(name))
        except OSError as error:
            if is_made and name:
                # The next process that makes the folder makes its name anew, too.
                with suppress(OSError):
                    steps.do("delete", name, self._beneath.act, name, os.rmdir)
            if is_made or name or not isinstance(error, PermissionError):
                raise
        self._durable.add(path)

    def _is_folder(self, path: str, name: str) -> bool:
        """Whether it is there. Raises if something else lies there."""
        if not name:
            return os.path.isdir(path)
        try:
            mode = self._beneath.look(name).st_mode
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(mode):
            code = errno.ELOOP if stat.S_ISLNK(mode) else errno.ENOTDIR
            raise Obstructed(code, os.strerror(code), path)
        return True

    def _make_folder(self, path: str, name: str) -> bool:
        """Whether it was made; not when another process was quicker."""
        make = partial(self._beneath.act, name, os.mkdir) if name else partial(os.mkdir, path)
        try:
            with self._modes.restored():
                steps.do("make_folder", name, make)
        except FileExistsError:
            if not self._is_folder(path, name):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
            return False
        return True
