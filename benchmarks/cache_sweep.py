"""The cache: a sweep of 100,000 entries that removes half"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from batten.cache.cache import Cache
from batten.cache.clearing.budget import scan_used
from batten.model.cached.cache_names import MANIFEST, CacheLayout
from batten.model.cached.manifests import decode_manifest
from benchmarks.measure import Figure

ENTRIES = 100_000
PARTS = 5
"""By hand a fifth of what the sweep removes is removed, half of it before the sweep, half after."""


def measure(folder: Path, runs: int) -> list[Figure]:
    swept = fill(folder / "swept")
    entry = find_manifest(swept)
    size = decode_manifest(entry.read_bytes())[0].size
    ways = {each: Way(folder, each.__name__, entry) for each in (by_rmtree, by_names)}
    cache = Cache(folder / "swept", max_bytes=size * (ENTRIES // 2), disk_free_min=0)
    for remove, way in ways.items():
        way.take(remove)
    began = time.perf_counter()
    cache.get_or_compute("one more", lambda: 0)
    ours = time.perf_counter() - began
    for remove, way in ways.items():
        way.take(remove)
    left = sum(1 for _ in scan_used(CacheLayout(str(folder / "swept"))))
    basis = f"{ours:.2f} s, {ENTRIES - left:,} of {ENTRIES:,} removed"
    with_rmtree, with_names = (way.seconds * PARTS for way in ways.values())
    return [
        Figure(
            what="divided by `shutil.rmtree` of as many",
            figure=f"{ours / with_rmtree:.2f}",
            limit="1.3",
            basis=f"{basis}, against {with_rmtree:.2f} s",
        ),
        Figure(
            what="divided by `unlink` and `rmdir` of as many whose names are known",
            figure=f"{ours / with_names:.2f}",
            limit="none",
            basis=f"{basis}, against {with_names:.2f} s",
        ),
    ]


class Way:
    """Entries to remove by hand in some way, and the seconds that this took so far."""

    def __init__(self, folder: Path, name: str, entry: Path) -> None:
        self.seconds = 0.0
        self._left = [folder / name / f"{n:06}" for n in range(ENTRIES // 2 // PARTS)]
        self._half = len(self._left) // 2
        copy(entry.parent, self._left)

    def take(self, remove: Callable[[Path], object]) -> None:
        """Remove half of those that were there at first."""
        chosen, self._left = self._left[: self._half], self._left[self._half :]
        began = time.perf_counter()
        for path in chosen:
            remove(path)
        self.seconds += time.perf_counter() - began


def by_rmtree(path: Path) -> None:
    shutil.rmtree(path)


def by_names(path: Path) -> None:
    os.unlink(path / MANIFEST)
    os.rmdir(path)


def fill(path: Path) -> CacheLayout:
    """A cache of so many values, used one after the other, whose sum is known."""
    cache = Cache(path, max_bytes=None, disk_free_min=0)
    cache.get_or_compute("first", lambda: 0)
    layout = CacheLayout(str(path))
    keys = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(ENTRIES)]
    copy(find_manifest(layout).parent, [Path(layout.entry(key)) for key in keys])
    Path(layout.budget).unlink()
    cache.get_or_compute("second", lambda: 0)
    return layout


def find_manifest(layout: CacheLayout) -> Path:
    return next(Path(layout.entries).glob(f"*/*/{MANIFEST}"))


def copy(entry: Path, targets: list[Path]) -> None:
    data = (entry / MANIFEST).read_bytes()
    for target in targets:
        target.mkdir(parents=True)
        (target / MANIFEST).write_bytes(data)
