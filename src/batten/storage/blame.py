"""Whose failure an exception is, of the user's code or of a system call of batten's own.

| whose | what tells | what becomes of it |
|---|---|---|
| the machine's | an errno, SQLite's code, no process to be had | the run ends with 7 |
| the job's | most items fail (`most_fail.py`) | the run ends with 1, and tries them again |
| the item's | everything else | the item is quarantined |

What the machine lacks, it lacks for each item: to go on would quarantine them all. A `MemoryError`
counts as the item's: that one item may well be too large (decision 0054).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from batten.errors import FINISHED_KEPT, BattenError, StorageError

_ROOM = "Free some space there, then run the same command again."
_FILES = (
    "Raise the limit (ulimit -n), close what is opened, or use fewer jobs; then run the same "
    "command again."
)
_MEMORY = "Use fewer jobs, or free memory; then run the same command again."
_PROCESSES = "Use fewer jobs, or raise the limit (ulimit -u); then run the same command again."
_DEVICE = (
    "Check the disk and the kernel's log (dmesg), then run the same command again. If one input "
    "alone can't be read, have the function raise a ValueError for it: then it is set aside."
)

_BY_ERRNO = {
    errno.ENOSPC: ("The disk is full", _ROOM),
    errno.EDQUOT: ("The disk quota is used up", _ROOM),
    errno.EROFS: (
        "The filesystem is read-only",
        "Mount it for writing (a disk error can have made it read-only), then run again.",
    ),
    errno.EIO: ("The disk reported a read or write error", _DEVICE),
    errno.EMFILE: ("This process has too many files open", _FILES),
    errno.ENFILE: ("The machine has too many files open", _FILES),
    errno.ENOMEM: ("The machine is out of memory", _MEMORY),
}

_BY_SQLITE = {13: errno.ENOSPC, 10: errno.EIO, 7: errno.ENOMEM}
"""SQLITE_FULL, SQLITE_IOERR and SQLITE_NOMEM."""

_STARTERS = frozenset({"subprocess", "multiprocessing.popen_fork", "multiprocessing.util"})
_NO_THREAD = "can't start new thread"

_CAUSES_MAX = 20

_OUT_OF_MEMORY = "OutOfMemoryError"
"""What torch and CuPy call theirs."""

_MEMORY_WORDS = ("out of memory", "resource_exhausted", "failed to allocate memory")
"""How CUDA, XLA and onnxruntime tell of it."""


def find_machine_failure(error: BaseException) -> StorageError | None:
    """What to raise where something failed because the machine lacks something; None if it is
    another's failure. Clients wrap what the system told, so causes are looked at as well."""
    for each in _causes(error):
        number = _find_errno(each)
        if number is not None:
            reason, next_step = _BY_ERRNO.get(number, ("No process can be started", _PROCESSES))
            return StorageError(
                f"{reason}: {each}.",
                safe=FINISHED_KEPT,
                next=next_step,
                errno=number,
            )
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory did not do, mostly that of a device: a call with less may go well."""
    if isinstance(error, MemoryError):
        return True
    if any(kind.__name__ == _OUT_OF_MEMORY for kind in type(error).__mro__):
        return True
    text = str(error).lower() if isinstance(error, RuntimeError | ValueError) else ""
    return any(words in text for words in _MEMORY_WORDS)


@contextmanager
def machine_blamed() -> Iterator[None]:
    """For calls that nothing else looks at, for threads, pipes and memory: what fails since the
    machine lacks them is told as its failure."""
    try:
        yield
    except BattenError:
        raise
    except Exception as error:
        failure = find_machine_failure(error)
        if failure is None:
            raise
        raise failure from error


def _find_errno(error: BaseException) -> int | None:
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return _BY_SQLITE.get(code & 0xFF)
    if isinstance(error, OSError) and error.errno in _BY_ERRNO:
        return error.errno
    is_start = isinstance(error, BlockingIOError) and _is_raised_at_start(error)
    if is_start or (isinstance(error, RuntimeError) and str(error) == _NO_THREAD):
        return errno.EAGAIN
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and the errors that led to it. Of a group, also the errors in it."""
    left, seen = [error], set[int]()
    while left and len(seen) < _CAUSES_MAX:
        each = left.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            left += each.exceptions
        left += [other for other in (each.__cause__, each.__context__) if other is not None]


def _is_raised_at_start(error: BaseException) -> bool:
    """Whether a program or a process was to be started."""
    names = (frame.f_globals.get("__name__") for frame, _ in walk_tb(error.__traceback__))
    return any(name in _STARTERS for name in names)
