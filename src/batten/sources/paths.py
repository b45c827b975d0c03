"""Paths that a user named, and what is said when they cannot be read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from batten.errors import StorageError, UsageError
from batten.storage.addresses import is_of_one_process, local_path

SAFE = "Nothing was changed."
CORRECT_PATH = "Correct the path. A relative one is relative to the folder of the job file."


def source_error(what: str, next: str) -> UsageError:
    """Of a source that can't be as it was given."""
    return UsageError(what, safe=SAFE, next=next)


def written_path(path: object) -> str:
    """The path as the user wrote it. Raises `UsageError` for what is none."""
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise source_error(f"Not a path: {path!r}.", "Give a str or a Path.")
    return local_path(text)


def show_path(path: str | Path) -> str:
    """The path in quotes, printable whatever its bytes."""
    return repr(str(path))


def require_file(path: Path, *, if_folder: str = CORRECT_PATH) -> None:
    """Raises `StorageError` if nothing is there, which may pass, and `UsageError` unless it is a
    file that can be read more than once. `if_folder` says what to do if it is a folder."""
    with translated_errors(path):
        mode = _find_mode(path)
    if mode is None:
        raise absent_input(f"There is no file {show_path(path)}.")
    if stat.S_ISDIR(mode):
        raise UsageError(f"{show_path(path)} is a folder, not a file.", safe=SAFE, next=if_folder)
    if not stat.S_ISREG(mode) or is_of_one_process(path):
        raise UsageError(
            f"{show_path(path)} is not a regular file, so it cannot be read twice.",
            safe=SAFE,
            next="Copy what it gives to a file, and name that.",
        )


def require_folder(path: Path) -> None:
    """Raises `StorageError` if nothing is there, and `UsageError` unless it is a folder."""
    with translated_errors(path):
        mode = _find_mode(path)
    if mode is None:
        raise absent_input(f"There is no folder {show_path(path)}.")
    if not stat.S_ISDIR(mode):
        raise UsageError(f"{show_path(path)} is not a folder.", safe=SAFE, next=CORRECT_PATH)


@contextmanager
def translated_errors(path: str | Path) -> Iterator[None]:
    """Raises the operating system's errors on as `StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Cannot read {show_path(path)}: {error.strerror or error}.",
            safe=SAFE,
            next="Make it readable, then run again.",
            errno=error.errno,
        ) from error


def absent_input(what: str) -> StorageError:
    """An input that is not there yet, or a path that was mistyped: which, only people know."""
    return StorageError(
        what,
        safe=SAFE,
        next=f"Run again when it is there. Or: {CORRECT_PATH[0].lower()}{CORRECT_PATH[1:]}",
        errno=errno.ENOENT,
    )


def _find_mode(path: Path) -> int | None:
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
