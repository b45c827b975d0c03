"""Looking at a cache as a whole, and clearing it up: what the commands and `Cache.clean` do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from batten.cache.clearing.budget import Budget, Used, is_in_use, read_size, scan_keys, scan_sizes
from batten.cache.clearing.counts import Counter, Counts, load_total
from batten.cache.clearing.sweep import Leftover, find_leftovers, remove_leftovers
from batten.cache.kept_entries import KeptEntries, key_held
from batten.errors import RefusedError
from batten.model.cached.cache_names import CacheLayout
from batten.model.value_class import value_class
from batten.storage.addresses import local_path
from batten.storage.failures import reading_failure, writing_failure
from batten.storage.local.there import is_folder
from batten.storage.machine import Machine


@value_class
class CacheOverview:
    """What a cache holds, and what was done with it. Sizes are bytes on disk."""

    path: str
    entries: int
    bytes: int
    in_use: int
    counts: Counts
    leftovers: list[Leftover]

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "path": self.path,
            "entries": self.entries,
            "bytes": self.bytes,
            "in_use": self.in_use,
            "counts": dict(vars(self.counts)),
            "leftovers": [each.to_json() for each in self.leftovers],
        }


@value_class
class CacheVerification:
    """`damaged` are the paths of entries that are not as they were written; `set_aside` those of
    them that were moved away, so that they are made anew."""

    path: str
    entries: int
    bytes: int
    damaged: list[str]
    set_aside: list[str]

    @property
    def is_sound(self) -> bool:
        return len(self.damaged) == len(self.set_aside)

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return dict(vars(self))


@value_class
class Evicted:
    """An entry that goes, and its size in bytes."""

    path: str
    bytes: int


@value_class
class CacheCleaning:
    """What was removed, or would be. `bytes` is what is left; `held_over_budget` by how much
    `in_use` entries hold that over the budget."""

    path: str
    is_dry_run: bool
    leftovers: list[Leftover]
    evicted: list[Evicted]
    in_use: int
    bytes: int
    held_over_budget: int

    @property
    def evicted_bytes(self) -> int:
        return sum(each.bytes for each in self.evicted)

    def to_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "path": self.path,
            "dry_run": self.is_dry_run,
            "leftovers": [each.to_json() for each in self.leftovers],
            "evicted": [dict(vars(each)) for each in self.evicted],
            "evicted_bytes": self.evicted_bytes,
            "in_use": self.in_use,
            "bytes": self.bytes,
            "held_over_budget": self.held_over_budget,
        }


def show_cache(path: str | os.PathLike[str]) -> CacheOverview:
    """Reads only. Raises `RefusedError` if there is no cache."""
    layout = find_cache(path)
    with _told(layout):
        sizes = list(scan_sizes(layout))
        return CacheOverview(
            path=os.fspath(path),
            entries=len(sizes),
            bytes=sum(size for _, size in sizes),
            in_use=sum(is_in_use(layout, used.key) for used, _ in sizes),
            counts=load_total(layout),
            leftovers=list(find_leftovers(layout, is_thorough=True)),
        )


def verify_cache(
    path: str | os.PathLike[str], *, should_set_aside: bool = False
) -> CacheVerification:
    """Read every byte of every entry. Raises `RefusedError` if there is no cache."""
    layout = find_cache(path)
    kept = KeptEntries(layout, Machine().observe_boot())
    damaged, aside, entries, size = [], [], 0, 0
    with _told(layout):
        for key in sorted(scan_keys(layout)):
            opened = kept.find(key, should_check=True)
            if opened is not None:
                entries, size = entries + 1, size + read_size(layout, key)
                opened.held.release()
            elif kept.is_there(key):
                damaged.append(layout.entry(key))
                if should_set_aside:
                    with key_held(layout, key) as is_held:
                        if is_held and kept.set_aside(key) is not None:
                            aside.append(layout.entry(key))
    return CacheVerification(
        path=os.fspath(path), entries=entries, bytes=size, damaged=damaged, set_aside=aside
    )


def clean_cache(
    path: str | os.PathLike[str],
    *,
    max_bytes: int | None = None,
    is_any_age: bool = False,
    is_dry_run: bool = False,
) -> CacheCleaning:
    """Remove what is left over, and what is more than `max_bytes`, those used longest ago first.
    What is in use stays. Raises `RefusedError` if there is no cache."""
    layout = find_cache(path)
    with _told(layout):
        leftovers = list(find_leftovers(layout, is_thorough=True, is_any_age=is_any_age))
        sizes = sorted(scan_sizes(layout))
        chosen, in_use = _choose(layout, sizes, max_bytes)
        left = sum(size for _, size in sizes) - sum(size for _, size in chosen)
        if not is_dry_run:
            counter = Counter(layout)
            remove_leftovers(layout, leftovers, counter)
            budget = Budget(
                layout, counter, Machine().observe_boot(), max_bytes=max_bytes, disk_free_min=0
            )
            budget.remove(used for used, _ in chosen)
    return CacheCleaning(
        path=os.fspath(path),
        is_dry_run=is_dry_run,
        leftovers=leftovers,
        evicted=[Evicted(path=layout.entry(used.key), bytes=size) for used, size in chosen],
        in_use=in_use,
        bytes=left,
        held_over_budget=max(0, left - max_bytes) if max_bytes is not None else 0,
    )


def find_cache(path: str | os.PathLike[str]) -> CacheLayout:
    """Raises `RefusedError` if there is no cache, and `StorageError` if that can't be told."""
    layout = CacheLayout(os.path.abspath(local_path(path)))
    try:
        is_there = is_folder(layout.home)
    except OSError as error:
        raise reading_failure(error, "Looking for", layout.home) from error
    if not is_there:
        raise RefusedError(
            f"There is no cache of this batten in {os.fspath(path)!r}.",
            safe="Nothing was changed.",
            next="Give the folder that batten.Cache(…) was given.",
        )
    return layout


def _choose(
    layout: CacheLayout, sizes: list[tuple[Used, int]], max_bytes: int | None
) -> tuple[list[tuple[Used, int]], int]:
    """Which entries go, and how many of those that should are in use."""
    left = sum(size for _, size in sizes)
    chosen, in_use = [], 0
    for used, size in sizes:
        if max_bytes is None or left <= max_bytes:
            break
        if is_in_use(layout, used.key):
            in_use += 1
            continue
        chosen.append((used, size))
        left -= size
    return chosen, in_use


@contextmanager
def _told(layout: CacheLayout) -> Iterator[None]:
    """Failures of the machine are told as those of other commands."""
    try:
        yield
    except OSError as error:
        path = error.filename if isinstance(error.filename, str) else layout.home
        raise writing_failure(error, "Going through the cache:", path) from error
