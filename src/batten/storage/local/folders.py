"""Whole folders: filled, moved into place in one step, and removed.

Paths are absolute and nothing is synced: these are for what may be lost but never torn, and
whoever relies on it checks it. `below` is the folder that the user named: what is changed is
reached from there through no link. Raise `OSError`.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from batten.storage.beneath import Beneath, close_read
from batten.storage.changing import removing, steps
from batten.storage.changing.removing import OCCUPIED
from batten.storage.digests import Measured
from batten.storage.local.locking.held import Held, hold_reached, lock_reached
from batten.storage.local.writing.writing import write_all
from batten.storage.reading import read_range

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_CREATE_HELD = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_BYTES = 1 << 17
"""So much of a file is read at a time: what is digested is then still near the processor."""

_WRITABLE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


class Strange(Exception):
    """Something in a folder that can't be kept: the text says what and why."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file or folder in a folder: its relative name; of a file its size and SHA-256."""

    name: str
    is_folder: bool
    size: int = 0
    digest: str = ""


def ensure_folder(path: str, *, below: str) -> None:
    """The folder is there, with its parents."""
    way, name = _way(path, below)
    os.makedirs(below, exist_ok=True)
    pieces = name.split("/")
    for count in range(1, len(pieces) + 1):
        with suppress(FileExistsError):
            steps.do("make_folder", path, way.act, "/".join(pieces[:count]), os.mkdir)


def make_folder(path: str, *, below: str) -> None:
    """Make the folder, and its parents where they are missing; it must not be there."""
    way, name = _way(path, below)
    try:
        steps.do("make_folder", path, way.act, name, os.mkdir)
    except FileNotFoundError:
        ensure_folder(os.path.dirname(path), below=below)
        steps.do("make_folder", path, way.act, name, os.mkdir)


def lock_within(path: str, *, should_wait: bool, below: str) -> Held | None:
    """As `lock_reached`; the folder of the file is made if it is missing."""
    way, name = _way(path, below)
    try:
        return lock_reached(partial(way.act, name), should_wait=should_wait, is_shared=False)
    except FileNotFoundError:
        ensure_folder(os.path.dirname(path), below=below)
        return lock_reached(partial(way.act, name), should_wait=should_wait, is_shared=False)


def move_folder(source: str, target: str, *, below: str) -> bool:
    """Move the folder in one step, and replace nothing but an empty folder. Whether it was moved;
    if not, there is something at `target`."""
    way, name = _way(source, below)
    _, new = _way(target, below)
    try:
        steps.do("folder.move", target, way.act_on_two, name, new, os.rename)
    except OSError as error:
        if error.errno in OCCUPIED and os.path.lexists(target):
            return False
        if not isinstance(error, FileNotFoundError) or not os.path.lexists(source):
            raise
        ensure_folder(os.path.dirname(target), below=below)
        return move_folder(source, target, below=below)
    return True


def write_new(path: str, data: bytes, *, below: str) -> None:
    """Create the file exclusively. Its folder is made if it is missing."""
    way, name = _way(path, below)
    try:
        descriptor = steps.do("file.create", path, way.act, name, os.open, _CREATE, 0o666)
    except FileNotFoundError:
        ensure_folder(os.path.dirname(path), below=below)
        descriptor = steps.do("file.create", path, way.act, name, os.open, _CREATE, 0o666)
    try:
        steps.do("file.write", path, write_all, descriptor, data)
    finally:
        os.close(descriptor)


def create_held(path: str, *, below: str) -> Held:
    """Create the file exclusively, for reading and writing; a forked child will have no copy."""
    way, name = _way(path, below)
    return hold_reached(partial(way.act, name), _CREATE_HELD)


def _way(path: str, below: str) -> tuple[Beneath, str]:
    return Beneath(below), path[len(below.rstrip("/")) + 1 :]


def map_over(descriptor: int, name: str, data: bytes) -> memoryview:
    """The memory of an open file that holds `data` now; what is written there outlives the process,
    though not a power cut. Its room on the disk is taken at once."""
    steps.do("file.write", name, _write_over, descriptor, data)
    return memoryview(mmap.mmap(descriptor, len(data)))


def rewrite(descriptor: int, name: str, data: bytes) -> None:
    """Put `data` in the place of what an open file holds. It may be torn by a crash."""
    steps.do("file.write", name, _write_over, descriptor, data)
    steps.do("file.cut", name, os.ftruncate, descriptor, len(data))


def _write_over(descriptor: int, data: bytes) -> None:
    """All of it: the kernel takes less where the disk is nearly full, or the data is huge."""
    view = memoryview(data)
    count = 0
    while count < len(view):
        count += os.pwrite(descriptor, view[count:], count)


def read_open(descriptor: int, size: int) -> bytes:
    """An open file from its start; `size` is what it has, as far as is known."""
    data = os.pread(descriptor, size + 1, 0)
    while 0 < len(data) < size:
        # The kernel gives no more than 2 GiB at a time.
        more = os.pread(descriptor, size - len(data), len(data))
        if not more:
            break
        data += more
    return data


def read_files(folder: str) -> dict[str, bytes]:
    """All files in the folder and its folders, by relative name; in no order."""
    found: dict[str, bytes] = {}
    descriptor = os.open(folder, _READ_FOLDER)
    try:
        _read_files(descriptor, "", found)
    finally:
        close_read(descriptor)
    return found


def _read_files(folder: int, prefix: str, found: dict[str, bytes]) -> None:
    for name in os.listdir(folder):
        descriptor = os.open(name, _READ, dir_fd=folder)
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                _read_files(descriptor, f"{prefix}{name}/", found)
            else:
                found[prefix + name] = read_range(descriptor, 0, None, None)
        finally:
            close_read(descriptor)


def set_time(target: str | int, nanoseconds: int) -> None:
    """The time of the last change of a file, by name or open, in nanoseconds since 1970."""
    steps.do("file.set_time", str(target), os.utime, target, ns=(nanoseconds, nanoseconds))


def seal_contents(folder: str) -> list[Content]:
    """Read all that is in the folder, and take the right to write to it away. In the order of
    names. Raises `Strange` for links and what is neither file nor folder."""
    buffer = bytearray(_READ_BYTES)
    found: list[Content] = []
    folders = [folder]
    for name, entry in _walk(folder):
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.path)
            found.append(Content(name, True))
        elif entry.is_file(follow_symlinks=False):
            found.append(_seal_file(entry.path, name, buffer))
        else:
            raise Strange(f"{name} is a symbolic link, or neither a file nor a folder")
    for path in reversed(folders):
        mode = stat.S_IMODE(os.stat(path).st_mode)
        steps.do("folder.protect", path, os.chmod, path, mode & ~_WRITABLE_BITS)
    found.sort(key=lambda content: content.name)
    return found


def _walk(folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """What is in the folder and its folders, by name below it: a folder before what is in it.
    However deep, one is open at a time."""
    waiting = [(folder, "")]
    while waiting:
        path, prefix = waiting.pop()
        with os.scandir(path) as entries:
            for entry in entries:
                yield prefix + entry.name, entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{prefix}{entry.name}/"))


def _seal_file(path: str, name: str, buffer: bytearray) -> Content:
    descriptor = os.open(path, _READ)
    try:
        status = os.fstat(descriptor)
        if status.st_nlink > 1:
            raise Strange(f"{name} is a hard link to a file that may be changed elsewhere")
        size, digest = _measure(descriptor, buffer)
        mode = stat.S_IMODE(status.st_mode) & ~_WRITABLE_BITS
        steps.do("file.protect", path, os.fchmod, descriptor, mode)
    finally:
        close_read(descriptor)
    return Content(name, False, size, digest)


def _measure(descriptor: int, buffer: bytearray) -> tuple[int, str]:
    measured = Measured()
    measured.read_descriptor(descriptor, buffer)
    return measured.size, measured.digest


def digest_file(path: str) -> tuple[int, str]:
    """The size and the SHA-256 of a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _measure(descriptor, bytearray(_READ_BYTES))
    finally:
        close_read(descriptor)


def list_contents(folder: str, sizes: Mapping[str, int]) -> Iterator[Content]:
    """What is in the folder and its folders, each file read through that has the size it should;
    in no order."""
    buffer = bytearray(_READ_BYTES)
    for name, entry in _walk(folder):
        if entry.is_dir(follow_symlinks=False):
            yield Content(name, True)
        elif entry.is_file(follow_symlinks=False):
            descriptor = os.open(entry.path, _READ)
            try:
                size = os.fstat(descriptor).st_size
                if size != sizes.get(name):
                    yield Content(name, False, size)
                else:
                    yield Content(name, False, *_measure(descriptor, buffer))
            finally:
                close_read(descriptor)
        else:
            yield Content(name, False, -1)


def remove_file(path: str, *, below: str) -> bool:
    """Whether there was one; it is gone."""
    way, name = _way(path, below)
    try:
        steps.do("file.remove", path, way.act, name, os.unlink)
    except FileNotFoundError:
        return False
    return True


def remove_tree(path: str, first: str | None = None, *, below: str) -> None:
    """As `removing.remove_tree`; what is put into the folder meanwhile may stay."""
    way, name = _way(path, below)
    removing.remove_tree(way, name, first)
