"""The lock of a dataset: the kernel's flock, so it ends with its process and can't go stale.

The file's text names the holder, for people. It is the only text that is changed in place, and it
may be empty or torn. It decides only one thing: whether the kernel must be asked again. The file is
never deleted: two processes could then hold two locks of one name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from batten.errors import BusyError
from batten.model.disk.bounds import RECORD_BYTES_MAX
from batten.model.disk.names import CONTROL_SUFFIX
from batten.model.disk.records import Unreadable, decode_record, encode_record
from batten.model.disk.runs.holders import Holder
from batten.model.disk.trees.tree_names import TREE_FOLDER
from batten.model.telling.commands import command
from batten.storage.base import Lock
from batten.storage.beneath import Beneath, close_read
from batten.storage.changing import steps
from batten.storage.failures import reading_failure, writing_failure
from batten.storage.local.locking.held import Held, lock_reached
from batten.storage.machine import Machine

Result = TypeVar("Result")

_PATIENCE_SECONDS = 0.3
"""How long a busy lock is asked for again: an inspection may hold it for an instant to probe it."""
_RETRY_SECONDS = 0.01
_TEXT_BYTES_MAX = RECORD_BYTES_MAX["lock"]


@dataclass(frozen=True)
class LockPlace:
    """A lock file by its name in a storage. It implements `Reach`."""

    beneath: Beneath
    name: str

    @property
    def path(self) -> str:
        """For messages."""
        return self.beneath.path(self.name)

    def __call__(
        self, action: Callable[..., Result], *arguments: object, **options: object
    ) -> Result:
        return self.beneath.act(self.name, action, *arguments, **options)


class FileLock(Lock):
    """A lock that is held until `release` or the process's end. Forked children don't hold it."""

    def __init__(self, held: Held, place: LockPlace, *, is_shared: bool) -> None:
        self._held: Held | None = held
        self._place = place
        self._is_shared = is_shared

    def release(self) -> None:
        """Empty the text, which only an exclusive holder has, then unlock. May be repeated."""
        held, self._held = self._held, None
        if held is None or not held.is_open:
            return
        try:
            if not self._is_shared:
                with suppress(OSError):
                    steps.do("lock.clear", self._place.name, _write_text, held.descriptor, b"")
        finally:
            held.release()
            self._place.beneath.forget()


def current_holder() -> Holder:
    """This process, as the text of a lock that it takes now."""
    return Holder(
        pid=os.getpid(),
        host=os.uname().nodename,
        since=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        boot=_observe_boot(),
        pid_namespace=_observe_pid_namespace(),
    )


def acquire(
    place: LockPlace, holder: Holder, *, wait_seconds: float | None = _PATIENCE_SECONDS
) -> FileLock:
    """Take the lock, or raise `BusyError`, or `StorageError` if the file can't be had. With
    None for `wait_seconds` it waits for as long as it takes."""
    held = _acquire(place, wait_seconds, is_shared=False)
    # A lock is as good without its text. If this failed it, a full disk could not be cleaned.
    with suppress(OSError):
        steps.do("lock.write", place.name, _write_text, held.descriptor, encode_record(holder))
    return FileLock(held, place, is_shared=False)


def acquire_shared(place: LockPlace, *, wait_seconds: float | None) -> FileLock:
    """As `acquire`, but beside any number of others that share it. It has no text."""
    held = _acquire(place, wait_seconds, is_shared=True)
    return FileLock(held, place, is_shared=True)


def _acquire(place: LockPlace, wait_seconds: float | None, *, is_shared: bool) -> Held:
    try:
        return steps.do("lock", place.name, _take_patiently, place, wait_seconds, is_shared)
    except BlockingIOError:
        raise busy_error(os.path.dirname(place.path), observe(place)) from None
    except OSError as error:
        raise writing_failure(error, "Locking", place.path) from error


def busy_error(control: str, holder: Holder | None) -> BusyError:
    """`control` is the folder of the lock. `holder` is None if it was let go meanwhile."""
    output = control.removesuffix(TREE_FOLDER).removesuffix(CONTROL_SUFFIX)
    return BusyError(
        f"{output!r} is in use by {_describe_holder(holder)}.",
        safe="Nothing was changed. It is safe to wait; do not delete the lock.",
        next="Run the same command again when that has ended; meanwhile: "
        f"{command('diagnose', output)}",
    )


def observe(place: LockPlace) -> Holder | None:
    """Who holds the lock, or None. Takes the lock, shared and for an instant; where that fails, the
    kernel's table says who has it."""
    try:
        descriptor = place.beneath.open_file(place.name)
        try:
            return _observe_open(descriptor)
        finally:
            close_read(descriptor)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise reading_failure(error, "Looking at the lock", place.path) from error


def _observe_open(descriptor: int) -> Holder | None:
    # The kernel's table names the holder, but to read it may take tens of milliseconds.
    if _probe(descriptor):
        return None
    text = os.pread(descriptor, _TEXT_BYTES_MAX, 0)
    locked_by = _find_locking_pid(os.fstat(descriptor), _read_lock_table())
    return _choose(_parse_text(text) if text else None, locked_by or 0)


def _take_patiently(place: LockPlace, wait_seconds: float | None, is_shared: bool) -> Held:
    should_wait = wait_seconds is None
    deadline = time.monotonic() + (wait_seconds or 0.0)
    while (held := lock_reached(place, should_wait=should_wait, is_shared=is_shared)) is None:
        if time.monotonic() >= deadline:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), place.path)
        time.sleep(_RETRY_SECONDS)
    return held


def _write_text(descriptor: int, text: bytes) -> None:
    # If the file has another name as well (a copy made of links), it must not be changed.
    if os.fstat(descriptor).st_nlink == 1:
        os.ftruncate(descriptor, 0)
        if text:
            os.pwrite(descriptor, text, 0)


def _parse_text(text: bytes) -> Holder | None:
    try:
        return decode_record(Holder, text)
    except Unreadable:
        return None


def _choose(named: Holder | None, pid: int) -> Holder:
    """The holder by its text, unless that was left by an earlier one."""
    is_here = named is not None and named.pid_namespace == _observe_pid_namespace()
    if named is None or (is_here and pid not in (0, named.pid)):
        return Holder(pid=pid, host="", since="", boot="")
    return named


def _find_locking_pid(status: os.stat_result, table: bytes) -> int | None:
    """The process that /proc/locks says has an exclusive flock on this file, or None."""
    device = status.st_dev
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{status.st_ino}".encode()
    lines = table.splitlines() if wanted in table else ()
    for line in lines:
        if wanted not in line:
            continue
        # "12: FLOCK ADVISORY WRITE 4711 fe:00:1234 0 EOF"; one that waits has "->" second.
        _, kind, _, access, pid, place, *_ = line.split()
        if (kind, access, place) == (b"FLOCK", b"WRITE", wanted):
            return int(pid)
    return None


def _read_lock_table() -> bytes:
    """Empty where it can't be read. It leaves out the holders in other process namespaces and on
    other machines, and some filesystems (overlayfs, btrfs) have another device number in it."""
    try:
        with open("/proc/locks", "rb", buffering=0) as table:
            return table.read()
    except OSError:
        return b""


def has_ended(holder: Holder) -> bool:
    """Whether it was a process of this machine, since it was started, and is no more. False where
    that can't be known."""
    here = current_holder()
    place = (holder.host, holder.boot, holder.pid_namespace)
    return place == (here.host, here.boot, here.pid_namespace) and not is_alive(holder.pid)


def _probe(descriptor: int) -> bool:
    """Whether the lock is free, found out by taking it, shared, and letting it go at once."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        # Closing is not enough where a process was forked meanwhile: it has a copy.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except BlockingIOError:
        return False
    return True


def is_alive(pid: int) -> bool:
    """Whether there is such a process on this machine now."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@cache
def _observe_boot() -> str:
    """It is the same for as long as a process lives."""
    return Machine().observe_boot()


@cache
def _observe_pid_namespace() -> str:
    """It is the same for as long as a process lives; a forked one may be in another."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


os.register_at_fork(after_in_child=_observe_pid_namespace.cache_clear)


def _describe_holder(holder: Holder | None) -> str:
    if holder is None or holder.pid == 0:
        return "another process"
    where = f" on {holder.host}" if holder.host else ""
    since = f" since {holder.since}" if holder.since else ""
    return f"process {holder.pid}{where}{since}"
