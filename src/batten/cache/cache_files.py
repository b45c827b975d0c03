"""Opens what should be a file of the cache, and reads a manifest.

Neither hangs, and neither takes more memory than a manifest can.
"""

from __future__ import annotations

import errno
import os
import stat

from batten.model.cached.manifests import START_BYTES, Manifest, decode_start
from batten.model.disk.records import Unreadable
from batten.storage.beneath import close_read
from batten.storage.local import folders
from batten.storage.local.locking.held import READ, Held, open_held

_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV})


def is_held(path: str) -> bool:
    """Whether another process holds the file now."""
    held = hold_file(path)
    if held is None:
        return False
    try:
        return not held.try_lock(is_shared=False)
    finally:
        held.release()


def hold_file(path: str) -> Held | None:
    """The file, not locked yet; None for what is none: nothing, a link, a pipe, a device."""
    try:
        held = open_held(path)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
    if not stat.S_ISREG(held.status.st_mode):
        held.release()
        return None
    return held


def open_file(path: str) -> tuple[int, os.stat_result] | None:
    """The same, as a descriptor and what it is like; for what is held by nobody."""
    try:
        descriptor = os.open(path, READ)
    except OSError as error:
        if error.errno in _NO_FILE:
            return None
        raise
    try:
        status = os.fstat(descriptor)
    except OSError:
        close_read(descriptor)
        raise
    if not stat.S_ISREG(status.st_mode):
        close_read(descriptor)
        return None
    return descriptor, status


def read_file(path: str, bytes_max: int) -> bytes | None:
    """The content of the file. None if it is no file, or is larger."""
    opened = open_file(path)
    if opened is None:
        return None
    descriptor, status = opened
    try:
        data = folders.read_open(descriptor, min(status.st_size, bytes_max))
    finally:
        close_read(descriptor)
    return data if len(data) <= bytes_max else None


def read_manifest(descriptor: int, size: int) -> tuple[Manifest, bytes]:
    """A manifest of so many bytes: its first line, and its body unchecked. Raises `Unreadable`."""
    start = os.pread(descriptor, START_BYTES, 0)
    manifest, at = decode_start(start, size)
    if size <= len(start):
        return manifest, start[at:]
    body = os.pread(descriptor, manifest.body_size, at)
    if len(body) != manifest.body_size:
        raise Unreadable("it became shorter while it was read")
    return manifest, body
