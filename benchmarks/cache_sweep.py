"""The cache: a sweep of 100,000 entries that removes half"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

from batten.cache.budget import scan_used
from batten.cache.cache import Cache
from batten.model.cache_names import MANIFEST, CacheLayout
from batten.model.manifests import decode_manifest
from benchmarks.measure import Figure

ENTRIES = 100_000


def measure(folder: Path, runs: int) -> list[Figure]:
    swept = fill(folder / "swept")
    size = decode_manifest(find_manifest(swept).read_bytes())[0].size
    by_rmtree, by_unlink = (
        [folder / way / f"{number:06}" for number in range(ENTRIES // 4)]
        for way in ("rmtree", "unlink")
    )
    copy(find_manifest(swept).parent, by_rmtree + by_unlink)
    cache = Cache(folder / "swept", max_bytes=size * (ENTRIES // 2), disk_free_min=0)
    began = time.perf_counter()
    cache.get_or_compute("one more", lambda: 0)
    ours = time.perf_counter() - began
    began = time.perf_counter()
    for path in by_rmtree:
        shutil.rmtree(path)
    with_rmtree = 2 * (time.perf_counter() - began)
    began = time.perf_counter()
    for path in by_unlink:
        os.unlink(path / MANIFEST)
        os.rmdir(path)
    theirs = 2 * (time.perf_counter() - began)
    left = sum(1 for _ in scan_used(CacheLayout(str(folder / "swept"))))
    basis = f"{ours:.2f} s, {ENTRIES - left:,} of {ENTRIES:,} removed"
    return [
        Figure(
            what="divided by `shutil.rmtree` of as many (twice what half as many took)",
            figure=f"{ours / with_rmtree:.2f}",
            limit="1.3",
            basis=f"{basis}, against {with_rmtree:.2f} s",
        ),
        Figure(
            what="divided by `unlink` and `rmdir` of as many whose names are known",
            figure=f"{ours / theirs:.2f}",
            limit="none",
            basis=f"{basis}, against {theirs:.2f} s",
        ),
    ]


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
