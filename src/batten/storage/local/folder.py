"""A storage in a folder of this machine: the owner of open, write, fsync, link and rename.

The protocol of publishing says which steps follow each other; here each becomes a system call, with
a name by which a test can put a crash before or after it. To publish is a link. Filesystems without
hard links rename without replacing instead, and where the kernel lacks that, a look and a rename
under the lock have to do (decision 0002). To sync names is to sync the folder. If that fails, the
kernel will not tell again, so the names are remembered, and whoever takes the lock next makes them
anew (decision 0062). Every name is passed piece by piece from the root, and no link is followed
below it (decision 0031).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import BinaryIO, Self

from batten.model.disk.runs.holders import Holder
from batten.storage.base import READ_BYTES_MAX, Data, Entry, Kind
from batten.storage.beneath import READ, Beneath, close_read
from batten.storage.changing import steps
from batten.storage.changing.conditions import ConditionsOfFolder
from batten.storage.changing.removing import remove_tree
from batten.storage.changing.renewal import UnprovenNames
from batten.storage.failures import reading_failure, writing_failure
from batten.storage.local.durable_folders import DurableFolders
from batten.storage.local.locking import locks
from batten.storage.local.writing.modes import Modes
from batten.storage.local.writing.renaming import exchange_names, rename_without_replacing
from batten.storage.local.writing.syncing_many import FilesystemSync, ManySyncs
from batten.storage.local.writing.writing import write_pieces
from batten.storage.reading import open_to_read, read_range, read_small
from batten.storage.relative import check_name, folder_of

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_CREATE_SHARED = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


_NO_HARD_LINKS = frozenset(
    {errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
)


class LocalStorage(ConditionsOfFolder):
    """Implements `LocalFolder` under `root`, which need not exist before the first `ensure_folder`,
    and may be reached by links; no link is followed below it.

    Threads may share it, and forked processes may use it as well."""

    def __init__(self, root: os.PathLike[str] | str) -> None:
        self._root = os.path.abspath(root)
        self._beneath = Beneath(self._root)
        self._modes = Modes()
        self._unproven = UnprovenNames()
        self._folders = DurableFolders(self._beneath, self._modes, self._unproven)

    @property
    def place(self) -> str:
        return self._root

    @property
    def folder(self) -> LocalStorage:
        return self

    @property
    def local(self) -> LocalStorage:
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """What it knows of folders is of this process."""
        return type(self), (self._root,)

    def steady(self) -> AbstractContextManager[None]:
        return self._beneath.steady()

    def stage(self, name: str, data: Data, *, is_synced: bool) -> None:
        try:
            descriptor = steps.do(
                "stage.create", name, self._beneath.act, name, os.open, _CREATE, 0o666
            )
        except OSError as error:
            raise writing_failure(error, "Creating", self._beneath.path(name)) from error
        try:
            try:
                self._modes.settle(descriptor)
                write_pieces(descriptor, name, data, is_hurried=is_synced)
                if is_synced:
                    steps.do("stage.sync", name, os.fsync, descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._discard(name)
            raise writing_failure(error, "Writing", self._beneath.path(name)) from error
        except Exception:
            self._discard(name)
            raise

    def publish(self, staged: str, name: str) -> bool:
        act = self._beneath.act_on_two
        try:
            steps.do("publish.link", name, act, staged, name, os.link, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise writing_failure(error, "Publishing", self._beneath.path(name)) from error
        else:
            self._unproven.note(name)
            return True
        try:
            steps.do("publish.rename", name, act, staged, name, rename_without_replacing)
        except FileExistsError:
            return False
        except OSError as error:
            raise writing_failure(error, "Publishing", self._beneath.path(name)) from error
        self._unproven.note(name)
        return True

    def replace(self, staged: str, name: str) -> None:
        try:
            steps.do("replace.rename", name, self._beneath.act_on_two, staged, name, os.rename)
        except OSError as error:
            raise writing_failure(error, "Replacing", self._beneath.path(name)) from error
        self._beneath.forget_moved(staged, name)
        self._unproven.note(staged, name)

    def exchange(self, first: str, second: str) -> None:
        try:
            steps.do("exchange", second, self._beneath.act_on_two, first, second, exchange_names)
        except OSError as error:
            raise writing_failure(error, "Exchanging", self._beneath.path(second)) from error
        self._beneath.forget_moved(first, second)
        self._unproven.note(first, second)

    def begin_syncs(self, folder: str) -> ManySyncs:
        try:
            return ManySyncs(self._beneath, FilesystemSync(self._beneath.open_folder(folder)))
        except OSError as error:
            raise reading_failure(error, "Opening", self._beneath.path(folder)) from error

    def sync_names(self, folder: str) -> None:
        path = self._beneath.path(folder)
        try:
            self._folders.sync(self, path, folder)
        except OSError as error:
            raise writing_failure(error, "Syncing the folder", path) from error

    def ensure_folder(self, folder: str) -> None:
        path = self._beneath.path(folder)
        try:
            self._folders.ensure(self, path, folder)
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
        try:
            descriptor = self._beneath.act(name, os.open, READ)
            try:
                return read_range(descriptor, offset, length, bytes_max)
            finally:
                close_read(descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise reading_failure(error, "Reading", self._beneath.path(name)) from error

    def open(self, name: str) -> BinaryIO:
        try:
            return open_to_read(self._beneath.open_file(name), self._beneath.path(name))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise reading_failure(error, "Opening", self._beneath.path(name)) from error

    def create_shared(self, name: str, size: int) -> int:
        """Create the file exclusively, with room for so many bytes, open to be mapped and shared
        with other processes. Nothing relies on what it holds, so it is never synced."""
        try:
            descriptor: int = self._beneath.act(name, os.open, _CREATE_SHARED, 0o666)
            try:
                # Room on the disk before it is written to: without it the kernel would kill us.
                os.posix_fallocate(descriptor, 0, size)
            except OSError:
                close_read(descriptor)
                raise
        except OSError as error:
            raise writing_failure(error, "Making", self._beneath.path(name)) from error
        return descriptor

    def make_workroom(self, name: str) -> str:
        try:
            with self._modes.restored():
                steps.do("make_folder", name, self._beneath.act, name, os.mkdir)
        except OSError as error:
            raise writing_failure(error, "Making", self._beneath.path(name)) from error
        return self._beneath.path(name)

    def find(self, name: str) -> Entry | None:
        try:
            status = self._beneath.look(name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise reading_failure(error, "Looking up", self._beneath.path(name)) from error
        version = f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
        return _describe(name, status)._replace(version=version)

    def list(self, folder: str) -> Iterator[Entry]:
        prefix = folder + "/" if folder else ""
        try:
            descriptor = self._beneath.open_folder(folder)
            try:
                with os.scandir(descriptor) as found:
                    for each in found:
                        try:
                            status = each.stat(follow_symlinks=False)
                        except FileNotFoundError:
                            continue  # It went away meanwhile.
                        yield _describe(prefix + each.name, status)
            finally:
                close_read(descriptor)
        except FileNotFoundError:
            return
        except OSError as error:
            raise reading_failure(error, "Listing", self._beneath.path(folder)) from error

    def list_names(self, folder: str) -> Iterator[str]:
        try:
            descriptor = self._beneath.open_folder(folder)
            try:
                names = os.listdir(descriptor)
            finally:
                close_read(descriptor)
        except FileNotFoundError:
            return
        except OSError as error:
            raise reading_failure(error, "Listing", self._beneath.path(folder)) from error
        yield from names

    def read_each(self, folder: str, names: Iterable[str]) -> Iterator[bytes | None]:
        try:
            parent = self._beneath.open_folder(folder)
        except OSError:
            yield from (None for _ in names)
            return
        try:
            for name in names:
                yield read_small(check_name(name), parent)
        finally:
            close_read(parent)

    def delete(self, name: str) -> None:
        try:
            was_folder = steps.do("delete", name, self._beneath.act, name, _delete)
        except FileNotFoundError:
            return
        except OSError as error:
            raise writing_failure(error, "Deleting", self._beneath.path(name)) from error
        if was_folder:
            self._beneath.forget_moved(name)
        self._unproven.note(name)

    def delete_tree(self, name: str) -> None:
        path = self._beneath.path(name)
        try:
            if not remove_tree(self._beneath, name):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        except OSError as error:
            raise writing_failure(error, "Deleting", path) from error
        self._unproven.note(name)

    def append(self, name: str, data: bytes) -> None:
        try:
            steps.do("append", name, self._append, name, data)
        except OSError as error:
            raise writing_failure(error, "Writing", self._beneath.path(name)) from error

    def append_log(self, name: str, line: bytes) -> None:
        try:
            steps.do("append_log", name, self._append_log, name, line)
        except OSError:
            return  # A log holds hints: losing one costs an explanation, never a result.

    def lock(self, name: str, holder: Holder) -> locks.FileLock:
        return self._take_over(name, locks.acquire(self._reach_lock(name), holder))

    def lease(self, name: str, holder: Holder) -> locks.FileLock:
        return self.lock(name, holder)

    def observe_lock(self, name: str) -> Holder | None:
        return locks.observe(self._reach_lock(name))

    def _reach_lock(self, name: str) -> locks.LockPlace:
        return locks.LockPlace(self._beneath, check_name(name))

    def _take_over(self, name: str, lock: locks.FileLock) -> locks.FileLock:
        try:
            self._unproven.take_over(self, folder_of(name))
        except BaseException:
            lock.release()
            raise
        return lock

    def _append_log(self, name: str, line: bytes) -> None:
        self._append(name, line if line.endswith(b"\n") else line + b"\n")

    def _append(self, name: str, data: bytes) -> None:
        descriptor = self._beneath.act(name, os.open, _APPEND, 0o666)
        try:
            status = os.fstat(descriptor)
            # Where the file has another name as well, it is somebody else's too.
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                raise OSError(errno.EINVAL, "it is not a file of its own")
            # One call, so that it is whole beside what other processes add.
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)

    def _discard(self, name: str) -> None:
        """Remove half a file, so that a full disk is not filled further; it is an orphan if not."""
        with suppress(OSError):
            steps.do("stage.discard", name, self._beneath.act, name, os.unlink)


_KIND_BITS = 0o170000
_KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


def kind_of(mode: int) -> Kind:
    return _KINDS.get(mode & _KIND_BITS, "other")


def _describe(name: str, status: os.stat_result) -> Entry:
    kind = _KINDS.get(status.st_mode & _KIND_BITS, "other")
    return Entry(name, status.st_size, status.st_mtime, kind)


def _delete(name: str, *, dir_fd: int | None = None) -> bool:
    """Whether it was a folder."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except IsADirectoryError:
        os.rmdir(name, dir_fd=dir_fd)
        return True
    return False
