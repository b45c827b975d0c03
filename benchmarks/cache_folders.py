"""The cache: entries of 20 files of 100 KB"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diskcache
import joblib

from batten.cache.cache import Cache
from batten.model.cached.cache_names import CacheLayout
from benchmarks.in_process import compare_calls
from benchmarks.measure import Figure

FILES = 20
DATA = [os.urandom(100_000) for _ in range(FILES)]
NAMES = [f"frame-{number:04}.png" for number in range(FILES)]
KEY = ("extract", "clips/beach.mp4", 12.5, (640, 480), None)

Remembered = Callable[[Any], dict[str, bytes]]


def measure(folder: Path, runs: int) -> list[Figure]:
    cache = Cache(folder / "cache", max_bytes=None, disk_free_min=0)
    disk = diskcache.Cache(str(folder / "diskcache"), size_limit=1 << 40)
    remembered = joblib.Memory(str(folder / "joblib"), verbose=0).cache(make_files)
    disk[KEY] = make_files(KEY)
    store_on_diskcache(disk, KEY, make_files(KEY))
    remembered(KEY)
    cache.get_or_create(KEY, build).close()
    try:
        return [
            *compare_hits(cache, disk, remembered, folder / "by-hand", runs),
            *compare_storing(cache, disk, folder / "by-hand", runs),
        ]
    finally:
        disk.close()
        shutil.rmtree(folder / "by-hand")


def compare_hits(
    cache: Cache, disk: diskcache.Cache, remembered: Remembered, by_hand: Path, runs: int
) -> list[Figure]:
    """All who read give the same: the bytes of each file by its name."""
    kept_by_hand = write_by_hand(by_hand / "hit")
    plain = by_hand / "plain"
    plain.mkdir()
    build(plain)

    def hit() -> None:
        cache.get_or_create(KEY, build).close()

    def hit_and_read() -> dict[str, bytes]:
        with cache.get_or_create(KEY, build) as entry:
            return entry.read_files()

    def hit_and_open_each() -> dict[str, bytes]:
        with cache.get_or_create(KEY, build) as entry:
            return open_each(entry.path)

    def compare_reading(
        what: str, limit: str, ours: Callable[[], object], theirs: Callable[[], object]
    ) -> Figure:
        return compare_calls(what, limit, ours, theirs, pairs=runs * 20, calls=10)

    whole, parts = disk[KEY], {name: disk[KEY, name] for name in NAMES}
    if not hit_and_read() == hit_and_open_each() == remembered(KEY) == whole == parts:
        raise RuntimeError("not all read the same bytes")
    return [
        compare_calls(
            "a hit, divided by opening, locking and reading a manifest by hand",
            "1.5",
            hit,
            lambda: hit_by_hand(kept_by_hand),
            pairs=runs * 10,
            calls=200,
        ),
        compare_reading(
            "a hit with all bytes read, divided by joblib.Memory",
            "1",
            hit_and_read,
            lambda: remembered(KEY),
        ),
        compare_reading(
            "a hit with all bytes read, divided by diskcache with all files in one value",
            "1",
            hit_and_read,
            lambda: disk[KEY],
        ),
        compare_reading(
            "a hit with all bytes read, divided by diskcache with a value for each file",
            "1",
            hit_and_read,
            lambda: {name: disk[KEY, name] for name in NAMES},
        ),
        compare_reading(
            "a hit with each file opened by its path, divided by joblib.Memory",
            "none",
            hit_and_open_each,
            lambda: remembered(KEY),
        ),
        compare_reading(
            "the same without any cache: files of a folder opened by path, by joblib.Memory",
            "none",
            lambda: open_each(plain),
            lambda: remembered(KEY),
        ),
    ]


def compare_storing(cache: Cache, disk: diskcache.Cache, by_hand: Path, runs: int) -> list[Figure]:
    files = make_files(KEY)
    numbers = itertools.count()
    # As in a cache that has been in use: all folders of entries are there.
    for shard in range(256):
        os.makedirs(f"{CacheLayout(str(cache.path)).entries}/{shard:02x}", exist_ok=True)

    def compare(what: str, limit: str, theirs: Callable[[], object]) -> Figure:
        return compare_calls(
            what,
            limit,
            lambda: cache.get_or_create(next(numbers), build).close(),
            theirs,
            pairs=runs * 6,
            calls=3,
        )

    return [
        compare(
            "storing, divided by writing and renaming the files by hand",
            "1.2",
            lambda: write_by_hand(by_hand / str(next(numbers))),
        ),
        compare(
            "storing, divided by the same by hand with SHA-256 of what is written",
            "none",
            lambda: write_by_hand(by_hand / str(next(numbers)), digest),
        ),
        compare(
            "storing, divided by diskcache with all files in one value",
            "1",
            lambda: disk.set(next(numbers), files),
        ),
        compare(
            "storing, divided by diskcache with a value for each file",
            "1",
            lambda: store_on_diskcache(disk, next(numbers), files),
        ),
    ]


def make_files(key: Any) -> dict[str, bytes]:
    return dict(zip(NAMES, DATA, strict=True))


def build(folder: Path) -> None:
    for name, data in zip(NAMES, DATA, strict=True):
        (folder / name).write_bytes(data)


def open_each(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in os.listdir(folder)}


def store_on_diskcache(disk: diskcache.Cache, key: Any, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        disk[key, name] = data


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_by_hand(target: Path, describe: Callable[[bytes], object] = len) -> Path:
    """What a careful hand-made cache does: a folder of its own, a manifest, a rename."""
    folder = target.with_name(target.name + ".tmp")
    folder.mkdir(parents=True)
    build(folder)
    listing = {name: describe(data) for name, data in zip(NAMES, DATA, strict=True)}
    (folder / "manifest.json").write_text(json.dumps(listing))
    folder.rename(target)
    return target


def hit_by_hand(folder: Path) -> dict[str, int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        listing: dict[str, int] = json.loads((folder / "manifest.json").read_bytes())
        return listing
    finally:
        os.close(descriptor)
