"""Paths as users give them, and the promise that none leads out of the tree."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator

from batten.errors import UsageError, refused_there
from batten.model.disk.trees.tree_names import TreeLayout
from batten.model.telling.counts import count_of
from batten.storage.local.tree import Tree
from batten.storage.relative import check_name, folder_of

NAME_BYTES_MAX = 255
"""Of one piece of a path, on Linux; some filesystems take less."""

PATH_BYTES_MAX = 4096
"""Of a whole path, with the byte that ends it."""

SHOWN_CHARACTERS = 80


def check_path(path: str | os.PathLike[str]) -> str:
    """The path, relative to the root, with `/`. Raises `UsageError` for one that is absolute, or
    that holds an empty piece, `.` or `..`."""
    given = os.fspath(path)
    try:
        if given:
            return check_name(given)
    except ValueError:
        pass
    raise UsageError(
        f"{given!r} is not a path within the tree.",
        safe="Nothing was changed.",
        next="Give a path relative to the root, without '..', such as 'pages/one.md'.",
    )


def refuse_unnamable(place: str, root: str, path: str, name_bytes_max: int) -> None:
    """Raises `UsageError` for a path that the filesystem of the tree can't hold: found out when the
    change is committed, it could neither be completed nor undone. `place` holds the tree."""
    try:
        lengths = [len(os.fsencode(piece)) for piece in path.split("/")]
        total = len(os.fsencode(f"{place}/{root}/{path}"))
    except UnicodeEncodeError:
        problem = "holds characters that no file name can have"
    else:
        if max(lengths) > name_bytes_max:
            problem = (
                f"has a name of {count_of(max(lengths), 'byte')}, and {name_bytes_max} are the most"
            )
        elif total >= PATH_BYTES_MAX:
            problem = (
                f"has {count_of(total, 'byte')} with the tree's own path, and "
                f"{PATH_BYTES_MAX - 1:,} are the most"
            )
        else:
            return
    shown = path if len(path) <= SHOWN_CHARACTERS else f"{path[:SHOWN_CHARACTERS]}…"
    raise UsageError(
        f"{shown!r} {problem}.",
        safe="Nothing was changed in the tree.",
        next="Give the file a shorter name, a digest of the long one for example.",
    )


def find_longest_name(place: str) -> int:
    """How many bytes one piece of a path may have there."""
    try:
        return min(os.pathconf(place, "PC_NAME_MAX"), NAME_BYTES_MAX)
    except OSError:
        return NAME_BYTES_MAX


def ancestors(path: str) -> Iterator[str]:
    """The folders above a path, the highest first, without the root."""
    pieces = path.split("/")[:-1]
    for count in range(1, len(pieces) + 1):
        yield "/".join(pieces[:count])


def is_below(path: str, folder: str) -> bool:
    return path.startswith(folder + "/")


def refuse_linked(tree: Tree, layout: TreeLayout, path: str, *, made: Collection[str] = ()) -> None:
    """Raises `RefusedError` if a folder above the path is a symbolic link: it may lead out.
    `made` are folders that will take the place of whatever is there."""
    for folder in ancestors(path):
        look = tree.look(layout.target(folder))
        if look is None or (look.kind == "link" and folder in made):
            return
        if look.kind == "link":
            raise refused_there(
                f"{folder!r} is a symbolic link, so {path!r} may lie outside the tree.",
                "Name the file by the folder that the link points to, or replace the link.",
            )


def list_below(tree: Tree, name: str) -> Iterator[str]:
    """All names below a folder of the storage, each folder before what lies in it."""
    for entry in sorted(tree.list(name), key=lambda entry: entry.name):
        yield entry.name
        look = tree.look(entry.name)
        if look is not None and look.is_folder:
            yield from list_below(tree, entry.name)


def list_folders(names: Iterator[str]) -> list[str]:
    """The folders that hold the names, each once."""
    return list(dict.fromkeys(folder_of(name) for name in names))
