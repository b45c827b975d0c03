"""`batten cache`: what it says, and its exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batten.cache.cache import Cache
from batten.model.cached.cache_names import CacheLayout

if TYPE_CHECKING:
    from conftest import JobFolder


def fill(folder: Path) -> None:
    (folder / "data").write_bytes(b"x" * 10_000)


@pytest.fixture
def filled(job: JobFolder) -> Cache:
    cache = Cache(job.path / "cache", disk_free_min=0)
    for key in range(3):
        cache.get_or_create(key, fill).close()
    cache.statistics()
    return cache


def test_show(job: JobFolder, filled: Cache) -> None:
    shown = job.batten("cache", "show", "cache", "--json")
    assert shown.code == 0
    assert shown.json["entries"] == 3
    assert shown.json["bytes"] == filled.statistics().bytes
    assert shown.json["counts"]["builds"] == 3
    assert "3 misses" in job.batten("cache", "show", "cache").out


def test_clean_and_clear(job: JobFolder, filled: Cache) -> None:
    size = filled.statistics().bytes // 3
    words = ("cache", "clean", "cache", "--max-bytes", str(size), "--json")
    told = job.batten(*words, "--dry-run")
    assert (told.code, len(told.json["evicted"]), told.json["dry_run"]) == (0, 2, True)
    done = job.batten(*words)
    assert done.json | {"dry_run": True} == told.json
    assert "removed 1 entry," in job.batten("cache", "clear", "cache").out
    assert filled.statistics().entries == 0


def test_verify(job: JobFolder, filled: Cache) -> None:
    assert job.batten("cache", "verify", "cache").code == 0
    damaged = next(Path(CacheLayout(str(filled.path)).entries).rglob("data"))
    damaged.chmod(0o644)
    damaged.write_bytes(b"y" * 10_000)
    found = job.batten("cache", "verify", "cache", "--json")
    assert found.code == 4
    assert found.json["damaged"] == [str(damaged.parents[1])]
    assert damaged.exists()
    assert "--set-aside" in job.batten("cache", "verify", "cache").out
    assert job.batten("cache", "verify", "cache", "--set-aside").code == 0
    assert not damaged.exists()
    assert job.batten("cache", "verify", "cache", "--json").json["entries"] == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("show", "nowhere"), 5),
        (("verify", "."), 5),
        (("clean", "cache", "--max-bytes", "much"), 2),
        ((), 2),
        (("forget", "cache"), 2),
    ],
)
def test_what_is_wrong_is_told(job: JobFolder, words: tuple[str, ...], code: int) -> None:
    ended = job.batten("cache", *words)
    assert ended.code == code
    assert ended.told


def test_the_command_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; from batten.cli.main import main; import batten; batten.Cache\n"
        f"main(['cache', 'show', {str(tmp_path)!r}])\n"
        "print([name for name in ('pyarrow', 'numpy') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout == "[]\n"
