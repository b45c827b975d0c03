"""The cache: values of 1 KB"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import diskcache

from batten.cache.cache import Cache
from benchmarks.in_process import compare_calls
from benchmarks.measure import Figure

DATA = os.urandom(1000)


def load(number: int) -> bytes:
    return DATA


def measure(folder: Path, runs: int) -> list[Figure]:
    cache = Cache(folder / "cache", max_bytes=None, disk_free_min=0)
    disk = diskcache.Cache(str(folder / "diskcache"))
    remembered, theirs = cache.memo(load), disk.memoize()(load)
    remembered(1)
    theirs(1)
    disk[("load", 1)] = DATA
    numbers = itertools.count(2)

    def store_on_diskcache() -> None:
        disk[("load", next(numbers))] = DATA

    figures = [
        compare_calls(
            "a hit by key, divided by diskcache's",
            "2",
            lambda: cache.get_or_compute(("load", 1), lambda: DATA),
            lambda: disk[("load", 1)],
            pairs=runs * 10,
            calls=200,
        ),
        compare_calls(
            "a hit of a remembered function, divided by diskcache's",
            "2",
            lambda: remembered(1),
            lambda: theirs(1),
            pairs=runs * 10,
            calls=200,
        ),
        compare_calls(
            "storing, divided by diskcache's",
            "none",
            lambda: cache.get_or_compute(("load", next(numbers)), lambda: DATA),
            store_on_diskcache,
            pairs=runs * 4,
            calls=50,
        ),
    ]
    disk.close()
    return figures
