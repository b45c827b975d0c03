"""The files of a hand-made job, opened for an audit: regular ones only, and only ever read."""

from __future__ import annotations

import os
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from batten.errors import BattenError, StorageError, UsageError
from batten.model.telling.sizes import show_bytes

UNCHANGED = "Nothing was changed."
_BEGINNING_BYTES = 4096


def observe(name: str) -> tuple[int, int]:
    """Size and time. Raises `UsageError` for what is no regular file: a pipe would be waited for,
    and a device never ends."""
    try:
        status = Path(name).stat()
    except OSError as error:
        raise translate(error, name) from error
    _refuse_irregular(name, status)
    return status.st_size, status.st_mtime_ns


def is_hidden(path: Path, root: Path) -> bool:
    """Whether most readers of the folder `root` would pass it over."""
    return any(part.startswith((".", "_")) for part in path.relative_to(root).parts)


def _refuse_irregular(name: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise UsageError(f"{name} is {what}.", safe=UNCHANGED, next="Name a file.")


def _open(name: str) -> BinaryIO:
    """Without waiting for a pipe, which may have come there since it was observed."""
    file = os.fdopen(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        _refuse_irregular(name, os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def translate(error: OSError, name: str) -> BattenError:
    """What the machine says of a file, as an error of batten."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return UsageError(f"There is no file {name}.", safe=UNCHANGED, next="Check the path.")
    if isinstance(error, IsADirectoryError):
        return UsageError(f"{name} is a folder.", safe=UNCHANGED, next="Name a file in it.")
    return StorageError(
        f"{name} could not be read: {error.strerror or error}.",
        safe=UNCHANGED,
        next="Mend the access to it, then run the same command again.",
        errno=error.errno,
    )


LINE_BYTES_MAX = 1 << 26
"""A line of so many bytes is none: it is held in memory."""


def read_lines(name: str) -> Iterator[bytes]:
    """The lines with their ends, without a mark of byte order. Raises `UsageError` for one that is
    too long to be a line."""
    try:
        with _open(name) as file:
            if file.read(len(BOM_UTF8)) != BOM_UTF8:
                file.seek(0)
            while line := file.readline(LINE_BYTES_MAX):
                if len(line) == LINE_BYTES_MAX and line[-1:] != b"\n":
                    raise UsageError(
                        f"{name} has a line of more than {show_bytes(LINE_BYTES_MAX)}.",
                        safe=UNCHANGED,
                        next="Check the path: it should be a file of lines.",
                    )
                yield line
    except OSError as error:
        raise translate(error, name) from error


def read_beginning(name: str) -> bytes:
    """The first few thousand bytes."""
    try:
        with _open(name) as file:
            return file.read(_BEGINNING_BYTES)
    except OSError as error:
        raise translate(error, name) from error
