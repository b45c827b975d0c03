"""The one removal of a folder with all that is in it.

It goes by descriptors, through no link, so that nothing is touched that takes the name of a folder
meanwhile. It raises `OSError`.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from batten.storage import steps
from batten.storage.beneath import Beneath, close_read

_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OCCUPIED = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR})
"""What the system answers where a folder has something in it, or is none."""


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
            _empty(path, folder)
        finally:
            close_read(folder)
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


def _empty(path: str, folder: int) -> None:
    """Remove what is in an open folder, wherever that is moved meanwhile."""
    mode = os.fstat(folder).st_mode
    if not mode & stat.S_IWUSR:
        steps.do("folder.unprotect", path, os.fchmod, folder, stat.S_IMODE(mode) | stat.S_IRWXU)
    with os.scandir(folder) as entries:
        within = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in within:
        with suppress(FileNotFoundError):
            if is_folder:
                _remove_inner(f"{path}/{name}", name, folder)
            else:
                _remove_name(path, name, folder)


def _remove_inner(path: str, name: str, folder: int) -> None:
    inner = os.open(name, _READ_FOLDER, dir_fd=folder)
    try:
        _empty(path, inner)
    finally:
        close_read(inner)
    steps.do("folder.remove", path, os.rmdir, name, dir_fd=folder)


def _remove_name(path: str, name: str, folder: int) -> None:
    steps.do("file.remove", f"{path}/{name}", os.unlink, name, dir_fd=folder)
