"""Finding entries, and setting damaged ones aside.

A reader holds the manifest shared for as long as it uses the files. Whoever removes or moves an
entry holds it exclusively, so no file goes while it is in use.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from batten.cache.cache_files import hold_file, open_file, read_manifest
from batten.model.cached.cache_names import FILES, MANIFEST, CacheLayout
from batten.model.cached.manifests import (
    SIZE_BYTES,
    Manifest,
    check_body,
    decode_listing,
    decode_manifest,
    find_size,
)
from batten.model.disk.records import Unreadable
from batten.storage.beneath import close_read
from batten.storage.changing.publishing import fresh_name
from batten.storage.local import folders
from batten.storage.local.locking.held import Held
from batten.storage.local.owner_rule import read_owned

CLOCK_NANOSECONDS = 60_000_000_000
"""The time of an entry's last use is told to the disk when it is off by so much."""

_PATIENCE_SECONDS = 0.001
_KNOWN_MAX = 10_000
_TRIES = 20
"""An entry that is asked whether it is in use is held exclusively for an instant."""


@dataclass(slots=True)
class Opened:
    """An entry that is held. `files` is its folder of files, if it is no entry of a value."""

    held: Held
    files: str


class KeptEntries:
    """`boot` names the start of the machine; empty if it is not known.

    Entries with files that were found in order are remembered by their manifest's inode and the
    time in which their folder last got or lost a name. While these are the same, nothing needs to
    be read again."""

    def __init__(self, layout: CacheLayout, boot: str) -> None:
        self.layout = layout
        self.boot = boot
        self._known: dict[str, tuple[int, int]] = {}

    def find(self, key: str, *, should_check: bool = False) -> Opened | None:
        """The entry, held; None if there is none that can be used. An entry that was written
        before the machine started is read through when it is first found, and always with
        `should_check`: nothing is synced, so a power cut may have torn it."""
        folder = self.layout.entry(key)
        path = f"{folder}/{MANIFEST}"
        for _ in range(_TRIES):
            held = hold_file(path)
            if held is None:
                return None
            opened = None
            try:
                if not held.try_lock(is_shared=True):
                    time.sleep(_PATIENCE_SECONDS)
                    continue
                status = held.find_status(path)
                if status is not None:
                    opened = self._load(key, folder, held, status, should_check)
                    return opened
            finally:
                if opened is None:
                    held.release()
        return None

    def _load(
        self, key: str, folder: str, held: Held, status: os.stat_result, should_check: bool
    ) -> Opened | None:
        files = f"{folder}/{FILES}"
        known = self._known.get(key)
        try:
            seen = (status.st_ino, os.stat(files).st_mtime_ns) if known is not None else None
            if seen is None or seen != known or should_check:
                self._look_through(key, held, status, files, should_check)
        except (Unreadable, FileNotFoundError, NotADirectoryError):
            return None
        _tell_time(held.descriptor, status)
        return Opened(held, files)

    def find_value(self, key: str) -> bytes | None:
        """The value, or None if there is none that can be used. A value need not be held. It is
        read whole, from a file that nobody changes, and its digest is always checked."""
        opened = open_file(f"{self.layout.entry(key)}/{MANIFEST}")
        if opened is None:
            return None
        descriptor, status = opened
        try:
            manifest, body = read_manifest(descriptor, status.st_size)
            check_body(manifest, body)
            _tell_time(descriptor, status)
        except Unreadable:
            return None
        finally:
            close_read(descriptor)
        return body if manifest.is_value else None

    def find_owned_value(self, key: str) -> bytes | None:
        """The same, of a value that only oneself or root can have written. Raises `NotOwned`."""
        root = self.layout.root
        name = f"{self.layout.entry(key)}/{MANIFEST}".removeprefix(f"{root}/")
        try:
            manifest, body = decode_manifest(read_owned(root, name))
            return check_body(manifest, body) if manifest.is_value else None
        except (FileNotFoundError, NotADirectoryError, Unreadable):
            return None

    def _look_through(
        self, key: str, held: Held, status: os.stat_result, files: str, should_check: bool
    ) -> None:
        """Raises `Unreadable` if the entry is not in order."""
        manifest, body = read_manifest(held.descriptor, status.st_size)
        if manifest.is_value:
            check_body(manifest, body)
            return
        folder = os.lstat(files)
        if not stat.S_ISDIR(folder.st_mode):
            raise Unreadable("its folder of files is none")
        if len(os.listdir(files)) != manifest.top_names or not manifest.top_names:
            raise Unreadable("files are missing, or too many")
        if should_check:
            _check(manifest, body, files)
        elif manifest.boot != self.boot or not self.boot:
            self._check_once(key, manifest, body, files)
        if len(self._known) >= _KNOWN_MAX:
            self._known.clear()
        self._known[key] = (status.st_ino, folder.st_mtime_ns)

    def _check_once(self, key: str, manifest: Manifest, body: bytes, files: str) -> None:
        mark = self.layout.checked_mark(self.boot, key) if self.boot else ""
        if mark and os.path.exists(mark):
            return
        _check(manifest, body, files)
        if mark:
            with suppress(OSError):
                folders.write_new(mark, b"", below=self.layout.root)

    def is_there(self, key: str) -> bool:
        """Whether there is a manifest under this key, whatever it is worth."""
        return os.path.lexists(f"{self.layout.entry(key)}/{MANIFEST}")

    def set_aside(self, key: str) -> int | None:
        """Move an entry away that can't be used. Gives the size that it was counted with. None if
        there was no entry, or if it is in use. Only while the key's lock is held."""
        folder = self.layout.entry(key)
        if not os.path.lexists(folder):
            return None
        held = hold_file(f"{folder}/{MANIFEST}")
        try:
            if held is not None and not held.try_lock(is_shared=False):
                return None
            size = find_size(os.pread(held.descriptor, SIZE_BYTES, 0)) if held is not None else 0
            aside = fresh_name(self.layout.set_aside, key)
            return size or 0 if folders.move_folder(folder, aside, below=self.layout.root) else None
        except FileNotFoundError:
            return None
        finally:
            if held is not None:
                held.release()


@contextmanager
def key_held(layout: CacheLayout, key: str) -> Iterator[bool]:
    """Whether the lock of the key is held within: nobody makes an entry of it then. It is not
    waited for."""
    path = layout.lock(key)
    lock = folders.lock_within(path, should_wait=False, below=layout.root)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            folders.remove_file(path, below=layout.root)
            lock.release()


def _tell_time(descriptor: int, status: os.stat_result) -> None:
    """Tell the disk of this use, if it was last told some time ago."""
    now = time.time_ns()
    if not 0 <= now - status.st_mtime_ns < CLOCK_NANOSECONDS:
        with suppress(OSError):
            folders.set_time(descriptor, now)


def _check(manifest: Manifest, body: bytes, files: str) -> None:
    """Read all files through. Raises `Unreadable` if anything is not as it was written."""
    listing = decode_listing(manifest, body)
    expected: dict[str, tuple[int, str]] = dict.fromkeys(listing.folders, (-2, ""))
    expected |= {name: (size, digest) for name, size, digest in listing.files()}
    sizes = {name: size for name, size, _ in listing.files()}
    for content in folders.list_contents(files, sizes):
        found = (-2, "") if content.is_folder else (content.size, content.digest)
        if expected.pop(content.name, None) != found:
            raise Unreadable(f"{content.name} is not as it was written")
    if expected:
        raise Unreadable(f"{next(iter(expected))} is missing")
