"""What is there at a path, or that it can't be told.

From Python 3.14 on the methods of `Path` say no where a folder may not be read or a disk fails. So
what may not be looked at would count as what was never there.
"""

from __future__ import annotations

import os
import stat
from errno import EBADF, ELOOP, ENOENT, ENOTDIR
from pathlib import Path

_NOT_THERE = {ENOENT, ENOTDIR, EBADF, ELOOP}


def exists(path: str | Path) -> bool:
    """Whether anything is there. This, and those below, raise `OSError` if it can't be told."""
    return _mode(path) is not None


def lies(path: str | Path) -> bool:
    """Whether anything is there, and be it a link that leads nowhere."""
    return _mode(path, follow_symlinks=False) is not None


def is_folder(path: str | Path) -> bool:
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def is_file(path: str | Path) -> bool:
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def is_link(path: str | Path) -> bool:
    mode = _mode(path, follow_symlinks=False)
    return mode is not None and stat.S_ISLNK(mode)


def _mode(path: str | Path, *, follow_symlinks: bool = True) -> int | None:
    try:
        return os.stat(path, follow_symlinks=follow_symlinks).st_mode
    except ValueError:
        return None  # a zero byte
    except OSError as error:
        if error.errno in _NOT_THERE:
            return None
        raise


def current_folder() -> str:
    """The folder in which this process is; empty if that is gone."""
    try:
        return os.getcwd()
    except OSError:
        return ""
