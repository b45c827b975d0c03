"""Files in an object store that a pattern names (decision 0110).

The key is the path below the pattern's fixed prefix, the version is the object's ETag and size. The
function gets a local copy, which is there as long as anything refers to its `Path`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import weakref
from collections.abc import Iterator
from pathlib import Path, PosixPath
from typing import Any, BinaryIO

from batten.errors import StorageError
from batten.sources.base import ItemsWanted, ScanBlock, Unavailable
from batten.sources.blocks import cut_blocks
from batten.sources.files.files import FileSource
from batten.sources.files.pattern import Pattern, States, split_pattern
from batten.sources.identity.keys import escape_key, unescape_key
from batten.sources.identity.versions import check_changed, version_of_object
from batten.sources.paths import absent_input, source_error
from batten.storage.addresses import find_scheme, has_more_than_a_place
from batten.storage.base import Entry, Store
from batten.storage.failures import OtherVersionError
from batten.storage.local.folder import LocalStorage
from batten.storage.local.locking.locks import current_holder, is_alive
from batten.storage.plugin import StoreAddress, find_store
from batten.storage.relative import last_piece
from batten.storage.staged_here import FOLDER_VARIABLE, staging_folder

_PIECE_BYTES = 1 << 24
"""So much of an object is asked for at a time."""
_TRIES = 3
"""So often is an object copied that changes meanwhile."""
_COPIES = re.compile(r"(?P<machine>[0-9a-f]{16})-(?P<pid>[1-9]\d*)-[0-9a-f]{16}")


def find_files_named(
    pattern: str | os.PathLike[str], *, folder: Path, changed: str, removed: str
) -> FileSource | ObjectFileSource:
    """The files of this machine that the pattern names, or the objects of a store."""
    if isinstance(pattern, str) and find_store(pattern, folder) is not None:
        return ObjectFileSource(pattern, folder=folder, changed=changed, removed=removed)
    return FileSource(pattern, folder=folder, changed=changed, removed=removed)


class ObjectFileSource:
    """The objects at `s3://bucket/prefix/**/*.mp4` and its like, in the order of the bytes of their
    names. What holds for names of files, `FileSource` says. Their ETags are looked at unless
    `changed` is "ignore"."""

    is_keyed = True
    is_counted = False
    has_kinds = True
    inputs: tuple[Path, ...] = ()

    def __init__(
        self, pattern: str, *, folder: Path, changed: str = "stat", removed: str = "keep"
    ) -> None:
        check_changed("from_files", changed, removed, is_file=True)
        if changed == "content":
            raise source_error(
                "from_files(changed='content') would read all objects at each run.",
                "Leave changed= out: a store says by the ETag whether an object has changed.",
            )
        self._is_compared = changed == "stat"
        self.drops_gone = removed == "drop"
        self._written = pattern
        scheme = find_scheme(pattern)
        rest = pattern.partition("://")[2]
        fixed, self._components = split_pattern(rest)
        is_odd = has_more_than_a_place(rest) or ".." in rest.split("/")
        if is_odd or not fixed or not self._components:
            raise source_error(
                "The pattern of an address takes a bucket, a prefix, and names with * or […].",
                f"Write {scheme}://bucket/prefix/**/*.mp4, and give credentials by the "
                "environment.",
            )
        self._address = f"{scheme}://{fixed}"
        self._store = StoreAddress(scheme=scheme, address=self._address, name="", folder=folder)

    @property
    def identity(self) -> dict[str, str]:
        return {"source": f"files {escape_key(self._written)}"}

    def may_list(self, address: str) -> bool:
        """Whether what lies at the address may be among its items."""
        return address.startswith(self._address + "/")

    def count_items(self) -> None:
        return None

    def scan(self) -> Iterator[ScanBlock]:
        for found in cut_blocks(self._find()):
            versions = [version_of_object(each.version, each.size) for each in found]
            yield ScanBlock(
                count=len(found),
                keys=[escape_key(each.name) for each in found],
                digests=b"".join(versions) if self._is_compared else None,
            )

    def open(self) -> ObjectFileReader:
        return ObjectFileReader(self._store.open(), self._address)

    def _find(self) -> Iterator[Entry]:
        store, pattern = self._store.open(), Pattern(self._components)
        if next(iter(store.list("")), None) is None:
            raise absent_input(f"There is nothing at {self._address!r}.")
        return _walk(store, "", pattern, pattern.begin())


def _walk(store: Store, folder: str, pattern: Pattern, states: States) -> Iterator[Entry]:
    """The objects that match, in the order of the bytes of their names."""
    found: list[tuple[bytes, Entry, States | None]] = []
    for entry in store.list(folder):
        name = last_piece(entry.name)
        if not name or entry.name == folder:
            raise source_error(
                f"In {store.place!r} below {folder!r} an object has a name with an empty piece.",
                "Give it another name, or name a prefix that does not hold it.",
            )
        order = os.fsencode(name)
        if entry.is_folder:
            if entered := pattern.enter(states, name):
                found.append((order + b"/", entry, entered))
        elif pattern.accept(states, name):
            found.append((order, entry, None))
    for _, entry, within in sorted(found, key=lambda each: each[0]):
        if within is None:
            yield entry
        else:
            yield from _walk(store, entry.name, pattern, within)


class LocalCopy(PosixPath):
    """The path of a copy of an object. The copy goes when nobody refers to this any more."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path, (str(self),)


class ObjectFileReader:
    """Gives local copies of objects that are there, and `Unavailable` for those that are not."""

    def __init__(self, store: Store, address: str) -> None:
        self._store, self._address = store, address
        self._folder: LocalStorage | None = None
        self._count = 0

    def read(self, wanted: ItemsWanted) -> Iterator[Path | Unavailable]:
        if wanted.keys is None:
            raise ValueError("files are read by their keys")
        for key in wanted.keys:
            name = unescape_key(key)
            if self._folder is None:
                self._folder = _begin_copies()
            try:
                copy: Path | Unavailable = self._copy(self._folder, name)
            except FileNotFoundError:
                told = f"there is no object {self._address}/{name}"
                copy = Unavailable(FileNotFoundError(errno.ENOENT, told))
            yield copy
            # The worker may let go of it before the next one is asked for.
            del copy

    def _copy(self, folder: LocalStorage, name: str) -> Path:
        """Of one version, whole. Raises `FileNotFoundError`, and `StorageError` for an object that
        changes each time that it is read."""
        self._count += 1
        place = str(self._count)
        to = f"{place}/{last_piece(name)}"
        for tries_left in reversed(range(_TRIES)):
            try:
                with self._store.open(name) as file:
                    folder.ensure_folder(place)
                    # A store refuses the rest of an object that has another version by now.
                    folder.stage(to, _read(file), is_synced=False)
                break
            except OtherVersionError:
                if not tries_left:
                    raise
        copy = LocalCopy(f"{folder.place}/{to}")
        weakref.finalize(copy, _remove, os.getpid(), folder, place)
        return copy


def _read(file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(_PIECE_BYTES):
        yield data


def _remove(maker: int, folder: LocalStorage, place: str) -> None:
    """A process that the function forked has the path as well, and may end before."""
    if os.getpid() == maker:
        folder.delete_tree(place)


def _begin_copies() -> LocalStorage:
    """A folder for the copies of this process. Those of dead ones go. Raises `StorageError`."""
    root = f"{staging_folder()}/copies"
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"Objects can't be copied to {root!r}: {os.strerror(error.errno or errno.EIO)}.",
            safe="What was committed before is safe.",
            next=f"Name a folder of this machine by {FOLDER_VARIABLE}, and run it again.",
            errno=error.errno or errno.EIO,
        ) from error
    every, machine = LocalStorage(root), _name_machine()
    for name in list(every.list_names("")):
        found = _COPIES.fullmatch(name)
        if found is not None and found["machine"] == machine and not is_alive(int(found["pid"])):
            every.delete_tree(name)
    own = f"{machine}-{os.getpid()}-{os.urandom(8).hex()}"
    every.ensure_folder(own)
    return LocalStorage(f"{root}/{own}")


def _name_machine() -> str:
    """Stands for where process numbers mean what they mean here: containers may share a folder."""
    here = current_holder()
    told = f"{here.host}\n{here.boot}\n{here.pid_namespace}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]
