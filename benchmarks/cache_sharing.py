"""The cache: processes on the same keys"""

from __future__ import annotations

import os
import time
from pathlib import Path

from batten.cache.cache import Cache
from benchmarks.measure import Figure

KEYS = 100
PROCESSES = 2


def measure(folder: Path, runs: int) -> list[Figure]:
    runs = min(runs, 3)
    worst = 0
    began = time.perf_counter()
    for number in range(runs):
        cache = Cache(folder / str(number), disk_free_min=0)
        children = [_start(cache) for _ in range(PROCESSES)]
        codes = [os.waitpid(child, 0)[1] for child in children]
        if any(codes):
            raise RuntimeError(f"a process ended with {codes}")
        worst = max(worst, cache.statistics().total.builds)
    seconds = (time.perf_counter() - began) / runs
    return [
        Figure(
            what=f"builds of {KEYS} keys that {PROCESSES} processes use at once, at worst",
            figure=f"{worst}",
            limit=f"{KEYS}",
            basis=f"{runs} runs, {seconds:.2f} s each",
        )
    ]


def _start(cache: Cache) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for key in range(KEYS):
                cache.get_or_create(key, _build).close()
            code = 0
        finally:
            os._exit(code)
    return child


def _build(folder: Path) -> None:
    time.sleep(0.005)
    (folder / "frame").write_bytes(b"x" * 1000)
