"""Names and files of a tree in memory, changed as a kernel changes them and refused as it does."""

from __future__ import annotations

import errno
import os
import time

from batten.storage.relative import folder_of
from batten.storage.twin.volatile import File, FolderNode, Node, VolatileTree


class Kernel:
    """What it is asked raises `OSError` with the kernel's own code, and changes nothing then."""

    def __init__(self, tree: VolatileTree) -> None:
        self._tree = tree

    def node(self, name: str) -> Node:
        """What the name means. Raises as the kernel does where there is no such thing."""
        if not name:
            return FolderNode(modified_seconds=0.0)
        self.require_folder(folder_of(name), name)
        node = self._tree.visible.get(name)
        if node is None:
            raise system_error(errno.ENOENT, name)
        return node

    def require_folder(self, folder: str, name: str) -> None:
        """Raises, of `name`, where its folder is none."""
        if not isinstance(self.node(folder), FolderNode):
            raise system_error(errno.ENOTDIR, name)

    def create(self, name: str) -> File:
        self.require_folder(folder_of(name), name)
        if name in self._tree.visible:
            raise system_error(errno.EEXIST, name)
        file = File(modified_seconds=time.time())
        self._tree.change({name: file})
        return file

    def link(self, staged: str, name: str) -> None:
        node = self.node(staged)
        self.require_folder(folder_of(name), name)
        if name in self._tree.visible:
            raise system_error(errno.EEXIST, name)
        if isinstance(node, FolderNode):
            raise system_error(errno.EPERM, staged)
        self._tree.change({name: node})

    def rename(self, staged: str, name: str) -> None:
        node = self.node(staged)
        self.require_folder(folder_of(name), name)
        replaced = self._tree.visible.get(name)
        if isinstance(node, FolderNode):
            if replaced is not None:
                raise system_error(errno.ENOTEMPTY, name)
            self._tree.move_folders({staged: name})
            return
        if isinstance(replaced, FolderNode):
            raise system_error(errno.EISDIR, name)
        # Renaming a file to another of its own names does nothing, as POSIX has it.
        if replaced is not node:
            self._tree.change({staged: None, name: node})

    def exchange(self, first: str, second: str) -> None:
        self.node(first)
        self.node(second)
        self._tree.move_folders({second: first, first: second})

    def remove(self, name: str) -> None:
        node = self.node(name)
        if isinstance(node, FolderNode) and any(
            folder_of(other) == name for other in self._tree.visible
        ):
            raise system_error(errno.ENOTEMPTY, name)
        self._tree.change({name: None})

    def sync_names(self, folder: str) -> None:
        if not isinstance(self.node(folder), FolderNode):
            raise system_error(errno.ENOTDIR, folder)
        self._tree.sync_names(folder)

    def append(self, name: str, data: bytes) -> None:
        file = self.open_or_create(name)
        write_file(file, file.data + data)

    def open_or_create(self, name: str) -> File:
        self.require_folder(folder_of(name), name)
        node = self._tree.visible.get(name)
        if isinstance(node, FolderNode):
            raise system_error(errno.EISDIR, name)
        return node or self.create(name)


def write_file(file: File, data: bytes) -> None:
    if not data.startswith(file.data):
        file.synced_bytes = 0
    file.data = data
    file.is_synced = False
    file.modified_seconds = time.time()


def mark_synced(file: File) -> None:
    file.is_synced = True
    file.synced_bytes = len(file.data)


def system_error(code: int, name: str) -> OSError:
    return OSError(code, os.strerror(code), name)
