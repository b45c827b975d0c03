"""What is left over in a cache, and removing it.

    builds that were abandoned, locks that nobody holds, marks of earlier starts of the machine,
    entries that were set aside, generations of an earlier batten

Observed first, then removed; a dry run is the first half. Only names that the cache gives are
touched.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from typing import Any

from batten.cache.cache_files import hold_file, is_held
from batten.cache.clearing.budget import scan_keys
from batten.cache.clearing.counts import Counter, merge_ended
from batten.cache.kept_entries import key_held
from batten.model.cached.cache_names import (
    CACHE_FORMAT,
    MANIFEST,
    CacheLayout,
    find_generation,
    find_owned_key,
    is_boot,
    is_key,
)
from batten.model.value_class import value_class
from batten.storage.local import folders
from batten.storage.local.there import lies

_SWEEP_SECONDS = 3600.0
_HOUR_SECONDS = 3600.0
_DAY_SECONDS = 86400.0


class LeftoverKind(StrEnum):
    """What a leftover is."""

    ABANDONED_BUILD = "abandoned build"
    UNUSED_LOCK = "unused lock"
    EARLIER_MARKS = "marks of an earlier start"
    SET_ASIDE = "set aside"
    OLDER_GENERATION = "older generation"
    HALF_REMOVED = "half removed"


AGE_SECONDS = {
    LeftoverKind.ABANDONED_BUILD: _HOUR_SECONDS,
    LeftoverKind.UNUSED_LOCK: _HOUR_SECONDS,
    LeftoverKind.EARLIER_MARKS: 7 * _DAY_SECONDS,
    LeftoverKind.SET_ASIDE: 7 * _DAY_SECONDS,
    LeftoverKind.OLDER_GENERATION: 30 * _DAY_SECONDS,
    LeftoverKind.HALF_REMOVED: _HOUR_SECONDS,
}
"""How long each is left alone, from its last change on."""


@value_class
class Leftover:
    """Something in a cache that nobody will use: its path and its age in seconds."""

    kind: LeftoverKind
    path: str
    age_seconds: float

    def to_json(self) -> dict[str, Any]:
        """As `batten cache --json` shows it."""
        return {
            "kind": self.kind.value,
            "path": self.path,
            "age_seconds": round(self.age_seconds),
        }


def sweep_if_due(layout: CacheLayout, counter: Counter) -> None:
    """Remove what is left over, unless somebody did so within the last hour, or does so now."""
    with suppress(FileNotFoundError):
        if 0 <= time.time() - os.stat(layout.swept).st_mtime < _SWEEP_SECONDS:
            return
    held = folders.lock_within(layout.swept, should_wait=False, below=layout.root)
    if held is None:
        return
    try:
        folders.set_time(held.descriptor, time.time_ns())
        remove_leftovers(layout, list(find_leftovers(layout)), counter)
        merge_ended(layout)
    finally:
        held.release()


def find_leftovers(
    layout: CacheLayout, *, is_thorough: bool = False, is_any_age: bool = False
) -> Iterator[Leftover]:
    """What is old enough to be removed, and in nobody's hands. `is_thorough` also looks at every
    entry for those whose removal was cut off."""
    for kind, path in itertools.chain(_find(layout), _find_halves(layout) if is_thorough else ()):
        with suppress(FileNotFoundError, NotADirectoryError):
            age = time.time() - _last_change(kind, path)
            is_old = age >= AGE_SECONDS[kind]
            if (is_old or (is_any_age and not _may_begin(kind, path))) and not _is_held(kind, path):
                yield Leftover(kind=kind, path=path, age_seconds=age)


def remove_leftovers(
    layout: CacheLayout, found: list[Leftover], counter: Counter | None = None
) -> None:
    """Remove them, but what came into use meanwhile."""
    for leftover in found:
        if leftover.kind is LeftoverKind.UNUSED_LOCK:
            _remove_lock(layout, leftover.path)
        elif leftover.kind is LeftoverKind.ABANDONED_BUILD:
            if _remove_build(layout, leftover.path) and counter is not None:
                counter.add("abandoned_builds")
        elif leftover.kind is LeftoverKind.HALF_REMOVED:
            _remove_half(layout, leftover.path)
        else:
            folders.remove_tree(leftover.path, below=layout.root)


def _find(layout: CacheLayout) -> Iterator[tuple[LeftoverKind, str]]:
    for folder, kind in (
        (layout.building, LeftoverKind.ABANDONED_BUILD),
        (layout.set_aside, LeftoverKind.SET_ASIDE),
    ):
        for name in _names(folder):
            if find_owned_key(name) is not None:
                yield kind, f"{folder}/{name}"
    for name in _names(layout.locks):
        if is_key(name):
            yield LeftoverKind.UNUSED_LOCK, f"{layout.locks}/{name}"
    for name in _names(layout.checked):
        if is_boot(name):
            yield LeftoverKind.EARLIER_MARKS, f"{layout.checked}/{name}"
    for name in _names(layout.root):
        generation = find_generation(name)
        if generation is not None and generation < CACHE_FORMAT:
            yield LeftoverKind.OLDER_GENERATION, f"{layout.root}/{name}"


def _find_halves(layout: CacheLayout) -> Iterator[tuple[LeftoverKind, str]]:
    for key in scan_keys(layout):
        entry = layout.entry(key)
        if not lies(f"{entry}/{MANIFEST}"):
            yield LeftoverKind.HALF_REMOVED, entry


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _last_change(kind: LeftoverKind, path: str) -> float:
    """Of a generation: when it was last used, which shows in its statistics."""
    if kind is not LeftoverKind.OLDER_GENERATION:
        return os.lstat(path).st_mtime
    places = [path, f"{path}/budget", f"{path}/statistics"]
    places += [f"{path}/statistics/{name}" for name in _names(f"{path}/statistics")]
    return max(os.lstat(place).st_mtime for place in places if lies(place))


def _is_held(kind: LeftoverKind, path: str) -> bool:
    """Whether a live process has it in hand."""
    if kind not in (LeftoverKind.ABANDONED_BUILD, LeftoverKind.UNUSED_LOCK):
        return False
    return is_held(path if kind is LeftoverKind.UNUSED_LOCK else f"{path}/{MANIFEST}")


def _may_begin(kind: LeftoverKind, path: str) -> bool:
    """A build is held by its manifest, which is made a moment after the folder."""
    return kind is LeftoverKind.ABANDONED_BUILD and not lies(f"{path}/{MANIFEST}")


def _remove_build(layout: CacheLayout, path: str) -> bool:
    """Remove it while it is held, so that nobody goes on with it. Whether it was removed."""
    held = hold_file(f"{path}/{MANIFEST}")
    if held is None:
        folders.remove_tree(path, below=layout.root)
        return True
    try:
        is_removable = held.try_lock(is_shared=False)
        if is_removable:
            folders.remove_tree(path, first=MANIFEST, below=layout.root)
    finally:
        held.release()
    return is_removable


def _remove_half(layout: CacheLayout, path: str) -> None:
    """While nobody can put a whole entry in its place."""
    key = "".join(path.split("/")[-2:])
    with key_held(layout, key) as is_held:
        if is_held and not lies(f"{path}/{MANIFEST}"):
            folders.remove_tree(path, below=layout.root)


def _remove_lock(layout: CacheLayout, path: str) -> None:
    """Remove it while it is held, so that nobody is left with a lock that has no name."""
    held = hold_file(path)
    if held is None:
        folders.remove_tree(path, below=layout.root)
        return
    try:
        if held.try_lock(is_shared=False) and held.find_status(path) is not None:
            folders.remove_file(path, below=layout.root)
    finally:
        held.release()
