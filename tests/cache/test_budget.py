"""How much a cache keeps: who goes first, who stays, and what is told of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from batten.cache.cache import Cache
from batten.cache.clearing.inspection import CacheCleaning, clean_cache, show_cache
from batten.errors import RefusedError, UsageError
from batten.model.cached.cache_names import FILES, MANIFEST, CacheLayout
from batten.storage.changing import steps

SIZE = 12288 + 4 * 4096
"""What an entry of `fill` takes: its file, its two folders, its manifest."""


def fill(folder: Path) -> None:
    (folder / "data").write_bytes(b"x" * 16000)


def entries(cache: Cache) -> list[Path]:
    return sorted(Path(CacheLayout(str(cache.path)).entries).glob("*/*"))


def make(path: Path, kept: int | None, **options: int) -> Cache:
    size = None if kept is None else kept * SIZE
    return Cache(path / "cache", max_bytes=size, **{"disk_free_min": 0, **options})


def use(cache: Cache, *keys: str) -> None:
    for key in keys:
        cache.get_or_create(key, fill).close()


def present(cache: Cache, keys: str) -> str:
    found = []
    for key in keys:
        entry = cache.get(key)
        if entry is not None:
            entry.close()
            found.append(key)
    return "".join(found)


def age(cache: Cache) -> None:
    """Let all have been used an hour earlier than they were."""
    for entry in entries(cache):
        status = (entry / MANIFEST).stat()
        times = (status.st_atime_ns, status.st_mtime_ns - 3600 * 10**9)
        os.utime(entry / MANIFEST, ns=times)


def test_sizes_are_those_of_the_disk(tmp_path: Path) -> None:
    cache = make(tmp_path, None)
    use(cache, "a")
    on_disk = sum(
        4096 if path.is_dir() else -(-path.stat().st_size // 4096) * 4096
        for path in (entries(cache)[0], *entries(cache)[0].rglob("*"))
    )
    assert cache.statistics().bytes == on_disk == SIZE


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    cache = make(tmp_path, 3)
    for key in "abc":
        use(cache, key)
        age(cache)
    use(cache, "a")
    use(cache, *"de")
    assert present(cache, "abcde") == "ade"
    assert cache.statistics().process.evictions == 2
    assert cache.statistics().process.evicted_bytes == 2 * SIZE


def test_nothing_is_too_much_without_a_limit(tmp_path: Path) -> None:
    cache = make(tmp_path, None)
    use(cache, *"abcdefgh")
    assert present(cache, "abcdefgh") == "abcdefgh"


@pytest.mark.parametrize("max_bytes", [0, SIZE - 1])
def test_what_does_not_fit_is_not_kept(tmp_path: Path, max_bytes: int) -> None:
    cache = Cache(tmp_path / "cache", max_bytes=max_bytes, disk_free_min=0)
    with cache.get_or_create("a", fill) as entry:
        assert (entry.path / "data").read_bytes() == b"x" * 16000
    assert not entry.path.exists()
    assert entries(cache) == []
    assert cache.statistics().process.publish_failures == 1


def test_the_disk_is_not_filled(tmp_path: Path) -> None:
    use(make(tmp_path, None), "a")
    cache = make(tmp_path, None, disk_free_min=1 << 60)
    with cache.get_or_create("b", fill) as entry:
        assert (entry.path / "data").exists()
    assert entries(cache) == [], "what can go goes, and nothing is added"


def test_entries_in_use_stay_and_are_told_of(tmp_path: Path) -> None:
    cache = make(tmp_path, 2)
    first, second = cache.get_or_create("a", fill), cache.get_or_create("b", fill)
    third = cache.get_or_create("c", fill)
    assert all((each.path / "data").read_bytes() for each in (first, second, third))
    assert cache.statistics().process.held_over_budget == SIZE
    assert show_cache(cache.path).in_use == 3
    first.close()
    assert cache.statistics().process.held_over_budget == 0
    assert present(cache, "abc") == "bc"
    second.close()
    third.close()


def test_another_process_may_have_made_room(tmp_path: Path) -> None:
    one, other = make(tmp_path, 2), make(tmp_path, 2)
    use(one, *"ab")
    use(other, *"cdef")
    use(one, *"gh")
    assert len(entries(one)) == 2
    assert one.statistics().bytes == 2 * SIZE


def test_a_sum_that_is_lost_is_added_up_again(tmp_path: Path) -> None:
    cache = make(tmp_path, 2)
    for text in (b"", b"half a reco", b'{"size": 1, "boot": "x"}'):
        use(cache, *"ab")
        Path(CacheLayout(str(cache.path)).budget).write_bytes(text)
        use(cache, *"cd")
        assert present(cache, "abcd") == "cd"


def removed(cleaning: CacheCleaning) -> tuple[list[str], list[str], int, int]:
    return (
        [each.path for each in cleaning.leftovers],
        [each.path for each in cleaning.evicted],
        cleaning.bytes,
        cleaning.held_over_budget,
    )


def test_a_dry_run_tells_what_a_real_one_does(tmp_path: Path) -> None:
    cache = make(tmp_path, None)
    layout = CacheLayout(str(cache.path))
    use(cache, *"abcdef")
    held = cache.get_or_create("a", fill)
    abandon(layout)
    halve(entries(cache)[3])
    before = snapshot(cache.path)
    told = clean_cache(cache.path, max_bytes=2 * SIZE, is_dry_run=True)
    assert snapshot(cache.path) == before
    done = clean_cache(cache.path, max_bytes=2 * SIZE)
    assert removed(done) == removed(told)
    assert not any(Path(path).exists() for path in (*removed(done)[0], *removed(done)[1]))
    assert sum(removed(done)[2:]) == cache.statistics().bytes == 2 * SIZE
    assert (held.path / "data").exists()
    held.close()


def abandon(layout: CacheLayout) -> None:
    """Leave behind what killed processes and earlier versions leave, long ago."""
    build = Path(layout.building) / f"{'0' * 64}.host-12-ab"
    (build / "files").mkdir(parents=True)
    (build / "files" / "half").write_text("half")
    (build / MANIFEST).write_text("")
    (Path(layout.locks) / ("1" * 64)).touch()
    marks = Path(layout.checked) / "01234567-0123-0123-0123-0123456789ab"
    marks.mkdir(parents=True)
    (marks / ("2" * 64)).touch()
    older = Path(layout.root) / "batten-cache-0"
    (older / "entries").mkdir(parents=True)
    for path in (build, Path(layout.locks) / ("1" * 64), marks, older):
        os.utime(path, (1, 1))


def halve(entry: Path) -> None:
    """Let its removal have been cut off long ago."""
    (entry / MANIFEST).unlink()
    os.utime(entry, (1, 1))


def snapshot(path: Path) -> dict[str, int]:
    return {str(each): each.lstat().st_mtime_ns for each in path.rglob("*")}


def test_leftovers_go_and_foreign_files_stay(tmp_path: Path) -> None:
    cache = make(tmp_path, None)
    layout = CacheLayout(str(cache.path))
    use(cache, "a")
    abandon(layout)
    foreign = [
        Path(layout.root, "notes.txt"),
        Path(layout.root, "batten-cache-x", "entries"),
        Path(layout.building, "mine"),
        Path(layout.locks, "lock"),
        Path(layout.entries, "readme"),
        Path(layout.entries, "ab", "readme"),
        Path(layout.statistics, "my-12-ab"),
        Path(layout.checked, "mine"),
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not the cache's")
        os.utime(path, (1, 1))
    assert len(clean_cache(cache.path).leftovers) == 4
    assert present(cache, "a") == "a"
    cleared = clean_cache(cache.path, max_bytes=0, is_any_age=True)
    assert len(cleared.evicted) == 1
    assert all(path.read_text() == "not the cache's" for path in foreign)
    shutil.rmtree(Path(layout.root, "batten-cache-0"), ignore_errors=True)


def test_a_folder_without_a_cache_is_refused(tmp_path: Path) -> None:
    for look in (show_cache, clean_cache):
        with pytest.raises(RefusedError, match="no cache"):
            look(tmp_path)


@pytest.mark.parametrize("name", ["max_bytes", "disk_free_min"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "1G"])
def test_limits_are_whole_numbers(tmp_path: Path, name: str, value: object) -> None:
    make_cache: Callable[..., Cache] = Cache
    with pytest.raises(UsageError, match=name):
        make_cache(tmp_path, **{name: value})


def test_what_a_cut_off_eviction_removed_counts_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make(tmp_path, 6)
    use(cache, *"abcdef")
    removed = 0

    def cut_off(moment: str, step: str, name: str) -> None:
        nonlocal removed
        removed += (moment, step) == ("after", "folder.remove") and name.startswith(
            CacheLayout(str(cache.path)).entries
        )
        if removed == 3 * len((FILES, "the entry")):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(steps, "observer", cut_off)
        with pytest.raises(KeyboardInterrupt):
            use(make(tmp_path, 1), "g")
    assert len(entries(cache)) == 3
    cache = make(tmp_path, 6)
    use(cache, *"xyz")
    assert len(entries(cache)) == 6
    assert cache.statistics().process.evictions == 0


def test_builds_that_were_abandoned_are_swept_though_nothing_fits(tmp_path: Path) -> None:
    cache = make(tmp_path, None)
    use(cache, "a")
    abandon(CacheLayout(str(cache.path)))
    os.utime(CacheLayout(str(cache.path)).swept, (1, 1))
    use(make(tmp_path, None, disk_free_min=1 << 60), "b")
    assert list(Path(CacheLayout(str(cache.path)).building).iterdir()) == []
