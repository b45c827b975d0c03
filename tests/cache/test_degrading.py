"""A cache that can't be used costs speed, never the job: one warning, counts, the right result."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from batten.cache.cache import Cache
from batten.cache.clearing.counts import Counter
from batten.errors import UsageError
from batten.model.cached.cache_names import CacheLayout


def fill(folder: Path) -> None:
    (folder / "data").write_bytes(b"x" * 10_000)


def use(cache: Cache) -> bool:
    """Whether it was a hit; the content is right in any case."""
    with cache.get_or_create("key", fill) as entry:
        assert (entry.path / "data").read_bytes() == b"x" * 10_000
        assert cache.get_or_compute("key", lambda: 5) == 5
        return entry.is_hit


def put_file(path: Path) -> Path:
    path.write_text("a file")
    return path


OBSTACLES: dict[str, Callable[[Path], Path]] = {
    "a file is there": put_file,
    "below a file": lambda path: put_file(path) / "cache",
    "nobody may write there": lambda path: Path("/proc/cache"),
    "the name is too long": lambda path: path / ("x" * 300),
}


@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=OBSTACLES)
def test_without_a_place_it_goes_on_without(
    tmp_path: Path, obstacle: Callable[[Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(obstacle(tmp_path / "cache"), disk_free_min=0)
    assert not use(cache)
    assert not use(cache)
    assert cache.statistics().process.failures >= 4
    warnings = [each for each in caplog.records if each.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "Results are made without it" in warnings[0].getMessage()


def test_a_build_that_fills_the_disk_is_made_elsewhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    folders = []

    def build(folder: Path) -> None:
        folders.append(folder)
        if folder.is_relative_to(cache.path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fill(folder)

    with cache.get_or_create("key", build) as entry:
        assert (entry.path / "data").exists()
        assert entry.path == folders[1]
    assert not folders[0].exists()
    assert not folders[1].exists()
    assert "No space left" in caplog.text


def test_a_build_that_fails_everywhere_fails(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        raise PermissionError(errno.EACCES, "the source can't be read")

    with pytest.raises(PermissionError, match="the source"):
        Cache(tmp_path / "cache").get_or_create("key", build)


def test_the_folder_goes_while_it_is_used(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    for _ in range(2):
        assert not use(cache)
        assert use(cache)
        shutil.rmtree(cache.path)


def test_the_folder_goes_during_a_build(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)

    def build(folder: Path) -> None:
        if folder.is_relative_to(cache.path):
            shutil.rmtree(cache.path)
        fill(folder)

    with cache.get_or_create("key", build) as entry:
        assert (entry.path / "data").read_bytes() == b"x" * 10_000


def test_too_many_open_files(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    use(cache)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    entries = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 8, limits[1]))
        entries.extend(cache.get_or_create("key", lambda folder: None) for _ in range(20))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for entry in entries:
            entry.close()
    assert use(cache)


def test_without_memory_for_its_counts_a_process_counts_all_the_same(tmp_path: Path) -> None:
    layout = CacheLayout(str(tmp_path))
    counter = Counter(layout)
    room = [bytearray(100) for _ in range(100_000)]
    del room[::2]  # So that no other memory need be asked for.
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    try:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize(), limits[1]))
        counter.add("hits")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
    counter.add("hits")
    assert counter.snapshot().hits == 2
    assert os.listdir(layout.statistics) == []


def test_a_value_that_can_not_be_kept_is_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    made = cache.get_or_compute("key", lambda: (number for number in (1, 2)))
    assert list(made) == [1, 2]
    assert "can't be pickled" in caplog.text


def test_it_can_be_turned_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATTEN_DISABLE_CACHE", "1")
    cache = Cache(tmp_path / "cache")
    assert not use(cache)
    assert not use(cache)
    assert cache.get("key") is None
    assert cache.memo(len)("four") == 4
    assert not (tmp_path / "cache").exists()
    monkeypatch.setenv("BATTEN_DISABLE_CACHE", "0")
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    assert not use(cache)
    assert use(cache)


def test_the_place_that_nobody_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("BATTEN_CACHE_DIR", raising=False)
    assert Cache().path == tmp_path / "home" / ".cache" / "batten"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache().path == tmp_path / "xdg" / "batten"
    monkeypatch.setenv("BATTEN_CACHE_DIR", str(tmp_path / "own"))
    assert Cache().path == tmp_path / "own"


def test_memo_by_name_and_default(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)

    @cache.memo
    def scale(number: float, *rest: int, factor: float = 2, **more: int) -> list[object]:
        return [number, rest, factor, more]

    def called(*arguments: object, **named: object) -> int:
        before = cache.statistics().process.builds
        assert scale(*arguments, **named) == scale(*arguments, **named)  # type: ignore[arg-type]
        return cache.statistics().process.builds - before

    assert called(1) == 1
    assert called(1, factor=2) == 0
    assert called(number=1) == 0
    assert called(1.0) == 1
    assert called(True) == 1
    assert called(1, 2) == 1
    assert called(1, other=2) == 1
    assert scale.__name__ == "scale"
    with pytest.raises(UsageError, match="key of the cache"):
        scale(iter(()))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="names of the arguments"):
        cache.memo(max)
    assert list(Path(CacheLayout(str(cache.path)).locks).iterdir()) == []


def test_memo_of_a_function_that_awaits(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)

    async def ask(question: str) -> str:
        await asyncio.sleep(0)
        return question.upper()

    remembered = cache.memo(ask)
    for _ in range(2):
        assert asyncio.run(remembered("why")) == "WHY"  # type: ignore[arg-type]
    counts = cache.statistics().process
    assert (counts.builds, counts.hits) == (1, 1)


def test_errors_are_not_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_compute("key", lambda: 1 / 0)
    assert cache.get_or_compute("key", lambda: 2) == 2


class Fragile:
    """A value that can be pickled, and not always unpickled."""

    is_broken = False

    def __reduce__(self) -> tuple[Callable[[], Fragile], tuple[()]]:
        return (make_fragile, ())


def make_fragile() -> Fragile:
    if Fragile.is_broken:
        raise ImportError("no module of that name")
    return Fragile()


def test_a_value_that_can_not_be_unpickled_is_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)

    async def compute() -> Fragile:
        return Fragile()

    cache.get_or_compute("key", Fragile)
    monkeypatch.setattr(Fragile, "is_broken", True)
    assert isinstance(cache.get_or_compute("key", Fragile), Fragile)
    assert isinstance(asyncio.run(cache.get_or_await("key", compute)), Fragile)
    assert "no module of that name" in caplog.text
    assert cache.statistics().process.failures > 0
    monkeypatch.setattr(Fragile, "is_broken", False)
    hits = cache.statistics().process.hits
    cache.get_or_compute("key", Fragile)
    assert cache.statistics().process.hits == hits + 1, "what others can use stays"


def test_a_disk_that_takes_only_a_part_keeps_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    use(cache)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        assert cache.get_or_compute("large", lambda: b"x" * 100_000) == b"x" * 100_000
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    counts = cache.statistics().process
    assert (counts.publish_failures, counts.failures) == (1, 1)
    assert cache.get_or_compute("large", lambda: b"y") == b"y"
