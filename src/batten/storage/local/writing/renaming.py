"""Renames that the kernel offers beside the plain one: without replacing, and as an exchange."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2


def rename_without_replacing(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Rename in one step; raises `FileExistsError` where `target` is there already.

    Where neither kernel nor filesystem can do that in one step, it is a look and then a rename,
    which only the caller's lock makes exclusive."""
    try:
        _renameat2(src_dir_fd, source, dst_dir_fd, target, _RENAME_NOREPLACE)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL):
            raise
        with suppress(FileNotFoundError):
            os.lstat(target, dir_fd=dst_dir_fd)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        os.rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)


def exchange_names(first: str, second: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
    """Each gets the other's name, in one step; raises `OSError` where the filesystem can't."""
    _renameat2(src_dir_fd, first, dst_dir_fd, second, _RENAME_EXCHANGE)


def _renameat2(
    source_folder: int, source: str, target_folder: int, target: str, flags: int
) -> None:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    arguments = (source_folder, os.fsencode(source), target_folder, os.fsencode(target))
    if library.renameat2(*arguments, ctypes.c_uint(flags)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), source, None, target)
