"""The tree as it will be: what a transaction has staged so far, laid over what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from batten.errors import MisplacedError, RefusedError
from batten.model.disk.trees.journal import ABSENT, Operation, OperationKind
from batten.model.disk.trees.tree_names import TreeLayout
from batten.storage.local.tree import NameStatus, Tree, describe_look
from batten.storage.relative import folder_of, last_piece
from batten.transactions.paths import ancestors, refuse_linked

_FOLDER = NameStatus(kind="folder", size=0, modified_ns=0)
"""What is above something that is there."""


class Overlay:
    """Changes by path, each path once: the last change of it is what counts."""

    def __init__(self, tree: Tree, layout: TreeLayout) -> None:
        self._tree = tree
        self._layout = layout
        self._staged: dict[str, int] = {}
        self._deleted: dict[str, None] = {}
        self._made: dict[str, None] = {}
        self._removed: dict[str, None] = {}

    @property
    def is_empty(self) -> bool:
        return not (self._staged or self._deleted or self._made or self._removed)

    def find_staged(self, path: str) -> int | None:
        """The number of the file that is staged for the path, or None."""
        return self._staged.get(path)

    def find_kind(self, path: str, live: NameStatus | None = None) -> str | None:
        """What the path will be: a kind as of `NameStatus`, or None for nothing. `live` is what is
        there now, where that was seen."""
        if path in self._staged:
            return "file"
        if path in self._made:
            return "folder"
        if path in self._deleted or path in self._removed:
            return None
        if any(folder in self._deleted for folder in ancestors(path)):
            return None
        look = live or self.look_live(path)
        return look.kind if look else None

    def look_live(self, path: str) -> NameStatus | None:
        """What is there now. Raises `RefusedError` below a symbolic link."""
        try:
            return self._tree.look(self._layout.target(path))
        except MisplacedError:
            refuse_linked(self._tree, self._layout, path)
            raise

    def list_children(self, folder: str) -> Iterator[str]:
        """The paths that will lie directly in the folder, in order."""
        prefix = self._layout.target("")
        live = self._tree.list(self._layout.target(folder)) if self.look_live(folder) else ()
        names = {entry.name.removeprefix(prefix) for entry in live}
        names.update(path for path in self._staged if folder_of(path) == folder)
        names.update(path for path in self._made if folder_of(path) == folder)
        for name in sorted(names):
            if self.find_kind(name) is not None:
                yield name

    def put(self, path: str, number: int, live: NameStatus | None = None) -> None:
        """A file at the path; its folders are made. `live` is what is there now, where that was
        seen."""
        if self.find_kind(path, live) == "folder":
            raise _in_the_way(path, "a folder")
        self._make_above(path, None if live is None else _FOLDER)
        self._deleted.pop(path, None)
        self._staged[path] = number

    def make_folder(self, path: str) -> None:
        """A folder at the path, and those above it."""
        kind = self.find_kind(path)
        if kind not in (None, "folder"):
            raise _in_the_way(path, f"a {kind}")
        self._make_above(path)
        if kind is None:
            self._removed.pop(path, None)
            self._made[path] = None

    def delete(self, path: str) -> None:
        """Nothing at the path: neither file nor link, nor folder with what is in it."""
        if self.find_kind(path) == "folder":
            for child in list(self.list_children(path)):
                self.delete(child)
            self._made.pop(path, None)
            look = self.look_live(path)
            if look is not None and look.is_folder:
                self._removed[path] = None
            return
        self._staged.pop(path, None)
        look = self.look_live(path)
        if look is not None and not look.is_folder:
            self._deleted[path] = None

    def list_operations(self, change: str, digests: Mapping[int, str]) -> list[Operation]:
        """What is to be done, in an order in which each place is free when its turn comes.
        `digests` are those of staged files, by their numbers, where they are known."""
        deletes = [
            Operation(action=OperationKind.DELETE, path=path, before=self._describe_live(path))
            for path in self._deleted
        ]
        removes = [
            Operation(action=OperationKind.REMOVE_FOLDER, path=path)
            for path in sorted(self._removed, key=_depth, reverse=True)
        ]
        makes = [
            Operation(action=OperationKind.MAKE_FOLDER, path=path)
            for path in sorted(self._made, key=_depth)
        ]
        puts = [
            Operation(
                action=OperationKind.PUT,
                path=path,
                staged=number,
                before=self._describe_live(path),
                after=describe_look(self._tree.look(self._layout.staged(change, number))),
                digest=digests.get(number, ""),
            )
            for path, number in self._staged.items()
        ]
        return deletes + removes + makes + puts

    def _describe_live(self, path: str) -> str:
        return describe_look(self._tree.look(self._layout.target(path))) or ABSENT

    def _make_above(self, path: str, live: NameStatus | None = None) -> None:
        for folder in ancestors(path):
            kind = self.find_kind(folder, live)
            if kind is None:
                self._removed.pop(folder, None)
                self._made[folder] = None
            elif kind != "folder":
                raise _in_the_way(folder, f"a {kind}")


def _depth(path: str) -> int:
    return path.count("/")


def _in_the_way(path: str, what: str) -> RefusedError:
    return RefusedError(
        f"{path!r} can't be made: {what} of that name ({last_piece(path)!r}) is in the way.",
        safe="Nothing was changed in the tree.",
        next="Delete or move it in the same transaction first, or choose another path.",
    )
