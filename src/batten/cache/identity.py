"""What the key of an entry is made of: plain values, files by their identity, functions by theirs.

A file is told by its place, size, inode, and times of change, or by its name and content. A folder
is known by all that is in it.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path, PurePath
from typing import Any

from batten.errors import UsageError
from batten.fingerprint.loaded import digest_loaded
from batten.model.cached.cache_keys import digest_key, encode_key
from batten.storage.local.folders import digest_file

_TICK_NANOSECONDS = 20_000_000
_COARSE_TICK_NANOSECONDS = 2_000_000_000
_SECOND_NANOSECONDS = 1_000_000_000

Status = tuple[int, int, int, int, int]


class Identifier:
    """Makes the digests of keys. Threads may share it."""

    def __init__(self, *, by_content: bool) -> None:
        self._by_content = by_content
        self._digests: dict[str, tuple[Status, str]] = {}

    def identify(self, key: Any) -> KeyIdentity:
        """Raises `UsageError` for what has no identity: nothing is left out of a key."""
        identity = KeyIdentity()
        try:
            identity.digest = digest_key(key, lambda value: self._describe(value, identity.inputs))
        except RecursionError as error:
            raise UsageError(
                "The key of the cache is nested too deeply, or holds itself.",
                safe="Nothing was cached.",
                next="Give plain values: numbers, texts, tuples, dicts, paths, functions.",
            ) from error
        return identity

    def _describe(self, value: Any, inputs: dict[str, Status | None]) -> bytes:
        if isinstance(value, Path):
            return encode_key(("path", self._describe_path(value, inputs)), _refuse)
        if isinstance(value, PurePath):
            return encode_key(("pure path", str(value)), _refuse)
        return encode_key(("described", digest_loaded(value)), _refuse)

    def _describe_path(self, path: Path, inputs: dict[str, Status | None]) -> tuple[Any, ...]:
        place = os.path.abspath(path)
        told = os.path.basename(place) if self._by_content else place
        status = inputs[place] = _settle(place)
        if status is None:
            return (told, "absent")
        if stat.S_ISDIR(status[0]):
            within = [self._describe_path(path / name, inputs) for name in sorted(_names(place))]
            return (told, "folder", within)
        if not stat.S_ISREG(status[0]):
            raise UsageError(
                f"{place!r} can't be part of a key of the cache: it is no file and no folder.",
                safe="Nothing was cached.",
                next="Give what tells it apart instead, as a text.",
            )
        if self._by_content:
            return (told, "content", status[1], self._digest(place, status))
        return (told, "status", *status[1:])

    def _digest(self, place: str, status: Status) -> str:
        known = self._digests.get(place)
        if known is None or known[0] != status:
            known = self._digests[place] = (status, digest_file(place)[1])
        return known[1]


class KeyIdentity:
    """The digest of a key, and the files and folders that it was made of."""

    __slots__ = ("digest", "inputs")

    def __init__(self) -> None:
        self.digest = ""
        self.inputs: dict[str, Status | None] = {}

    def are_inputs_unchanged(self) -> bool:
        """Whether the files still are what they were when the key was made."""
        return all(_observe(place) == status for place, status in self.inputs.items())


def _names(folder: str) -> list[str]:
    return os.listdir(folder)


def _refuse(value: object) -> bytes:
    raise TypeError(f"not plain: {type(value)}")


def _observe(place: str) -> Status | None:
    """Mode, size, inode, and the times of change of content and inode; None if nothing is."""
    try:
        status = os.stat(place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    mode = stat.S_IFMT(status.st_mode)
    return (mode, status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)


def _settle(place: str) -> Status | None:
    """What is observed, a tick of the filesystem's clock after the last change: a later change is
    then sure to show in the times."""
    while True:
        status = _observe(place)
        if status is None:
            return None
        changed = status[-1]
        is_coarse = changed % _SECOND_NANOSECONDS == 0
        tick = _COARSE_TICK_NANOSECONDS if is_coarse else _TICK_NANOSECONDS
        age = time.time_ns() - changed
        if not 0 <= age < tick:
            return status
        time.sleep((tick - age) / _SECOND_NANOSECONDS)
