"""Where everything of a cache lies: names below the folder that the user gave, made in one place.

cache/batten-cache-1/entries/ab/cdef…/manifest     an entry: what it is, or the value itself
cache/batten-cache-1/entries/ab/cdef…/files/…          its files
cache/batten-cache-1/building/<key>.<host>-<pid>-<random>/     being made
cache/batten-cache-1/set-aside/<key>.<host>-<pid>-<random>/    damaged
cache/batten-cache-1/locks/<key>                       who builds it
cache/batten-cache-1/checked/<boot>/<key>              read through since the machine started
cache/batten-cache-1/statistics/counts.<host>-<pid>-<random>    what one process did
cache/batten-cache-1/statistics/total                           what processes did that have ended
cache/batten-cache-1/budget                            lock; its text is the sum of all sizes
cache/batten-cache-1/swept                             its time is that of the last sweep
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from batten.model.patterns import pattern

CACHE_FORMAT = 1
"""Version of everything in a cache. Each version is a generation, with a folder of its own."""

CACHE_PREFIX = "batten-cache-"
"""How the folders begin in which a cache keeps all that it has, one of each format."""

_GENERATION = pattern(rf"{CACHE_PREFIX}(0|[1-9]\d{{0,8}})", re.ASCII)
_KEY = pattern(r"[0-9a-f]{64}")
_SHARD = pattern(r"[0-9a-f]{2}")
_REST = pattern(r"[0-9a-f]{62}")
_OWNED = pattern(r"([0-9a-f]{64})\.[^/]+-\d+-[0-9a-f]+", re.ASCII)
_COUNTS = pattern(r"(?:counts|total)\.[^/]+-\d+-[0-9a-f]+", re.ASCII)
_BOOT = pattern(r"[0-9a-f-]{36}")

MANIFEST = "manifest"
FILES = "files"
TOTAL = "total"


@dataclass(frozen=True, slots=True)
class CacheLayout:
    """Absolute paths of one generation of the cache in the folder `root`."""

    root: str
    generation: int = CACHE_FORMAT

    @property
    def home(self) -> str:
        return f"{self.root}/{CACHE_PREFIX}{self.generation}"

    @property
    def entries(self) -> str:
        return f"{self.home}/entries"

    @property
    def building(self) -> str:
        return f"{self.home}/building"

    @property
    def set_aside(self) -> str:
        return f"{self.home}/set-aside"

    @property
    def locks(self) -> str:
        return f"{self.home}/locks"

    @property
    def checked(self) -> str:
        return f"{self.home}/checked"

    @property
    def statistics(self) -> str:
        return f"{self.home}/statistics"

    @property
    def budget(self) -> str:
        return f"{self.home}/budget"

    @property
    def swept(self) -> str:
        return f"{self.home}/swept"

    def entry(self, key: str) -> str:
        return f"{self.entries}/{key[:2]}/{key[2:]}"

    def lock(self, key: str) -> str:
        return f"{self.locks}/{key}"

    def checked_mark(self, boot: str, key: str) -> str:
        return f"{self.checked}/{boot}/{key}"


def find_generation(name: str) -> int | None:
    """The generation that a folder in the cache's folder is of, or None: it is not the cache's."""
    match = _GENERATION.fullmatch(name)
    return int(match[1]) if match else None


def is_key(name: str) -> bool:
    return _KEY.fullmatch(name) is not None


def is_shard(name: str) -> bool:
    return _SHARD.fullmatch(name) is not None


def is_entry(name: str) -> bool:
    """Whether a name within a shard is that of an entry."""
    return _REST.fullmatch(name) is not None


def is_boot(name: str) -> bool:
    return _BOOT.fullmatch(name) is not None


def is_counts(name: str) -> bool:
    """Whether a name in `statistics` is that of one process."""
    return _COUNTS.fullmatch(name) is not None


def find_owned_key(name: str) -> str | None:
    """The key of a folder in `building` or `set-aside`, or None if it is not the cache's."""
    match = _OWNED.fullmatch(name)
    return match[1] if match else None
