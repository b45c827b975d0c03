"""Open files that hold a lock of the kernel, and processes that are forked meanwhile.

A forked child gets a copy of every descriptor, and a flock lasts until the last copy is closed. So
this module knows what is held, and a child closes its copies at once: it holds none of them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from batten.storage import beneath
from batten.storage.beneath import close_read, refuse_irregular

READ = beneath.READ
LOCK_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Result = TypeVar("Result")


class Held:
    """An open file of which a lock is, or will be, held until `release` or the process's end."""

    __slots__ = ("_descriptor", "status")

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        self.status = os.fstat(descriptor)
        """The file as it was when it was opened. Its kind, device and number never change."""

    @property
    def descriptor(self) -> int:
        """Raises `ValueError` after the end."""
        if self._descriptor is None:
            raise ValueError("the lock was let go")
        return self._descriptor

    @property
    def is_open(self) -> bool:
        """Whether it was neither released nor abandoned in a forked child."""
        return self._descriptor is not None

    def release(self) -> None:
        """Unlock and close. May be repeated."""
        descriptor = self._take_descriptor()
        if descriptor is not None:
            # Closing alone is not enough where a process was forked a moment ago, and is where
            # unlocking fails.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            close_read(descriptor)

    def abandon(self) -> None:
        """Close the copy, and leave the lock to whoever else has one."""
        descriptor = self._take_descriptor()
        if descriptor is not None:
            close_read(descriptor)

    def try_lock(self, *, is_shared: bool) -> bool:
        """Whether the lock is held now; at once, without waiting."""
        mode = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self.descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def wait_lock(self, *, is_shared: bool) -> None:
        """Hold the lock, however long others keep it from that."""
        fcntl.flock(self.descriptor, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)

    def find_status(self, path: str) -> os.stat_result | None:
        """What the file is like, if it still has this name; otherwise None."""
        try:
            named = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return named if os.path.samestat(named, self.status) else None

    def is_reached(self, reach: Reach) -> bool:
        """Whether the path still leads to this file."""
        try:
            named = reach(os.lstat)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return os.path.samestat(named, self.status)

    def _take_descriptor(self) -> int | None:
        descriptor, self._descriptor = self._descriptor, None
        _held.discard(self)
        return descriptor


_held: set[Held] = set()
_forking = threading.Lock()
"""Held from opening a file until `_held` knows of it, so that no fork comes in between."""


def open_held(path: str, flags: int = READ) -> Held:
    """Open the file; a forked child will have no copy of it. It is not locked yet."""
    return hold_reached(partial(_act, path), flags)


def hold_reached(reach: Reach, flags: int) -> Held:
    """As `open_held`, for a file that is reached in a way of its own."""
    with _forking:
        descriptor = reach(os.open, flags, 0o666)
        try:
            held = Held(descriptor)
        except OSError:
            close_read(descriptor)
            raise
        _held.add(held)
    return held


class Reach(Protocol):
    """How a file is acted upon that has a name: `action(name, *arguments, dir_fd=…)`."""

    def __call__(
        self, action: Callable[..., Result], *arguments: object, **options: object
    ) -> Result: ...


def _act(path: str, action: Callable[..., Result], *arguments: object, **options: object) -> Result:
    return action(path, *arguments, **options)


def lock_reached(reach: Reach, *, should_wait: bool, is_shared: bool) -> Held | None:
    """Lock a file; it is made if there is none. None if another process holds it, and the caller
    does not want to wait. The holder may delete the file before letting it go. Raises `OSError` for
    what is no file."""
    while True:
        held = _open_lock(reach, is_shared)
        is_locked = False
        try:
            if should_wait:
                held.wait_lock(is_shared=is_shared)
            elif not held.try_lock(is_shared=is_shared):
                return None
            is_locked = held.is_reached(reach)
        finally:
            if not is_locked:
                held.release()
        if is_locked:
            return held


def _open_lock(reach: Reach, is_shared: bool) -> Held:
    try:
        held = hold_reached(reach, LOCK_FILE)
    except OSError as error:
        # A user who may only read can share the lock, if there is one.
        if not (is_shared and error.errno in (errno.EACCES, errno.EROFS)):
            raise
        held = hold_reached(reach, READ)
    try:
        refuse_irregular(held.status.st_mode)
    except OSError:
        held.abandon()
        raise
    return held


def _abandon_in_child() -> None:
    for held in list(_held):
        held.abandon()
    _forking.release()


os.register_at_fork(
    before=_forking.acquire, after_in_parent=_forking.release, after_in_child=_abandon_in_child
)
