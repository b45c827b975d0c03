"""The owner rule: what only oneself or root can have written. Decision 0036.

A pickle is code. So a pickle in a file is used only under a condition: the file, and every folder
from it up to the one that batten made, belong to oneself or root, and nobody else may write to
them. The file is read through the very descriptors that were asked, so nothing can be swapped
meanwhile.
"""

from __future__ import annotations

import os
import stat

from batten.storage.beneath import Beneath, close_read

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class NotOwned(Exception):
    """Somebody else may have written it; the text names the file or folder, and why."""


def read_owned(root: str, name: str, *, above: str = "") -> bytes:
    """The bytes of a file below `root`, if the owner rule holds for it and for its folders up to
    `above`, which is one of them; empty for `root` itself. Raises `NotOwned`, or `OSError`.

    `root` may be a link; below it none is followed."""
    trusted_from = above.count("/") + 1 if above else 0

    def look(descriptor: int, passed: str) -> None:
        depth = passed.count("/") + 1 if passed else 0
        if depth >= trusted_from:
            _require_owned(descriptor, f"{root}/{passed}".rstrip("/"))

    descriptor = Beneath(root).open_file_past(name, look)
    try:
        return _read(descriptor, os.fstat(descriptor).st_size)
    finally:
        close_read(descriptor)


def _require_owned(descriptor: int, path: str) -> None:
    status = os.fstat(descriptor)
    if status.st_uid not in (0, os.geteuid()):
        raise NotOwned(f"{path} belongs to another user ({status.st_uid})")
    if status.st_mode & _OTHERS:
        raise NotOwned(f"others may write to {path}")


def _read(descriptor: int, size: int) -> bytes:
    pieces = []
    while size and (piece := os.read(descriptor, size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
