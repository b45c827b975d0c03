"""Files that records are read from: of this machine, or objects of a store (decision 0127).

A source knows an `InputFile`, and asks it for its bytes. Who opens one reads one version of it to
the end. A store refuses the rest of an object that has changed, so no record is a mixture.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from batten.sources.identity.digests import changed_at_work
from batten.sources.paths import (
    CORRECT_PATH,
    absent_input,
    require_file,
    show_path,
    source_error,
    translated_errors,
    written_path,
)
from batten.storage.base import Store
from batten.storage.failures import OtherVersionError
from batten.storage.local.there import is_folder
from batten.storage.plugin import StoreAddress, find_store
from batten.storage.relative import last_piece

_BUFFER_BYTES = 1 << 20


class InputFile(Protocol):
    """A file, or a folder of files."""

    @property
    def place(self) -> Path | str:
        """Where it is: an absolute path, or an address as a text."""
        ...

    @property
    def name(self) -> str:
        """The last piece of the place."""
        ...

    def require(self) -> None:
        """Raises `StorageError` if nothing is there, which may pass, and `UsageError` unless it is
        a file that can be read more than once."""
        ...

    def list_files(self, accepts: Callable[[str], bool]) -> list[InputFile] | None:
        """What lies directly in the folder under such names, in the order of their bytes; None
        unless it is a folder."""
        ...

    def is_among(self, real_paths: frozenset[str]) -> bool:
        """Whether it is one of these, which are paths of this machine without links."""
        ...

    def open(self) -> io.BufferedReader:
        """For reading at random. Raises `OSError` or `StorageError`. So does each read, and
        `RefusedError` where another version is there by now."""
        ...


def find_input(written: str | os.PathLike[str], folder: Path) -> tuple[InputFile, str]:
    """What a user named, and the name as it was written. A relative path is relative to `folder`.
    Raises `UsageError` for what is neither a path nor the address of a store that a package
    brings."""
    if isinstance(written, str) and (there := find_store(written, folder)) is not None:
        return ObjectFile(there), written
    path = written_path(written)
    return LocalFile(Path(folder, path).absolute()), path


def find_place(written: str | os.PathLike[str], folder: Path) -> tuple[Path | str, str]:
    """The same of what need not be a file: an absolute path, or an address as a text."""
    found, as_written = find_input(written, folder)
    return found.place, as_written


class LocalFile:
    """Implements `InputFile`."""

    def __init__(self, path: Path) -> None:
        self.place = path

    @property
    def name(self) -> str:
        return self.place.name

    def require(self) -> None:
        require_file(self.place)

    def list_files(self, accepts: Callable[[str], bool]) -> list[InputFile] | None:
        with translated_errors(self.place):
            if not is_folder(self.place):
                return None
            names = sorted(filter(accepts, os.listdir(self.place)), key=os.fsencode)
            paths = (self.place / name for name in names)
            return [LocalFile(path) for path in paths if not is_folder(path)]

    def is_among(self, real_paths: frozenset[str]) -> bool:
        return os.path.realpath(self.place) in real_paths

    def open(self) -> io.BufferedReader:
        return self.place.open("rb")


class ObjectFile:
    """Implements `InputFile`."""

    def __init__(self, address: StoreAddress) -> None:
        self._address = address

    @property
    def place(self) -> str:
        return self._address.shown

    @property
    def name(self) -> str:
        return last_piece(self._address.name)

    @cached_property
    def _store(self) -> Store:
        return self._address.open()

    def require(self) -> None:
        found = self._store.find(self._address.name)
        if found is None:
            raise absent_input(f"There is no object {show_path(self.place)}.")
        if found.is_folder:
            raise source_error(
                f"There is no object {show_path(self.place)}, but there are some below it.",
                CORRECT_PATH,
            )

    def list_files(self, accepts: Callable[[str], bool]) -> list[InputFile] | None:
        found = self._store.find(self._address.name)
        if found is None or not found.is_folder:
            return None
        files = (each for each in self._store.list(self._address.name) if each.is_file)
        names = sorted(filter(accepts, (last_piece(each.name) for each in files)), key=os.fsencode)
        return [self._within(name) for name in names]

    def is_among(self, real_paths: frozenset[str]) -> bool:
        return False

    def open(self) -> io.BufferedReader:
        try:
            file = self._store.open(self._address.name)
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.place) from error
        return io.BufferedReader(_OneVersion(file, self.place), _BUFFER_BYTES)

    def _within(self, name: str) -> ObjectFile:
        address = StoreAddress(
            scheme=self._address.scheme,
            address=self._address.shown,
            name=name,
            folder=self._address.folder,
        )
        return ObjectFile(address)


class _OneVersion(io.RawIOBase):
    """Tells a change for what it is: nobody's failure."""

    def __init__(self, file: BinaryIO, place: str) -> None:
        self._file, self._place = file, place

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        try:
            return self._file.readinto(buffer)  # type: ignore[attr-defined, no-any-return]
        except OtherVersionError as error:
            told = f"{show_path(self._place)} was changed while the run was at work."
            raise changed_at_work(told) from error

    def close(self) -> None:
        self._file.close()
        super().close()
