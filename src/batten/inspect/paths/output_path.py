"""From the path that the user named to a storage and the names in it, and back for messages."""

from __future__ import annotations

import os
from pathlib import Path

from batten.errors import StorageError, usage_error
from batten.ledger.facts.locating import find_layout
from batten.ledger.generations import find_current
from batten.model.disk.destinations.targets import show_target
from batten.model.disk.names import CONTROL_SUFFIX, Layout
from batten.model.disk.trees.tree_names import TREE_FOLDER
from batten.model.rules.findings import Finding
from batten.model.telling.commands import as_path, command
from batten.model.value_class import value_class
from batten.storage.addresses import as_written, local_path
from batten.storage.base import Store
from batten.storage.local.folder import LocalStorage


@value_class
class Place:
    """An output: `path` is how to show it, `folder` how the user named what holds it."""

    storage: Store
    layout: Layout
    path: str
    folder: str

    def show(self, name: str) -> str:
        """A name of the storage, as the user would write it."""
        path = self.folder + name
        return os.path.normpath(path) if ".." in name else path

    def show_found(self, finding: Finding) -> str:
        """What a finding is about, as the user would write it."""
        if not finding.kind:
            return self.show(finding.path)
        return show_target(finding.kind, finding.path, self.show)

    @property
    def control(self) -> str:
        """The control folder, for messages."""
        return self.show(self.layout.control)

    def command(self, *words: str) -> str:
        """A command line about this output, safe to paste."""
        return command(*words, as_path(self.path))


def find_linked_folder(place: Place) -> str:
    """Where the output leads to if it is a symbolic link that no run could keep parts in: the path
    of a folder, or of nothing yet. Else empty."""
    path = f"{place.storage.place}/{place.layout.output}"
    real = os.path.realpath(path)
    is_folder = os.path.isdir(real) or not os.path.lexists(real)
    return real if os.path.islink(path) and is_folder else ""


def has_tree(place: Place) -> bool:
    """Whether transactions ever changed the place as a tree of files."""
    try:
        entry = place.storage.find(place.layout.control + TREE_FOLDER)
    except StorageError:
        return False
    return entry is not None and entry.is_folder


def locate_output(path: str | os.PathLike[str]) -> Place:
    """The output that `path` names; `path` may also be its control folder."""
    if (found := _locate_in_store(as_written(path))) is not None:
        return found
    given = local_path(path)
    if not given or "\0" in given:
        raise usage_error(
            "The path holds a zero byte." if given else "The path is empty.",
            "Name the output of a job.",
        )
    absolute = os.path.abspath(given)
    root, name = os.path.split(absolute)
    if not name:
        raise usage_error(f"{given!r} is not the output of a job.", "Name the output of a job.")
    is_control = name.endswith(CONTROL_SUFFIX) and name != CONTROL_SUFFIX
    if is_control and os.path.isdir(absolute) and not os.path.exists(absolute + CONTROL_SUFFIX):
        name = name.removesuffix(CONTROL_SUFFIX)
    holder, last = os.path.split(given.rstrip("/"))
    if not last.startswith(name):
        holder = root
    folder = os.path.join(holder, "") if holder else ""
    storage = LocalStorage(root)
    return Place(
        storage=storage, layout=find_layout(storage, name), path=folder + name, folder=folder
    )


def _locate_in_store(written: str) -> Place | None:
    if "://" not in written:
        return None
    from batten.storage.plugin import find_store

    found = find_store(written, Path.cwd())
    if found is None:
        return None
    name = found.name.removesuffix(CONTROL_SUFFIX) or found.name
    storage = found.open()
    return Place(
        storage=storage,
        layout=find_current(storage, Layout(name, is_shared=storage.folder is None)),
        path=f"{found.address}/{name}",
        folder=f"{found.address}/",
    )
