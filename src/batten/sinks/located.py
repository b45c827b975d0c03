"""Where the file of a delivery lies.

Inspections need no more of a destination, so this imports nothing that makes files.
"""

from __future__ import annotations

import errno
import os

from batten.model.disk.destinations.targets import show_target
from batten.storage.addresses import shown_path
from batten.storage.base import Folder, Store
from batten.storage.failures import reading_failure
from batten.storage.local.folder import LocalStorage


def show_here(kind: str, target: str, folder: str) -> str:
    """A destination as one would name it from the current folder; `target` is told from `folder`,
    that of the ledger."""
    return show_target(kind, target, lambda path: shown_path(os.path.join(folder, path)))


def locate_file(storage: Folder, target: str) -> tuple[Folder, str]:
    """The folder that the file of a delivery lies in, and its name there. The folders above it are
    named by the user, and may be links."""
    return _locate(storage.place, target) if _is_elsewhere(storage, target) else (storage, target)


def locate_read(storage: Store, target: str) -> tuple[Store, str]:
    """As `locate_file`, for reading only: where the user has put a link in its place, what that
    leads to. No run writes through it."""
    found, name = (
        _locate(storage.place, target) if _is_elsewhere(storage, target) else (storage, target)
    )
    entry = found.find(name)
    if entry is None or entry.kind != "link":
        return found, name
    path = os.path.realpath(os.path.join(found.place, name))
    return LocalStorage(os.path.dirname(path)), os.path.basename(path)


def _is_elsewhere(storage: Store, target: str) -> bool:
    return ("/" in target or target in ("", ".", "..")) and storage.local is not None


def _locate(place: str, target: str) -> tuple[Folder, str]:
    path = os.path.normpath(os.path.join(place, target))
    if not os.path.basename(path):
        raise reading_failure(IsADirectoryError(errno.EISDIR, "", path), "Looking up", path)
    return LocalStorage(os.path.dirname(path)), os.path.basename(path)
