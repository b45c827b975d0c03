"""What the operating system's errors mean for the data, told in three sentences."""

from __future__ import annotations

import errno
import os

from batten.errors import MisplacedError, StorageError
from batten.storage.beneath import Obstructed

_FULL = "Free some space there, then run the same command again."
_PERMISSION = "Give this user permission to read and write there, then run the same command again."
_DEVICE = "Check the disk and the kernel's log (dmesg) before running the same command again."
_KIND = "Move what is in the way elsewhere, or choose another path, then run again."

# How the reason reads, and what to do next.
_KNOWN = {
    errno.ENOSPC: ("the disk is full", _FULL),
    errno.EDQUOT: ("the disk quota is used up", _FULL),
    errno.EFBIG: ("the file is larger than is allowed here", "Raise the limit (ulimit -f)."),
    errno.EACCES: ("permission is missing", _PERMISSION),
    errno.EPERM: ("the operating system does not permit it", _PERMISSION),
    errno.EROFS: (
        "the filesystem is read-only",
        "Mount it for writing (a disk error can have made it read-only), then run again.",
    ),
    errno.EIO: ("the disk reported a read or write error", _DEVICE),
    errno.ENOTDIR: ("a file lies where a folder should be", _KIND),
    errno.EISDIR: ("a folder lies where a file should be", _KIND),
    errno.ESPIPE: ("a pipe or the like lies where a file should be", _KIND),
    errno.ENXIO: ("a pipe or the like lies where a file should be", _KIND),
    errno.EOVERFLOW: ("it is larger than any file of its kind", _KIND),
    errno.ELOOP: ("a symbolic link lies where a file should be", _KIND),
    errno.EEXIST: ("something of that name is there already", _KIND),
    errno.ENOTEMPTY: ("the folder is not empty", _KIND),
    errno.EXDEV: (
        "the two places are on different filesystems",
        "Put the output and its .batten folder on one filesystem, then run again.",
    ),
    errno.ENOENT: (
        "the file or its folder is not there",
        "Check that the folder exists and that nothing else removes files there, then run again.",
    ),
    errno.EMFILE: ("too many files are open", "Raise the limit (ulimit -n), then run again."),
    errno.ESTALE: ("the network filesystem lost track of it", "Mount it again, then run again."),
}

_IS_WRONG_KIND = frozenset(
    {errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ESPIPE, errno.ENXIO, errno.EOVERFLOW}
)

_SAFE_READING = "Nothing was changed."
_SAFE_WRITING = (
    "What was committed before is safe; whether this step happened is looked up by the next run."
)

_SAFE_PUBLISHING = "What is at that path is whole: what was there before, or the new one."


class OtherVersionError(StorageError):
    """A file is not of the version any more that was opened, so the rest of it can't be had."""


def reading_failure(error: OSError, action: str, path: str) -> StorageError:
    """For a failed step that only reads. `action` begins a sentence: "Reading"."""
    return _describe(error, action, path, _SAFE_READING)


def writing_failure(error: OSError, action: str, path: str) -> StorageError:
    """For a failed step that may have changed something. `action` begins a sentence."""
    return _describe(error, action, path, _SAFE_WRITING)


def publishing_failure(error: OSError, path: str) -> StorageError:
    """For a file or folder that was to appear at `path` in one step."""
    return _describe(error, "Publishing", path, _SAFE_PUBLISHING)


def is_of_wrong_kind(error: StorageError) -> bool:
    """Whether something of another kind lies there: a folder, a link or a pipe where a file should
    be, or the reverse, or a file that is larger than it can be. That is damage: another look would
    find the same."""
    return error.errno in _IS_WRONG_KIND


def find_obstacle(error: OSError | StorageError) -> str:
    """Why the system does not let this user look, as a part of a sentence. Empty if that is no
    matter of the machine: what should be there is gone, or is something else."""
    code = error.errno
    if code is None and isinstance(error, PermissionError):
        code = errno.EACCES  # A library has told it in words of its own.
    if code is None or code == errno.ENOENT or code in _IS_WRONG_KIND:
        return ""
    return _KNOWN[code][0] if code in _KNOWN else os.strerror(code)


def tell_reason(error: BaseException) -> str:
    """Why, as a part of a sentence that names the file itself."""
    return error.what.removesuffix(".") if isinstance(error, StorageError) else str(error)


def too_large(name: str | None = None) -> OSError:
    """For a file that has more bytes than what should be there can have."""
    return OSError(errno.EOVERFLOW, os.strerror(errno.EOVERFLOW), name)


def is_too_large(error: BaseException | None) -> bool:
    """Whether a file was refused for that."""
    return isinstance(error, OSError) and error.errno == errno.EOVERFLOW


def _describe(error: OSError, action: str, path: str, safe: str) -> StorageError:
    code = error.errno
    if isinstance(error, Obstructed):
        kind = "a symbolic link" if code == errno.ELOOP else "no folder"
        reason, next_step = f"{error.filename!r} is {kind}", _KIND
    elif code in _KNOWN:
        reason, next_step = _KNOWN[code]
    else:
        reason = os.strerror(code) if code is not None else str(error)
        next_step = "Remove the cause, then run the same command again."
    failure = MisplacedError if _is_misplaced(error) else StorageError
    return failure(f"{action} {path!r} failed: {reason}.", safe=safe, next=next_step, errno=code)


def _is_misplaced(error: OSError) -> bool:
    """What is no folder above the place that the user named is no damage of what is there."""
    return error.errno in _IS_WRONG_KIND and (
        isinstance(error, Obstructed) or error.errno != errno.ENOTDIR
    )
