"""A storage in a folder of this machine: the owner of open, write, fsync, link and rename."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import BinaryIO

from batten.model.records import Holder
from batten.storage import locks, steps
from batten.storage.base import READ_BYTES_MAX, Data, Entry, pieces_of
from batten.storage.failures import reading_failure, too_large, writing_failure
from batten.storage.opening import READ_AT_ONCE, open_at_once, refuse_irregular
from batten.storage.relative import check_name
from batten.storage.renaming import exchange_names, rename_without_replacing

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

HURRY_BYTES = 1 << 24
"""A file that will be synced goes to the disk in pieces of about this size while it is made."""

SMALL_BYTES = 1 << 12
"""A file of fewer bytes is small."""

_NO_HARD_LINKS = frozenset(
    {errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
)
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.EBADF, errno.ENOTSUP})
"""What some filesystems answer to fsync of a folder because they have no need of it."""


class LocalStorage:
    """Implements `Storage` under `root`, which need not exist before the first `ensure_folder`.

    Threads may share it. It keeps nothing open, so forked processes may use it as well."""

    def __init__(self, root: os.PathLike[str] | str) -> None:
        self._root = os.path.abspath(root)
        self._prefix = self._root.rstrip("/") + "/"
        self._durable_folders: set[str] = set()
        self._distrusted_folders: set[str] = set()

    @property
    def place(self) -> str:
        return self._root

    def stage(self, name: str, data: Data, *, is_synced: bool) -> None:
        path = self._prefix + check_name(name)
        try:
            descriptor = steps.do("stage.create", name, os.open, path, _CREATE, 0o666)
        except OSError as error:
            raise writing_failure(error, "Creating", path) from error
        try:
            try:
                _write_pieces(descriptor, name, data, is_hurried=is_synced)
                if is_synced:
                    steps.do("stage.sync", name, os.fsync, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._discard(name, path)
            raise writing_failure(error, "Writing", path) from error
        except Exception:
            self._discard(name, path)
            raise

    def publish(self, staged: str, name: str) -> bool:
        source, target = self._prefix + check_name(staged), self._prefix + check_name(name)
        try:
            steps.do("publish.link", name, os.link, source, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise writing_failure(error, "Publishing", target) from error
            return _publish_by_rename(source, target, name)
        return True

    def replace(self, staged: str, name: str) -> None:
        source, target = self._prefix + check_name(staged), self._prefix + check_name(name)
        try:
            steps.do("replace.rename", name, os.rename, source, target)
        except OSError as error:
            raise writing_failure(error, "Replacing", target) from error

    def exchange(self, first: str, second: str) -> None:
        source, target = self._prefix + check_name(first), self._prefix + check_name(second)
        try:
            steps.do("exchange", second, exchange_names, source, target)
        except OSError as error:
            raise writing_failure(error, "Exchanging", target) from error

    def sync_names(self, folder: str) -> None:
        path = self._folder_path(folder)
        try:
            self._sync_folder(path, folder)
        except OSError as error:
            raise writing_failure(error, "Syncing the folder", path) from error

    def ensure_folder(self, folder: str) -> None:
        path = self._folder_path(folder)
        try:
            self._ensure(path, folder)
        except OSError as error:
            raise writing_failure(error, "Making the folder", path) from error

    def read(
        self,
        name: str,
        *,
        offset: int = 0,
        length: int | None = None,
        bytes_max: int | None = READ_BYTES_MAX,
    ) -> bytes:
        path = self._prefix + check_name(name)
        try:
            descriptor = os.open(path, READ_AT_ONCE)
            try:
                return _read_range(descriptor, offset, length, bytes_max)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise reading_failure(error, "Reading", path) from error

    def open(self, name: str) -> BinaryIO:
        path = self._prefix + check_name(name)
        try:
            return open(path, "rb", opener=open_at_once)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise reading_failure(error, "Opening", path) from error

    def find(self, name: str) -> Entry | None:
        path = self._folder_path(name)
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise reading_failure(error, "Looking up", path) from error
        return Entry(name, status.st_size, status.st_mtime, stat.S_ISDIR(status.st_mode))

    def list(self, folder: str) -> Iterator[Entry]:
        path = self._folder_path(folder)
        prefix = folder + "/" if folder else ""
        try:
            with os.scandir(path) as found:
                for each in found:
                    status = _find_status(each)
                    if status is not None:
                        # A link to a folder is a name in this one: nothing goes into it.
                        is_folder = stat.S_ISDIR(status.st_mode) and not each.is_symlink()
                        yield Entry(prefix + each.name, status.st_size, status.st_mtime, is_folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise reading_failure(error, "Listing", path) from error

    def list_names(self, folder: str) -> Iterator[str]:
        path = self._folder_path(folder)
        try:
            yield from os.listdir(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise reading_failure(error, "Listing", path) from error

    def read_each(self, folder: str, names: Iterable[str]) -> Iterator[bytes | None]:
        try:
            parent = os.open(self._folder_path(folder), _READ_FOLDER)
        except OSError:
            yield from (None for _ in names)
            return
        try:
            for name in names:
                yield _read_small(check_name(name), parent)
        finally:
            os.close(parent)

    def delete(self, name: str) -> None:
        path = self._prefix + check_name(name)
        try:
            steps.do("delete", name, _delete, path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise writing_failure(error, "Deleting", path) from error

    def append_log(self, name: str, line: bytes) -> None:
        path = self._prefix + check_name(name)
        try:
            steps.do("append_log", name, _append, path, line)
        except OSError:
            return  # A log holds hints: losing one costs an explanation, never a result.

    def lock(self, name: str, holder: Holder) -> locks.FileLock:
        return locks.acquire(self._prefix + check_name(name), name, holder)

    def observe_lock(self, name: str) -> Holder | None:
        return locks.observe(self._prefix + check_name(name))

    def _folder_path(self, folder: str) -> str:
        return self._prefix + check_name(folder) if folder else self._root

    def _discard(self, name: str, path: str) -> None:
        """Remove half a file, so that a full disk is not filled further; it is an orphan if not."""
        try:
            steps.do("stage.discard", name, os.unlink, path)
        except OSError:
            return

    def _sync_folder(self, path: str, name: str) -> None:
        # The kernel reports a lost write once. A second fsync would claim what the first denied.
        if path in self._distrusted_folders:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        descriptor = os.open(path, _READ_FOLDER)
        try:
            steps.do("sync_names", name, os.fsync, descriptor)
        except OSError as error:
            if error.errno not in _NO_FOLDER_SYNC:
                self._distrusted_folders.add(path)
                raise
        finally:
            os.close(descriptor)

    def _ensure(self, path: str, name: str) -> None:
        is_made = False
        if not os.path.isdir(path):
            self._ensure(os.path.dirname(path), os.path.dirname(name))
            is_made = _make_folder(path, name)
        if path in self._durable_folders and not is_made:
            return
        # Also for a folder found: who made it may have been killed before this sync. Its own
        # parents need none, since a folder is only made in one whose name is durable.
        try:
            self._sync_folder(os.path.dirname(path), os.path.dirname(name))
        except PermissionError:
            if is_made or path.startswith(self._prefix):
                raise
        self._durable_folders.add(path)


def _write_pieces(descriptor: int, name: str, data: Data, *, is_hurried: bool) -> None:
    """`is_hurried`: the disk begins with what is there while the rest is made, so that a sync at
    the end finds little left."""
    written = begun = 0
    for piece in pieces_of(data):
        steps.do("stage.write", name, write_all, descriptor, piece)
        written += len(piece)
        if is_hurried and written - begun >= HURRY_BYTES:
            # The kernel begins to write what this would drop from memory. A failure of that is
            # told by the sync.
            with suppress(OSError):
                os.posix_fadvise(descriptor, begun, written - begun, os.POSIX_FADV_DONTNEED)
            begun = written


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however little the kernel takes at a time."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]


def _publish_by_rename(source: str, target: str, name: str) -> bool:
    try:
        steps.do("publish.rename", name, rename_without_replacing, source, target)
    except FileExistsError:
        return False
    except OSError as error:
        raise writing_failure(error, "Publishing", target) from error
    return True


def _make_folder(path: str, name: str) -> bool:
    """Whether it was made; not when another process was quicker. Raises if a file is in the way."""
    try:
        steps.do("make_folder", name, os.mkdir, path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
        return False
    return True


def _read_range(descriptor: int, offset: int, length: int | None, bytes_max: int | None) -> bytes:
    status = os.fstat(descriptor)
    refuse_irregular(status.st_mode)
    size = status.st_size
    start = max(size + offset, 0) if offset < 0 else offset
    wanted = max(size - start, 0)
    wanted = wanted if length is None else min(wanted, length)
    if bytes_max is not None and wanted > bytes_max:
        raise too_large()
    pieces: list[bytes] = []
    while wanted and (piece := os.pread(descriptor, wanted, start)):
        pieces.append(piece)
        start += len(piece)
        wanted -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _read_small(name: str, parent: int) -> bytes | None:
    try:
        descriptor = os.open(name, READ_AT_ONCE, dir_fd=parent)
    except OSError:
        return None
    try:
        data = os.read(descriptor, SMALL_BYTES)
        status = os.fstat(descriptor)
        is_whole = stat.S_ISREG(status.st_mode) and status.st_size == len(data) < SMALL_BYTES
        return data if is_whole else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _find_status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """None for a file that went away meanwhile. A broken symbolic link is shown as itself: its
    name is taken."""
    try:
        return entry.stat()
    except FileNotFoundError:
        try:
            return entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None


def _delete(path: str) -> None:
    try:
        os.unlink(path)
    except IsADirectoryError:
        os.rmdir(path)


def _append(path: str, line: bytes) -> None:
    descriptor = os.open(path, _APPEND, 0o666)
    try:
        os.write(descriptor, line if line.endswith(b"\n") else line + b"\n")
    finally:
        os.close(descriptor)
