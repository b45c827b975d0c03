"""Bytes are written into an open file, all of them, and early where they are many."""

from __future__ import annotations

import os
from contextlib import suppress

from batten.storage.base import Data, pieces_of
from batten.storage.changing import steps

HURRY_BYTES = 1 << 24
"""A file that will be synced goes to the disk in pieces of about this size while it is made."""


def write_pieces(descriptor: int, name: str, data: Data, *, is_hurried: bool) -> None:
    """`is_hurried`: the disk begins with what is there while the rest is made, so that a sync at
    the end finds little left."""
    written = begun = 0
    for piece in pieces_of(data):
        steps.do("stage.write", name, write_all, descriptor, piece)
        written += len(piece)
        if is_hurried and written - begun >= HURRY_BYTES:
            # The kernel begins to write what this would drop from memory. A failure of that is
            # told by the sync.
            with suppress(OSError):
                os.posix_fadvise(descriptor, begun, written - begun, os.POSIX_FADV_DONTNEED)
            begun = written


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however little the kernel takes at a time."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(descriptor, view) :]
