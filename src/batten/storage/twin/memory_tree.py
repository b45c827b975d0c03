"""The twin in memory of a live tree's place, which can lose power, for tests."""

from __future__ import annotations

import errno
import time

from batten.model.disk.runs.holders import Holder
from batten.storage.failures import writing_failure
from batten.storage.local.tree import NameStatus, Readable, TreeLock
from batten.storage.relative import check_name
from batten.storage.twin.kernel import mark_synced, system_error, write_file
from batten.storage.twin.memory import MemoryStorage
from batten.storage.twin.volatile import File, FolderNode


class MemoryTree(MemoryStorage):
    """Implements `Tree`. It knows neither symbolic links nor permissions."""

    def hold(self, name: str, *, is_shared: bool, wait_seconds: float | None) -> TreeLock:
        """Nobody else is there to wait for, or to share it with."""
        return self.lock(name, Holder(pid=0, host="", since="", boot=""))

    def look(self, name: str) -> NameStatus | None:
        with self._powered():
            try:
                node = self._kernel.node(check_name(name))
            except OSError:
                return None
        modified_ns = int(node.modified_seconds * 1_000_000_000)
        if isinstance(node, FolderNode):
            return NameStatus(kind="folder", size=0, modified_ns=modified_ns)
        return NameStatus(kind="file", size=len(node.data), modified_ns=modified_ns)

    def stage_from(self, name: str, file: Readable) -> None:
        self.stage(name, file.read(), is_synced=False)

    def link(self, source: str, name: str) -> bool:
        try:
            self._do("link", check_name(name), self._kernel.link, check_name(source), name)
        except OSError as error:
            raise writing_failure(error, "Linking", name) from error
        self._unproven.note(name)
        return True

    def sync_file(self, name: str) -> None:
        try:
            self._do("stage.sync", name, mark_synced, self._find_file(name))
        except OSError as error:
            raise writing_failure(error, "Syncing", name) from error

    def make_folder(self, name: str) -> None:
        if self.look(name) is not None:
            return
        try:
            self._kernel.require_folder(name.rpartition("/")[0], name)
            made = {name: FolderNode(modified_seconds=time.time())}
            self._do("make_folder", name, self._tree.change, {**made})
        except OSError as error:
            raise writing_failure(error, "Making the folder", name) from error
        self._unproven.note(name)

    def set_attributes(self, name: str, look: NameStatus, *, keeps_time: bool) -> None:
        file = self._find_file(name)
        if keeps_time:
            self._do("set_attributes", name, _set_time, file, look.modified_ns)

    def read_link(self, name: str) -> str:
        raise writing_failure(system_error(errno.EINVAL, name), "Reading the link", name)

    def make_link(self, name: str, text: str) -> None:
        raise writing_failure(system_error(errno.EPERM, name), "Making the link", name)

    def write_in_place(self, name: str, data: bytes) -> None:
        """What a program that knows nothing of batten does: the file holds `data` now, unsynced."""
        self._do("stage.write", name, write_file, self._kernel.open_or_create(name), data)

    def _find_file(self, name: str) -> File:
        node = self._kernel.node(check_name(name))
        if isinstance(node, FolderNode):
            raise system_error(errno.EISDIR, name)
        return node


def _set_time(file: File, modified_ns: int) -> None:
    file.modified_seconds = modified_ns / 1_000_000_000
