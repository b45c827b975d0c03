"""The one way to what lies below a folder: by its name, piece by piece, through no link.

The folder itself is the place that the user named, and may be reached by links. Below it every
folder of a name is opened by its own name in the one before, at the moment of the act. Where a link
lies there, or anything else that is no folder, the act is refused. What is swapped after that
moment is not touched, since the act is on what was opened. See decision 0031.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from threading import local
from typing import Any, TypeVar

from batten.storage.relative import check_name

Result = TypeVar("Result")

_PASS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Opens at once, also where a pipe lies: in the usual way that would wait for who writes to it."""


class Obstructed(OSError):
    """A piece of a name is there, and is no folder: `filename` is its whole path. The number is
    ELOOP for a link, else ENOTDIR."""


OPEN_MAX = 32
"""So many folders are kept open, and so many in a block of `steady`."""


class _PassedFolder:
    """An open folder, closed when nobody uses it any more."""

    __slots__ = ("_status", "descriptor")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._status: os.stat_result | None = None

    def is_found(self, found: os.stat_result) -> bool:
        """Whether the open folder is the one that was found under its name."""
        own = self._status
        if own is None:
            own = self._status = os.fstat(self.descriptor)
        return found.st_ino == own.st_ino and found.st_dev == own.st_dev

    def __del__(self) -> None:
        close_read(self.descriptor)


class Steady(local):
    """A block in which each folder is passed once; each thread has its own. See `Beneath.steady`.
    A block within another is part of that."""

    def __init__(self) -> None:
        self.passed: dict[str, _PassedFolder] | None = None
        self._depth = 0

    def __enter__(self) -> None:
        if not self._depth:
            self.passed = {}
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self.passed = None


class Beneath:
    """Acts on names below `root`, which need not exist. Threads and forked processes may share it.

    Folders that were passed stay open, and are passed again where they still have their names: that
    is one look, and opening each folder anew would be many."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.prefix = root.rstrip("/") + "/"
        self._open: dict[str, _PassedFolder] = {}
        self._steady = Steady()

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.root,))

    def forget(self) -> None:
        """Keep nothing open."""
        self._open.clear()

    def steady(self) -> Steady:
        """A block for looks and acts that belong together (decision 0068). In it this thread passes
        each folder once. What takes the folder's name later in the block is not touched: others
        might as well have moved the folder at the end of the block. `forget_moved` tells what this
        thread itself moves in it."""
        return self._steady

    def forget_moved(self, *names: str) -> None:
        """Whatever had these names was moved or removed. It may have been folders, so they and all
        below them are passed anew."""
        passed = self._steady.passed
        if passed:
            moved = tuple([f"{name}/" for name in names])
            for folder in [each for each in passed if f"{each}/".startswith(moved)]:
                del passed[folder]

    def path(self, name: str) -> str:
        """For messages; nothing is opened by it."""
        return self.prefix + check_name(name) if name else self.root

    def act(
        self, name: str, action: Callable[..., Result], *arguments: Any, **options: Any
    ) -> Result:
        """`action(last piece, *arguments, dir_fd=…)`. Whether that follows a link in the last piece
        is the action's own matter."""
        folder, _, last = check_name(name).rpartition("/")
        if not folder:
            return action(self.prefix + last, *arguments, **options)
        parent = self._pass(folder)
        return action(last, *arguments, dir_fd=parent.descriptor, **options)

    def act_on_two(
        self, first: str, second: str, action: Callable[..., Result], **options: Any
    ) -> Result:
        """`action(last piece, last piece, src_dir_fd=…, dst_dir_fd=…)`: of `first`, of `second`."""
        source_folder, _, source = check_name(first).rpartition("/")
        target_folder, _, target = check_name(second).rpartition("/")
        from_folder = self._pass(source_folder)
        into_folder = from_folder if target_folder == source_folder else self._pass(target_folder)
        return action(
            source,
            target,
            src_dir_fd=from_folder.descriptor,
            dst_dir_fd=into_folder.descriptor,
            **options,
        )

    def look(self, name: str) -> os.stat_result:
        """What has that name itself; of the empty name, what `root` leads to."""
        if not name:
            return os.stat(self.root)
        folder, _, last = check_name(name).rpartition("/")
        if not folder:
            return os.lstat(self.prefix + last)
        parent = self._pass(folder)
        return os.lstat(last, dir_fd=parent.descriptor)

    def open_file(self, name: str) -> int:
        """A file, opened for reading. Raises `OSError` for a link, a folder, a pipe, a device."""
        descriptor = self.act(name, os.open, READ)
        try:
            refuse_irregular(os.fstat(descriptor).st_mode)
        except OSError:
            close_read(descriptor)
            raise
        return descriptor

    def open_file_past(self, name: str, look: Callable[[int, str], None]) -> int:
        """As `open_file`, past folders that are looked at: `look` is given each from the root on,
        open, with its name, before what lies in it is opened; and the file itself."""
        pieces = check_name(name).split("/")
        descriptor = os.open(self.root, os.O_PATH | _READ_FOLDER)
        try:
            for count, piece in enumerate(pieces):
                look(descriptor, "/".join(pieces[:count]))
                flags = READ if count == len(pieces) - 1 else _PASS
                inner = os.open(piece, flags, dir_fd=descriptor)
                close_read(descriptor)
                descriptor = inner
            refuse_irregular(os.fstat(descriptor).st_mode)
            look(descriptor, name)
        except BaseException:
            close_read(descriptor)
            raise
        return descriptor

    def open_folder(self, name: str) -> int:
        """A folder, opened for listing and syncing."""
        if not name:
            return os.open(self.root, _READ_FOLDER)
        known = (self._steady.passed or {}).get(name)
        if known is not None:
            return os.open(".", _READ_FOLDER, dir_fd=known.descriptor)
        try:
            return self.act(name, os.open, _READ_FOLDER | os.O_NOFOLLOW)
        except NotADirectoryError as error:
            raise self._explain(name, error) from error

    def _pass(self, folder: str) -> _PassedFolder:
        passed = self._steady.passed
        if passed is None:
            return self._pass_now(folder)
        found = passed.get(folder)
        if found is None:
            if len(passed) >= OPEN_MAX:
                passed.clear()
            found = passed[folder] = self._pass_now(folder)
        return found

    def _pass_now(self, folder: str) -> _PassedFolder:
        known = self._open.get(folder)
        if known is not None:
            try:
                path = self.prefix + folder
                if known.is_found(os.lstat(path) if folder else os.stat(path)):
                    return known
            except OSError:
                pass  # Passing it anew tells why.
        passed = _PassedFolder(self._pass_anew(folder))
        if len(self._open) >= OPEN_MAX:
            self._open.clear()
        self._open[folder] = passed
        return passed

    def _pass_anew(self, folder: str) -> int:
        if not folder:
            return os.open(self.root, os.O_PATH | _READ_FOLDER)
        above, _, last = folder.rpartition("/")
        try:
            if not above:
                return os.open(self.prefix + last, _PASS)
            parent = self._pass(above)
            return os.open(last, _PASS, dir_fd=parent.descriptor)
        except NotADirectoryError as error:
            raise self._explain(folder, error) from error

    def _explain(self, name: str, error: OSError) -> OSError:
        """Which piece of the name is in the way; `error` itself where that lies above the root, or
        is gone meanwhile. For a message: nothing is decided by it but the words."""
        pieces = name.split("/")
        for count in range(1, len(pieces) + 1):
            path = self.prefix + "/".join(pieces[:count])
            try:
                mode = os.lstat(path).st_mode
            except OSError:
                return error
            if not stat.S_ISDIR(mode):
                code = errno.ELOOP if stat.S_ISLNK(mode) else errno.ENOTDIR
                return Obstructed(code, os.strerror(code), path)
        return error


def close_read(descriptor: int) -> None:
    """Close what was only read or locked, or holds hints. It is closed even if the system reports a
    failure. The failure says nothing of what was read."""
    try:
        os.close(descriptor)
    except OSError:
        return


def refuse_irregular(mode: int) -> None:
    """Raises `OSError` for what is no file: a folder, a pipe, a device."""
    if not stat.S_ISREG(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.ESPIPE
        raise OSError(code, os.strerror(code))
