"""Backups of what others change in place: copies, so that no writer reaches them."""

from __future__ import annotations

from collections.abc import Callable

from batten.errors import RefusedError
from batten.model.disk.trees.journal import Operation, OperationKind
from batten.model.disk.trees.tree_names import TreeLayout
from batten.storage.local.tree import Tree
from batten.storage.relative import folder_of
from batten.transactions.copying import copy_file
from batten.transactions.paths import ancestors, is_below, list_below, refuse_linked

SIDE_FILES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, and a copy of the database is worth nothing without."""


class Protection:
    """The backups of one transaction. `operations` put back what was there."""

    def __init__(self, tree: Tree, layout: TreeLayout, change: str) -> None:
        self._tree = tree
        self._layout = layout
        self._change = change
        self._paths: dict[str, None] = {}
        self.operations: list[Operation] = []

    @property
    def paths(self) -> list[str]:
        """What is changed in place."""
        return list(self._paths)

    def covers(self, path: str) -> bool:
        """Whether the path, or something above or below it, is protected."""
        return any(
            path == other or is_below(path, other) or is_below(other, path) for other in self._paths
        )

    def back_up(self, path: str, next_number: Callable[[], int]) -> bool:
        """Copy what is there, durably. Whether the copy was made now, and not before. The journal
        has to follow before anything is changed in place."""
        refuse_linked(self._tree, self._layout, path)
        paths = [path]
        look = self._tree.look(self._layout.target(path))
        if look is None or not look.is_folder:
            paths += [path + suffix for suffix in SIDE_FILES]
        new = [each for each in paths if not self._is_known(each)]
        found = [operation for each in new for operation in self._copy(each, next_number)]
        self._tree.sync_names(self._layout.staging)
        self._paths.update(dict.fromkeys(new))
        self.operations += found
        return bool(new)

    def make_room(self, path: str) -> None:
        """The folders above a protected path are there, so that it can be made in place."""
        for folder in ancestors(path):
            self._tree.make_folder(self._layout.target(folder))

    def sync(self) -> None:
        """What is at the protected paths is durable now."""
        names = [
            name
            for path in self._paths
            for name in (*map(self._layout.target, (*ancestors(path), path)), *self._below(path))
        ]
        folders: dict[str, None] = {}
        for name in dict.fromkeys(names):
            look = self._tree.look(name)
            folders[folder_of(name)] = None
            if look is not None and look.kind == "file":
                self._tree.sync_file(name)
            elif look is not None and look.is_folder:
                folders[name] = None
        for folder in folders:
            self._tree.sync_names(folder)

    def _is_known(self, path: str) -> bool:
        return any(path == other or is_below(path, other) for other in self._paths)

    def _below(self, path: str) -> list[str]:
        target = self._layout.target(path)
        look = self._tree.look(target)
        return list(list_below(self._tree, target)) if look is not None and look.is_folder else []

    def _copy(self, path: str, next_number: Callable[[], int]) -> list[Operation]:
        look = self._tree.look(self._layout.target(path))
        if look is None:
            return [Operation(action=OperationKind.DISCARD, path=self._highest_absent(path))]
        if look.kind == "link":
            raise RefusedError(
                f"{path!r} is a symbolic link, so what is changed may lie outside the tree.",
                safe="Nothing was changed.",
                next="Protect the file that it points to.",
            )
        if not look.is_folder:
            return [self._copy_file(path, next_number)]
        return self._copy_folder(path, next_number)

    def _copy_folder(self, path: str, next_number: Callable[[], int]) -> list[Operation]:
        prefix = self._layout.target("")
        operations = [
            Operation(action=OperationKind.DISCARD, path=path),
            Operation(action=OperationKind.MAKE_FOLDER, path=path),
        ]
        for name in self._below(path):
            look = self._tree.look(name)
            if look is not None and look.is_folder:
                inner = name.removeprefix(prefix)
                operations.append(Operation(action=OperationKind.MAKE_FOLDER, path=inner))
            else:
                operations.append(self._copy_file(name.removeprefix(prefix), next_number))
        return operations

    def _copy_file(self, path: str, next_number: Callable[[], int]) -> Operation:
        number = next_number()
        backup = self._layout.staged(self._change, number)
        copy_file(self._tree, self._layout.target(path), backup)
        look = self._tree.look(backup)
        if look is not None and look.kind == "file":
            self._tree.sync_file(backup)
        return Operation(action=OperationKind.RESTORE, path=path, staged=number)

    def _highest_absent(self, path: str) -> str:
        for folder in ancestors(path):
            if self._tree.look(self._layout.target(folder)) is None:
                return folder
        return path
