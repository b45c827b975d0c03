"""Files and folders that appear whole and durable, or not at all: the pieces that stand alone."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, TextIO, TypeVar, overload

from batten.errors import RefusedError
from batten.storage.addresses import local_path
from batten.storage.beneath import close_read
from batten.storage.changing import steps
from batten.storage.failures import publishing_failure
from batten.storage.local.locking.held import Held, open_held
from batten.storage.local.throwaway import held_throwaway

Result = TypeVar("Result")

_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_OCCUPIED = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR})


@overload
def publish_file(
    path: str | os.PathLike[str], mode: Literal["wb"] = "wb"
) -> AbstractContextManager[BinaryIO]: ...


@overload
def publish_file(
    path: str | os.PathLike[str],
    mode: Literal["w"],
    *,
    encoding: str = "utf-8",
    newline: str | None = None,
) -> AbstractContextManager[TextIO]: ...


def publish_file(
    path: str | os.PathLike[str],
    mode: Literal["wb", "w"] = "wb",
    *,
    encoding: str = "utf-8",
    newline: str | None = None,
) -> AbstractContextManager[Any]:
    """Give a file to write, which takes its place in one step when the block ends well.

    Until then the data lies beside `path`, in a hidden file. If a process is killed, the next one
    that publishes to `path` removes what it left.

    Args:
        path: The file. One that is there is replaced; its permissions are kept.
        mode: "wb" for bytes, the default, or "w" for text.
        encoding: Of text; "utf-8" by default.
        newline: Of text, as for the built-in `open`; None by default.

    Returns:
        A context manager that gives the open file.

    Raises:
        ValueError: `mode` is another one. Nothing was changed.
        StorageError: The folder is missing, full or read-only, or the disk fails. A file that was
            there stays; if only the last sync failed, it may be replaced already.
    """
    if mode not in ("wb", "w"):
        raise ValueError(f"the mode is {mode!r}; it can be 'wb' or 'w'")
    text = {"encoding": encoding, "newline": newline} if mode == "w" else {}
    return _publish_file(os.path.realpath(local_path(path)), mode, text)


@contextmanager
def publish_directory(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a folder to fill, which takes its place in one step when the block ends well.

    Every file and folder in it is durable by then. After an exception in the block nothing has
    changed.

    Args:
        path: The folder. It must not be there, or be empty.

    Yields:
        The folder to fill, under a hidden name beside `path`.

    Raises:
        RefusedError: There is something at `path` already. It was not touched.
        StorageError: The disk fails, or a permission is missing. If only the last sync failed, the
            folder may be at its place already.
    """
    target = os.path.realpath(local_path(path))
    if os.path.lexists(target) and not (os.path.isdir(target) and not os.listdir(target)):
        raise _refused(target)
    with _throwaway(target, "publish_directory.create", _make_folder) as (throwaway, _):
        yield Path(throwaway)
        _do(target, "publish_directory.sync", _sync_tree, throwaway)
        try:
            steps.do("publish_directory.rename", target, os.rename, throwaway, target)
        except OSError as error:
            if error.errno in _OCCUPIED:
                raise _refused(target) from error
            raise publishing_failure(error, target) from error
    _do(target, "sync_names", _sync, os.path.dirname(target))


@contextmanager
def _publish_file(target: str, mode: str, text: dict[str, Any]) -> Iterator[IO[Any]]:
    if os.path.isdir(target):
        folder_error = IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
        raise publishing_failure(folder_error, target)
    with _throwaway(target, "publish_file.create", _make_file) as (throwaway, held):
        # The descriptor is kept, so that the data can be synced if the block closes the file. It
        # is not the lock's, which a forked child closes.
        descriptor = os.dup(held.descriptor)
        try:
            file = open(descriptor, mode, closefd=False, **text)  # noqa: SIM115 - closed below
            try:
                yield file
                _do(target, "publish_file.sync", _finish_file, file, descriptor, target)
            except BaseException:
                # Else it would try to write what it holds when the descriptor is another file's.
                with suppress(OSError):
                    file.close()
                raise
        finally:
            close_read(descriptor)
        _do(target, "publish_file.rename", os.rename, throwaway, target)
    _do(target, "sync_names", _sync, os.path.dirname(target))


def _throwaway(
    target: str, step: steps.Step, make: Callable[[str], Held]
) -> AbstractContextManager[tuple[str, Held]]:
    return held_throwaway(target, lambda path: _do(target, step, make, path))


def _make_file(path: str) -> Held:
    return open_held(path, _CREATE)


def _make_folder(path: str) -> Held:
    os.mkdir(path)
    return open_held(path)


def _do(target: str, step: steps.Step, action: Callable[..., Result], *arguments: object) -> Result:
    try:
        return steps.do(step, target, action, *arguments)
    except OSError as error:
        raise publishing_failure(error, target) from error


def _finish_file(file: IO[Any], descriptor: int, target: str) -> None:
    file.close()
    with suppress(FileNotFoundError):
        os.fchmod(descriptor, stat.S_IMODE(os.stat(target).st_mode))
    os.fsync(descriptor)


def _sync_tree(folder: str) -> None:
    for parent, _, names in os.walk(folder, topdown=False, onerror=_raise):
        for name in names:
            path = os.path.join(parent, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                _sync(path)
        _sync(parent)


def _raise(error: OSError) -> None:
    raise error


def _sync(path: str) -> None:
    descriptor = os.open(path, _READ)
    try:
        os.fsync(descriptor)
    finally:
        close_read(descriptor)


def _refused(target: str) -> RefusedError:
    return RefusedError(
        f"{target!r} is there already, and a folder is never replaced.",
        safe="It was not touched, and nothing was published.",
        next="Choose another path, or move it elsewhere and run again.",
    )
