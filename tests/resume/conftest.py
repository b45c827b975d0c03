"""A small finished dataset to harm, a job to stop with chunks of it staged, and whole trees."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batten.crashlab.faults import KillBefore
from batten.crashlab.tracing.laboratory import run_traced
from batten.crashlab.tracing.system_calls import CHANGING

Tree = dict[str, bytes | None]

SLOW = """
    import time

    def scale(number):
        time.sleep(0.26)
        return {"value": number * FACTOR}

    FACTOR = 1
    pipeline = batten.from_range(6).map(scale).options(batch_size=3).write_parquet("out")
"""
"""Each item is a chunk of its own, which is staged when it ends."""


def read_tree(folder: Path) -> Tree:
    """All that is in a folder: the bytes of each file, None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def tree_of() -> Callable[[Path], Tree]:
    return read_tree


@pytest.fixture
def kill() -> Callable[..., None]:
    """Runs `job.py` in a folder and kills it, all of it, before the first call on such a path."""

    def kill_before(folder: Path, path: str, *words: str) -> None:
        run = run_traced(
            [sys.executable, "-m", "batten", "run", "job.py", "--jobs", "1", "--quiet", *words],
            folders=[folder / "out", folder / "out.batten"],
            fault=KillBefore(1, path=path),
            kinds=CHANGING,
            environment=os.environ,
            working_folder=folder,
        )
        assert run.was_triggered, run.stderr

    return kill_before


@pytest.fixture
def slow() -> str:
    return SLOW
