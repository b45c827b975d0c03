"""A storage in memory that can lose power: the twin of the local one, for tests.

It does the same steps under the same names, and knows what a crash may leave (see `volatile`).
"""

from __future__ import annotations

import errno
import io
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from random import Random
from typing import BinaryIO, ParamSpec, Self, TypeVar

from batten.errors import StorageError
from batten.model.disk.records import encode_record
from batten.model.disk.runs.holders import Holder
from batten.storage.base import READ_BYTES_MAX, Data, Entry, Lock, pieces_of
from batten.storage.changing.conditions import ConditionsOfFolder
from batten.storage.changing.renewal import UnprovenNames
from batten.storage.changing.steps import Observer, Step
from batten.storage.failures import reading_failure, too_large, writing_failure
from batten.storage.local.locking.locks import busy_error
from batten.storage.relative import check_folder, check_name, folder_of, last_piece
from batten.storage.twin.kernel import Kernel, mark_synced, system_error, write_file
from batten.storage.twin.power_cuts import PowerLost
from batten.storage.twin.volatile import File, FolderNode, Model, Node, VolatileTree

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class MemoryStorage(ConditionsOfFolder):
    """Implements `Folder`. Threads may share it.

    `observer` is called at each step as `steps.observer` is for the local storage. If it raises
    `PowerLost` so does every later call; `crash` and `surviving_states` then give what is found."""

    def __init__(self, tree: VolatileTree | None = None) -> None:
        self.observer: Observer | None = None
        self._tree = tree or VolatileTree()
        self._kernel = Kernel(self._tree)
        self._locks: dict[str, Holder] = {}
        self._durable_folders: set[str] = set()
        self._unproven = UnprovenNames()
        self._has_power = True
        self._one_at_a_time = threading.RLock()

    local: None = None

    @property
    def place(self) -> str:
        return "memory"

    @property
    def folder(self) -> Self:
        return self

    def steady(self) -> AbstractContextManager[None]:
        return nullcontext()

    def crash(self, model: Model, random: Random) -> Self:
        """What may be found after a crash, by chance; see `volatile` for the models. The locks
        are gone. This storage stays as it is."""
        return type(self)(self._tree.crash(model, random))

    def restart(self) -> Self:
        """The same machine, seen by another process. Locks are gone."""
        return type(self)(self._tree)

    def surviving_states(self, model: Model) -> Iterator[Self]:
        """The extreme states that may be found after a crash, each once and apart."""
        return map(type(self), self._tree.surviving_states(model))

    @property
    def is_settled(self) -> bool:
        """Whether a crash would take nothing of it."""
        return self._tree.is_settled

    def snapshot(self) -> dict[str, bytes | None]:
        """The bytes of each file by its name; None for a folder."""
        return self._tree.snapshot()

    def stage(self, name: str, data: Data, *, is_synced: bool) -> None:
        try:
            file = self._do("stage.create", check_name(name), self._kernel.create, name)
        except OSError as error:
            raise writing_failure(error, "Creating", name) from error
        try:
            for piece in pieces_of(data):
                self._do("stage.write", name, write_file, file, file.data + bytes(piece))
            if is_synced:
                self._do("stage.sync", name, mark_synced, file)
        except OSError as error:
            self._discard(name)
            raise writing_failure(error, "Writing", name) from error
        except Exception:
            self._discard(name)
            raise

    def publish(self, staged: str, name: str) -> bool:
        try:
            self._do("publish.link", check_name(name), self._kernel.link, check_name(staged), name)
        except FileExistsError:
            return False
        except OSError as error:
            raise writing_failure(error, "Publishing", name) from error
        self._unproven.note(name)
        return True

    def replace(self, staged: str, name: str) -> None:
        try:
            self._do(
                "replace.rename", check_name(name), self._kernel.rename, check_name(staged), name
            )
        except OSError as error:
            raise writing_failure(error, "Replacing", name) from error
        self._unproven.note(staged, name)

    def exchange(self, first: str, second: str) -> None:
        try:
            self._do(
                "exchange", check_name(second), self._kernel.exchange, check_name(first), second
            )
        except OSError as error:
            raise writing_failure(error, "Exchanging", second) from error
        self._unproven.note(first, second)

    def begin_syncs(self, folder: str) -> Self:
        return self

    def sync(self, names: Sequence[str]) -> None:
        """See `Syncs`: one by one."""
        for name in names:
            try:
                file = self._kernel.node(check_name(name))
                if isinstance(file, FolderNode):
                    raise system_error(errno.EISDIR, name)
                self._do("file.sync", name, mark_synced, file)
            except OSError as error:
                raise writing_failure(error, "Syncing", name) from error

    def sync_names(self, folder: str) -> None:
        try:
            self._sync(check_folder(folder))
        except OSError as error:
            raise writing_failure(error, "Syncing the folder", folder) from error

    def ensure_folder(self, folder: str) -> None:
        try:
            self._ensure(check_folder(folder))
        except OSError as error:
            raise writing_failure(error, "Making the folder", folder) from error

    def read(
        self,
        name: str,
        *,
        offset: int = 0,
        length: int | None = None,
        bytes_max: int | None = READ_BYTES_MAX,
    ) -> bytes:
        data = self._load(name, "Reading")
        start = max(len(data) + offset, 0) if offset < 0 else offset
        found = data[start : None if length is None else start + length]
        if bytes_max is not None and len(found) > bytes_max:
            raise reading_failure(too_large(name), "Reading", name)
        return found

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self._load(name, "Opening"))

    def find(self, name: str) -> Entry | None:
        with self._powered():
            try:
                node = self._kernel.node(check_folder(name))
                return _describe(name, node)._replace(version=_version_of(node))
            except FileNotFoundError:
                return None
            except OSError as error:
                raise reading_failure(error, "Looking up", name) from error

    def list(self, folder: str) -> Iterator[Entry]:
        with self._powered():
            try:
                if not isinstance(self._kernel.node(check_folder(folder)), FolderNode):
                    raise system_error(errno.ENOTDIR, folder)
            except FileNotFoundError:
                return
            except OSError as error:
                raise reading_failure(error, "Listing", folder) from error
            found = [
                _describe(name, node)
                for name, node in self._tree.visible.items()
                if folder_of(name) == folder
            ]
        yield from found

    def list_names(self, folder: str) -> Iterator[str]:
        for entry in self.list(folder):
            yield last_piece(entry.name)

    def read_each(self, folder: str, names: Iterable[str]) -> Iterator[bytes | None]:
        for name in names:
            try:
                yield self.read(f"{folder}/{name}")
            except (FileNotFoundError, StorageError):
                yield None

    def delete(self, name: str) -> None:
        try:
            self._do("delete", check_name(name), self._kernel.remove, name)
        except FileNotFoundError:
            return
        except OSError as error:
            raise writing_failure(error, "Deleting", name) from error
        self._unproven.note(name)

    def delete_tree(self, name: str) -> None:
        entry = self.find(name)
        if entry is not None and entry.is_folder:
            for each in list(self.list(name)):
                self.delete_tree(each.name)
        self.delete(name)

    def append(self, name: str, data: bytes) -> None:
        try:
            self._do("append", check_name(name), self._kernel.append, name, data)
        except OSError as error:
            raise writing_failure(error, "Writing", name) from error

    def append_log(self, name: str, line: bytes) -> None:
        data = line if line.endswith(b"\n") else line + b"\n"
        try:
            self._do("append_log", check_name(name), self._kernel.append, name, data)
        except OSError:
            return  # A log holds hints: losing one costs an explanation, never a result.

    def lock(self, name: str, holder: Holder) -> MemoryLock:
        try:
            file = self._do("lock", check_name(name), self._take_lock, name, holder)
        except BlockingIOError:
            raise busy_error(folder_of(name), self._locks.get(name)) from None
        except OSError as error:
            raise writing_failure(error, "Locking", name) from error
        write = partial(self._write_lock, name, file)
        write("lock.write", encode_record(holder))
        lock = MemoryLock(write, partial(self._locks.pop, name, None))
        try:
            self._unproven.take_over(self, folder_of(name))
        except BaseException:
            lock.release()
            raise
        return lock

    def lease(self, name: str, holder: Holder) -> MemoryLock:
        return self.lock(name, holder)

    def observe_lock(self, name: str) -> Holder | None:
        with self._powered():
            return self._locks.get(check_name(name))

    def _do(
        self,
        step: Step,
        name: str,
        action: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **options: Arguments.kwargs,
    ) -> Result:
        with self._powered():
            if self.observer is None:
                return action(*arguments, **options)
            try:
                self.observer("before", step, name)
                result = action(*arguments, **options)
                self.observer("after", step, name)
            except PowerLost:
                self._has_power = False
                raise
            return result

    def _powered(self) -> AbstractContextManager[object]:
        if not self._has_power:
            raise PowerLost("the power was lost before")
        return self._one_at_a_time

    def _load(self, name: str, action: str) -> bytes:
        with self._powered():
            try:
                node = self._kernel.node(check_name(name))
                if isinstance(node, FolderNode):
                    raise system_error(errno.EISDIR, name)
            except FileNotFoundError:
                raise
            except OSError as error:
                raise reading_failure(error, action, name) from error
            return node.data

    def _discard(self, name: str) -> None:
        with suppress(OSError):
            self._do("stage.discard", name, self._kernel.remove, name)

    def _sync(self, folder: str) -> None:
        self._unproven.refuse_distrusted(folder)
        try:
            self._do("sync_names", folder, self._kernel.sync_names, folder)
        except OSError:
            self._tree.fail_sync(folder)
            self._unproven.fail(self, folder)
            raise
        self._unproven.settle(folder)

    def _ensure(self, folder: str) -> None:
        if not folder:
            return
        node = self._tree.visible.get(folder)
        if isinstance(node, File):
            raise system_error(errno.ENOTDIR, folder)
        if node is None:
            self._ensure(folder_of(folder))
            made: dict[str, Node | None] = {folder: FolderNode(modified_seconds=time.time())}
            self._do("make_folder", folder, self._tree.change, made)
        elif folder in self._durable_folders:
            return
        self._unproven.note(folder)
        try:
            self._sync(folder_of(folder))
        except OSError:
            if node is None:
                with suppress(OSError):
                    self._do("delete", folder, self._kernel.remove, folder)
            raise
        self._durable_folders.add(folder)

    def _take_lock(self, name: str, holder: Holder) -> File:
        file = self._kernel.open_or_create(name)
        if name in self._locks:
            raise system_error(errno.EAGAIN, name)
        self._locks[name] = holder
        return file

    def _write_lock(self, name: str, file: File, step: Step, text: bytes) -> None:
        with suppress(OSError):
            self._do(step, name, write_file, file, text)


def _describe(name: str, node: Node) -> Entry:
    if isinstance(node, FolderNode):
        return Entry(name, 0, node.modified_seconds, "folder")
    return Entry(name, len(node.data), node.modified_seconds)


def _version_of(node: Node) -> str:
    return "" if isinstance(node, FolderNode) else f"{len(node.data)}-{zlib.crc32(node.data):08x}"


class MemoryLock(Lock):
    """A lock of a `MemoryStorage`; it is gone after a crash."""

    def __init__(self, write: Callable[[Step, bytes], None], drop: Callable[[], object]) -> None:
        self._write = write
        self._drop = drop
        self._is_held = True

    def release(self) -> None:
        """Empty the text, then unlock. May be repeated."""
        if self._is_held:
            self._is_held = False
            self._write("lock.clear", b"")
            self._drop()
