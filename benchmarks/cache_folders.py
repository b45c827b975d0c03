"""The cache: entries of 20 files of 100 KB"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import diskcache
import joblib

from batten.cache.cache import Cache
from benchmarks.in_process import compare_calls
from benchmarks.measure import Figure

FILES = 20
DATA = [os.urandom(100_000) for _ in range(FILES)]
KEY = ("extract", "clips/beach.mp4", 12.5, (640, 480), None)


def measure(folder: Path, runs: int) -> list[Figure]:
    cache = Cache(folder / "cache", max_bytes=None, disk_free_min=0)
    disk = diskcache.Cache(str(folder / "diskcache"), size_limit=1 << 40)
    remembered = joblib.Memory(str(folder / "joblib"), verbose=0).cache(make_files)
    files = make_files(KEY)
    by_hand = write_by_hand(folder / "by-hand" / "hit")
    disk[KEY] = files
    remembered(KEY)
    cache.get_or_create(KEY, build).close()

    def hit() -> None:
        cache.get_or_create(KEY, build).close()

    def hit_and_read() -> None:
        with cache.get_or_create(KEY, build) as entry:
            read(entry.path)

    numbers = itertools.count()

    def store() -> None:
        cache.get_or_create(next(numbers), build).close()

    def store_by_hand() -> None:
        write_by_hand(folder / "by-hand" / str(next(numbers)))

    def store_on_diskcache() -> None:
        disk[next(numbers)] = files

    figures = [
        compare_calls(
            "a hit, divided by opening, locking and reading a manifest by hand",
            "1.5",
            hit,
            lambda: hit_by_hand(by_hand),
            pairs=runs * 10,
            calls=200,
        ),
        compare_calls(
            "a hit with all bytes read, divided by joblib.Memory",
            "1",
            hit_and_read,
            lambda: remembered(KEY),
            pairs=runs * 4,
            calls=5,
        ),
        compare_calls(
            "a hit with all bytes read, divided by diskcache",
            "1",
            hit_and_read,
            lambda: disk[KEY],
            pairs=runs * 4,
            calls=5,
        ),
        compare_calls(
            "storing, divided by writing and renaming the files by hand",
            "1.2",
            store,
            store_by_hand,
            pairs=runs * 4,
            calls=5,
        ),
        compare_calls(
            "storing, divided by diskcache", "1", store, store_on_diskcache, pairs=runs * 4, calls=5
        ),
    ]
    disk.close()
    shutil.rmtree(folder / "by-hand")
    return figures


def make_files(key: Any) -> dict[str, bytes]:
    return {f"frame-{number:04}.png": data for number, data in enumerate(DATA)}


def build(folder: Path) -> None:
    for number, data in enumerate(DATA):
        (folder / f"frame-{number:04}.png").write_bytes(data)


def read(folder: Path) -> int:
    return sum(len((folder / name).read_bytes()) for name in os.listdir(folder))


def write_by_hand(target: Path) -> Path:
    """What a careful hand-made cache does: a folder of its own, a manifest, a rename."""
    folder = target.with_name(target.name + ".tmp")
    folder.mkdir(parents=True)
    build(folder)
    listing = {f"frame-{number:04}.png": len(data) for number, data in enumerate(DATA)}
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
