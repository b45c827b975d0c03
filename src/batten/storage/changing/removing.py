"""The one removal of a folder with all that is in it.

It goes by descriptors, through no link, so that nothing is touched that takes the name of a folder
meanwhile. However deep the folder is, few descriptors are open at a time. It raises `OSError`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from batten.storage.beneath import Beneath, close_read
from batten.storage.changing import steps

_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OCCUPIED = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR})
"""What the system answers where a folder has something in it, or is none."""

OPEN_MAX = 16
_PATH_CHARACTERS_MAX = 4096
"""A path that is longer is told by its beginning."""


def remove_tree(way: Beneath, name: str, first: str | None = None) -> bool:
    """Remove the folder and all in it; also where it is gone already, or goes meanwhile. The file
    called `first` goes first. Where a file or a link has that name, that goes, and nothing that a
    link leads to. Whether nothing is left of it: somebody may have put more there meanwhile."""
    path = way.path(name)
    with suppress(FileNotFoundError):
        if not stat.S_ISDIR(way.look(name).st_mode):
            steps.do("file.remove", path, way.act, name, os.unlink)
            return True
        folder = way.open_folder(name)
        try:
            if first is not None:
                with suppress(FileNotFoundError):
                    _remove_name(path, first, folder)
                if _remove_empty(way, name):
                    return True
        except BaseException:
            close_read(folder)
            raise
        _empty(path, folder)
        return _remove_empty(way, name)
    return True


def _remove_empty(way: Beneath, name: str) -> bool:
    """Whether the folder was empty; then it is gone."""
    try:
        steps.do("folder.remove", way.path(name), way.act, name, os.rmdir)
    except OSError as error:
        if error.errno not in OCCUPIED:
            raise
        return False
    return True


class _Level:
    """A folder that the removal is in, open or not."""

    def __init__(self, path: str, name: str, folder: int) -> None:
        """Takes over the descriptor."""
        self.path = path
        self.name = name
        self.folder = folder
        try:
            status = os.fstat(folder)
            self._identity = status.st_dev, status.st_ino
            if not status.st_mode & stat.S_IWUSR:
                mode = stat.S_IMODE(status.st_mode) | stat.S_IRWXU
                steps.do("folder.unprotect", path, os.fchmod, folder, mode)
            self.within = self._list()
        except BaseException:
            self.close()
            raise

    def _list(self) -> Iterator[tuple[str, bool]]:
        with os.scandir(self.folder) as entries:
            return iter([(each.name, each.is_dir(follow_symlinks=False)) for each in entries])

    def enter(self, name: str) -> _Level:
        is_long = len(self.path) > _PATH_CHARACTERS_MAX
        path = self.path if is_long else f"{self.path}/{name}"
        return _Level(path, name, os.open(name, _READ_FOLDER, dir_fd=self.folder))

    def open_from(self, inner: _Level) -> None:
        """Open it again, if it was closed. Raises `OSError` if the inner one was moved away:
        then what lies above that is another folder, which is not touched."""
        if self.folder >= 0:
            return
        self.folder = os.open("..", _READ_FOLDER, dir_fd=inner.folder)
        status = os.fstat(self.folder)
        if (status.st_dev, status.st_ino) != self._identity:
            self.close()
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), self.path)

    def close(self) -> None:
        if self.folder >= 0:
            close_read(self.folder)
            self.folder = -1


def _empty(path: str, folder: int) -> None:
    """Remove what is in an open folder, wherever that is moved meanwhile; it is closed then."""
    levels = [_Level(path, "", folder)]
    try:
        while levels:
            level = levels[-1]
            name, is_folder = next(level.within, ("", False))
            if not name:
                _leave(levels)
                continue
            with suppress(FileNotFoundError):
                if not is_folder:
                    _remove_name(level.path, name, level.folder)
                    continue
                levels.append(level.enter(name))
                if len(levels) > OPEN_MAX:
                    levels[-1 - OPEN_MAX].close()
    finally:
        for level in levels:
            level.close()


def _leave(levels: list[_Level]) -> None:
    """The last of them is empty: it goes."""
    inner = levels.pop()
    try:
        if levels:
            levels[-1].open_from(inner)
    finally:
        inner.close()
    if levels:
        with suppress(FileNotFoundError):
            above = levels[-1].folder
            steps.do("folder.remove", inner.path, os.rmdir, inner.name, dir_fd=above)


def _remove_name(path: str, name: str, folder: int) -> None:
    steps.do("file.remove", f"{path}/{name}", os.unlink, name, dir_fd=folder)
