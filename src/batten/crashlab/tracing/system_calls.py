"""The system calls of x86-64 Linux that name or use a file, as data.

Each row says which arguments name files, so that a tracer can tell what a call touches, and what
kind of call it is. Rows with the same number are tried in order; the first whose conditions hold
is the one. Not seen: io_uring, and stores through a mapping (only its creation and its msync).
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from enum import StrEnum

from batten.model.value_class import value_class


class CallKind(StrEnum):
    """What a call does to a file, whichever of the many spellings of it was used."""

    OPEN_TO_WRITE = "open to write"
    WRITE = "write"
    SYNC = "sync"
    LINK = "link"
    RENAME = "rename"
    UNLINK = "unlink"
    MKDIR = "mkdir"
    TRUNCATE = "truncate"
    LOCK = "lock"
    MAP = "map"
    ATTRIBUTE = "attribute"
    OPEN_TO_READ = "open to read"
    READ = "read"
    LIST = "list"
    STAT = "stat"
    CLOSE = "close"

    def __repr__(self) -> str:
        return f"CallKind.{self.name}"


ALL = frozenset(CallKind)
CHANGING = ALL - {
    CallKind.OPEN_TO_READ,
    CallKind.READ,
    CallKind.LIST,
    CallKind.STAT,
    CallKind.CLOSE,
}
TAKING_SPACE = frozenset(
    {
        CallKind.OPEN_TO_WRITE,
        CallKind.WRITE,
        CallKind.LINK,
        CallKind.RENAME,
        CallKind.MKDIR,
        CallKind.TRUNCATE,
    }
)


@value_class
class TracedCall:
    """A call that touched the watched folders.

    `number` counts these calls from 1. `process` is 0 for the driver, else counts processes in
    the order in which they were first seen. `target` is the second path of a link or rename.
    `size` is what was asked for in bytes. `result` is what the caller was told, a negative errno
    after a failure, and None if it died before it was told anything.
    """

    number: int
    process: int
    name: str
    kind: CallKind
    path: str
    target: str = ""
    size: int = 0
    result: int | None = None


@value_class
class CallPlace:
    """Where a call names a file: a descriptor, a path, or a path relative to a descriptor, each
    as the index of an argument; or an address inside a mapping of it."""

    descriptor: int | None = None
    path: int | None = None
    address: int | None = None


@dataclass(frozen=True)
class Condition:
    """Holds when the argument has any bit of the mask."""

    argument: int
    mask: int


@value_class
class SystemCall:
    """A row of the table. `size` is the argument that holds the size; where `is_vector`, it
    counts the buffers in the array that the argument before it points to."""

    name: str
    number: int
    kind: CallKind
    places: tuple[CallPlace, ...]
    size: int | None = None
    is_vector: bool = False
    conditions: tuple[Condition, ...] = ()

    def matches(self, arguments: tuple[int, ...]) -> bool:
        return all(arguments[each.argument] & each.mask for each in self.conditions)


_DESCRIPTOR = (CallPlace(descriptor=0),)
_PATH = (CallPlace(path=0),)
_AT = (CallPlace(descriptor=0, path=1),)
_WILL_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def _rows(
    kind: CallKind,
    places: tuple[CallPlace, ...],
    names: str,
    *,
    size: int | None = None,
    is_vector: bool = False,
    conditions: tuple[Condition, ...] = (),
) -> tuple[SystemCall, ...]:
    """Rows that differ only in name and number, from "name number, name number"."""
    return tuple(
        SystemCall(
            name=name,
            number=int(number),
            kind=kind,
            places=places,
            size=size,
            is_vector=is_vector,
            conditions=conditions,
        )
        for name, number in (each.split() for each in names.split(","))
    )


TABLE: tuple[SystemCall, ...] = (
    *_rows(CallKind.OPEN_TO_WRITE, _PATH, "open 2", conditions=(Condition(1, _WILL_WRITE),)),
    *_rows(CallKind.OPEN_TO_WRITE, _AT, "openat 257", conditions=(Condition(2, _WILL_WRITE),)),
    # Its flags lie in memory, where the filter cannot look.
    *_rows(CallKind.OPEN_TO_WRITE, _AT, "openat2 437"),
    *_rows(CallKind.OPEN_TO_WRITE, _PATH, "creat 85"),
    *_rows(CallKind.OPEN_TO_READ, _PATH, "open 2"),
    *_rows(CallKind.OPEN_TO_READ, _AT, "openat 257"),
    *_rows(CallKind.WRITE, _DESCRIPTOR, "write 1, pwrite64 18", size=2),
    *_rows(
        CallKind.WRITE, _DESCRIPTOR, "writev 20, pwritev 296, pwritev2 328", size=2, is_vector=True
    ),
    *_rows(CallKind.WRITE, _DESCRIPTOR, "sendfile 40", size=3),
    *_rows(CallKind.WRITE, (CallPlace(descriptor=2),), "copy_file_range 326", size=4),
    *_rows(CallKind.SYNC, _DESCRIPTOR, "fsync 74, fdatasync 75, syncfs 306, sync_file_range 277"),
    *_rows(CallKind.SYNC, (CallPlace(address=0),), "msync 26", size=1),
    *_rows(CallKind.LINK, (CallPlace(path=0), CallPlace(path=1)), "link 86"),
    *_rows(CallKind.LINK, (*_AT, CallPlace(descriptor=2, path=3)), "linkat 265"),
    *_rows(CallKind.LINK, (CallPlace(path=1),), "symlink 88"),
    *_rows(CallKind.LINK, (CallPlace(descriptor=1, path=2),), "symlinkat 266"),
    *_rows(CallKind.LINK, _PATH, "mknod 133"),
    *_rows(CallKind.LINK, _AT, "mknodat 259"),
    *_rows(CallKind.RENAME, (CallPlace(path=0), CallPlace(path=1)), "rename 82"),
    *_rows(CallKind.RENAME, (*_AT, CallPlace(descriptor=2, path=3)), "renameat 264, renameat2 316"),
    *_rows(CallKind.UNLINK, _PATH, "unlink 87, rmdir 84"),
    *_rows(CallKind.UNLINK, _AT, "unlinkat 263"),
    *_rows(CallKind.MKDIR, _PATH, "mkdir 83"),
    *_rows(CallKind.MKDIR, _AT, "mkdirat 258"),
    *_rows(CallKind.TRUNCATE, _PATH, "truncate 76", size=1),
    *_rows(CallKind.TRUNCATE, _DESCRIPTOR, "ftruncate 77", size=1),
    *_rows(CallKind.TRUNCATE, _DESCRIPTOR, "fallocate 285", size=3),
    *_rows(CallKind.LOCK, _DESCRIPTOR, "flock 73"),
    *_rows(
        CallKind.MAP,
        (CallPlace(descriptor=4),),
        "mmap 9",
        size=1,
        conditions=(Condition(2, mmap.PROT_WRITE), Condition(3, mmap.MAP_SHARED)),
    ),
    *_rows(CallKind.ATTRIBUTE, _PATH, "chmod 90, chown 92, lchown 94, utime 132, utimes 235"),
    *_rows(CallKind.ATTRIBUTE, _PATH, "setxattr 188, lsetxattr 189"),
    *_rows(CallKind.ATTRIBUTE, _PATH, "removexattr 197, lremovexattr 198"),
    *_rows(
        CallKind.ATTRIBUTE, _DESCRIPTOR, "fchmod 91, fchown 93, fsetxattr 190, fremovexattr 199"
    ),
    *_rows(CallKind.ATTRIBUTE, _AT, "fchmodat 268, fchownat 260, futimesat 261, utimensat 280"),
    *_rows(CallKind.READ, _DESCRIPTOR, "read 0, pread64 17", size=2),
    *_rows(CallKind.READ, _DESCRIPTOR, "readv 19, preadv 295, preadv2 327", size=2, is_vector=True),
    *_rows(CallKind.LIST, _DESCRIPTOR, "getdents 78, getdents64 217", size=2),
    *_rows(CallKind.STAT, _PATH, "stat 4, lstat 6, access 21, readlink 89, statfs 137"),
    *_rows(CallKind.STAT, _DESCRIPTOR, "fstat 5, fstatfs 138"),
    *_rows(
        CallKind.STAT,
        _AT,
        "newfstatat 262, readlinkat 267, faccessat 269, statx 332, faccessat2 439",
    ),
    *_rows(CallKind.CLOSE, _DESCRIPTOR, "close 3"),
)

_BY_NUMBER: dict[int, tuple[SystemCall, ...]] = {
    number: tuple(row for row in TABLE if row.number == number)
    for number in {row.number for row in TABLE}
}


def classify(number: int, arguments: tuple[int, ...]) -> SystemCall | None:
    """The row for a call that was made with these arguments."""
    for row in _BY_NUMBER.get(number, ()):
        if row.matches(arguments):
            return row
    return None
