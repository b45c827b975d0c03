"""Many files are made durable together.

A sync of one file waits for the disk, and a thousand of them wait a thousand times. The kernel can
sync the whole filesystem at once, which waits once. It tells of a write that failed to each who had
a file open before. So a descriptor is opened before the first of the files is written.

It is done only where the kernel is known to tell (Linux 5.8), on filesystems that are known to
reach their disk by it, and only for many files: it also writes what others have yet to write
(decision 0096).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Self

from batten.storage.beneath import Beneath, close_read
from batten.storage.changing import steps
from batten.storage.failures import writing_failure

TOGETHER_MIN = 16
"""So many files are synced together; fewer one by one."""

_KERNEL_MIN = (5, 8)
_FILESYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs"})


class FilesystemSync:
    """The filesystem of an open folder. Owns the descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.is_able = _tells_failures() and _find_kind(descriptor) in _FILESYSTEMS

    def sync(self) -> None:
        """All that was written to it is durable. Raises `OSError`, also for a write that failed
        since this was made."""
        syncfs = _find_syncfs()
        if syncfs is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        syncfs(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()


def _tells_failures() -> bool:
    pieces = os.uname().release.split(".")[:2]
    version = tuple(int(piece) for piece in pieces if piece.isdecimal())
    return version >= _KERNEL_MIN and _find_syncfs() is not None


@lru_cache(maxsize=1)
def _find_syncfs() -> Callable[[int], None] | None:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "syncfs"):
        return None

    def syncfs(descriptor: int) -> None:
        if library.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return syncfs


def _find_kind(descriptor: int) -> str:
    """The name of the filesystem that a folder is on; empty if nobody says."""
    device = os.fstat(descriptor).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                fields = line.split()
                if fields[2] == wanted and "-" in fields:
                    return fields[fields.index("-") + 1]
    except (OSError, IndexError):
        return ""
    return ""


class ManySyncs:
    """Implements `Syncs`."""

    def __init__(self, way: Beneath, filesystem: FilesystemSync) -> None:
        self._way = way
        self._filesystem = filesystem

    def sync(self, names: Sequence[str]) -> None:
        if len(names) < TOGETHER_MIN or not self._filesystem.is_able:
            for name in names:
                self._sync_alone(name)
            return
        try:
            steps.do("file.sync", names[0], self._filesystem.sync)
        except OSError as error:
            raise writing_failure(error, "Syncing", self._way.path(names[0])) from error

    def _sync_alone(self, name: str) -> None:
        try:
            descriptor = self._way.open_file(name)
            try:
                steps.do("file.sync", name, os.fsync, descriptor)
            finally:
                close_read(descriptor)
        except OSError as error:
            raise writing_failure(error, "Syncing", self._way.path(name)) from error
