"""Many processes at one cache: each key is built once, and no reader misses a byte."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from batten.cache.cache import Cache
from batten.cache.clearing.inspection import clean_cache, verify_cache
from batten.cache.clearing.sweep import LeftoverKind, find_leftovers, remove_leftovers
from batten.errors import RefusedError
from batten.model.cached.cache_names import MANIFEST, CacheLayout
from batten.storage.local.folders import lock_within

Start = Callable[..., subprocess.Popen[str]]

SHARING = """
    import os, random, sys, time
    from pathlib import Path
    from batten.cache.cache import Cache

    processes, keys, rounds, max_bytes, seed = map(int, sys.argv[1:])
    cache = Cache("cache", max_bytes=max_bytes or None, disk_free_min=0)

    def content(key):
        return {f"{n}/{key}": f"{key}-{n}-".encode() * 300 for n in range(3)}

    def build(folder, key):
        descriptor = os.open("builds", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{key}\\n".encode())
        os.close(descriptor)
        for name, data in content(key).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)

    def work(number):
        chooser = random.Random(f"{seed} {number}")
        for _ in range(rounds):
            order = list(range(keys))
            chooser.shuffle(order)
            for key in order:
                with cache.get_or_create(key, lambda folder: build(folder, key)) as entry:
                    os.sched_yield()
                    for name, data in content(key).items():
                        assert (entry.path / name).read_bytes() == data, (key, name)
        cache.statistics()

    children = []
    for number in range(processes):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(number)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert not any(codes), codes
    print("done")
"""


@pytest.mark.parametrize(("keys", "rounds"), [(1, 3), (100, 1)])
def test_twenty_processes_build_each_key_once(
    start: Start, tmp_path: Path, keys: int, rounds: int
) -> None:
    sharing = start(SHARING, "20", str(keys), str(rounds), "0", "1")
    assert sharing.stdout.read() == "done\n"
    assert sorted(map(int, (tmp_path / "builds").read_text().split())) == list(range(keys))
    counts = Cache(tmp_path / "cache").statistics().total
    assert counts.builds == keys
    assert counts.hits + counts.misses == 20 * keys * rounds
    assert counts.failures == 0


@pytest.mark.by_chance
@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.crash)])
def test_twenty_processes_and_a_budget_that_evicts_all_the_time(
    start: Start, tmp_path: Path, rounds: int
) -> None:
    seed = os.environ["BATTEN_SEED"]
    room = str(10 * 10 * 4096)
    sharing = start(SHARING, "20", "100", str(rounds), room, seed)
    assert sharing.stdout.read() == "done\n"
    statistics = Cache(tmp_path / "cache").statistics()
    assert statistics.total.failures == 0
    assert statistics.total.evictions > 80
    assert statistics.bytes <= int(room)
    assert verify_cache(tmp_path / "cache").damaged == []


HOLDING = """
    import sys
    from pathlib import Path
    from batten.cache.cache import Cache

    def build(folder):
        (folder / "data").write_text("first")
        print("building", flush=True)
        if sys.argv[1] == "build":
            sys.stdin.read()

    with Cache("cache", disk_free_min=0).get_or_create("key", build) as entry:
        print("reading", flush=True)
        sys.stdin.read()
        print((entry.path / "data").read_text(), flush=True)
"""


def finish(process: subprocess.Popen[str]) -> str:
    """Let it go on to its end; gives the rest of what it prints."""
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    return process.stdout.read()


def fill(folder: Path) -> None:
    (folder / "data").write_text("second")


def test_who_waits_takes_over_when_the_builder_dies(start: Start, tmp_path: Path) -> None:
    builder = start(HOLDING, "build")
    assert builder.stdout.readline() == "building\n"
    waiting = start(HOLDING, "read")
    builder.send_signal(signal.SIGKILL)
    assert waiting.stdout.readline() == "building\n"
    assert finish(waiting) == "reading\nfirst\n"
    cleaned = clean_cache(tmp_path / "cache", is_any_age=True)
    assert [each.kind for each in cleaned.leftovers] == ["abandoned build"]


def test_a_build_in_hand_is_no_leftover(start: Start, tmp_path: Path) -> None:
    builder = start(HOLDING, "build")
    assert builder.stdout.readline() == "building\n"
    assert clean_cache(tmp_path / "cache", is_any_age=True).leftovers == []
    assert finish(builder) == "reading\nfirst\n"


def test_a_reader_keeps_its_entry_and_frees_it_by_dying(start: Start, tmp_path: Path) -> None:
    readers = [start(HOLDING, "read") for _ in range(2)]
    for reader in readers:
        while reader.stdout.readline() != "reading\n":
            pass
    readers[0].send_signal(signal.SIGKILL)
    readers[0].wait()
    cleared = clean_cache(tmp_path / "cache", max_bytes=0)
    assert (cleared.evicted, cleared.in_use) == ([], 1)
    assert finish(readers[1]) == "first\n"
    assert len(clean_cache(tmp_path / "cache", max_bytes=0).evicted) == 1


def test_a_process_that_is_forked_while_reading_holds_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    entry = cache.get_or_create("key", fill)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    entry.close()
    assert len(clean_cache(cache.path, max_bytes=0).evicted) == 1
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("max_bytes", [0, None])
def test_a_process_that_is_forked_while_reading_takes_nothing_away(
    tmp_path: Path, max_bytes: int | None
) -> None:
    cache = Cache(tmp_path / "cache", max_bytes=max_bytes, disk_free_min=0)
    with cache.get_or_create("key", fill) as entry:
        child = os.fork()
        if child == 0:
            entry.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert (entry.path / "data").read_text() == "second"


def test_a_process_that_is_forked_while_building_takes_nothing_away(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)

    def build(folder: Path) -> None:
        child = os.fork()
        if child == 0:
            raise KeyError("left in the child")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
        fill(folder)

    process = os.getpid()
    try:
        with cache.get_or_create("key", build) as entry:
            assert (entry.path / "data").read_text() == "second"
    except KeyError:
        if os.getpid() != process:
            os._exit(5)
        raise


def test_counts_are_kept_when_processes_have_ended(start: Start, tmp_path: Path) -> None:
    for _ in range(2):
        sharing = start(SHARING, "3", "4", "1", "0", "1")
        assert sharing.stdout.read() == "done\n"
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    total = cache.statistics().total
    assert (total.builds, total.hits + total.misses) == (4, 24)
    (tmp_path / "cache" / "batten-cache-1" / "swept").unlink()
    cache.get_or_create("other", fill).close()
    files = list((tmp_path / "cache" / "batten-cache-1" / "statistics").iterdir())
    assert len(files) <= 2, "those that ended are one file"
    assert cache.statistics().total.builds == 5
    assert cache.statistics().total.hits == total.hits


def statistics_of(path: Path) -> Path:
    return Path(CacheLayout(str(path)).statistics)


def let_sweep(path: Path) -> None:
    """The next who keeps something sweeps."""
    os.utime(CacheLayout(str(path)).swept, (1, 1))


def test_a_process_that_only_begins_to_count_has_not_ended(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    cache.get_or_create("key", fill).close()
    beginning = statistics_of(cache.path) / "counts.host-1-ab"
    given_up = statistics_of(cache.path) / "counts.host-2-cd"
    beginning.touch()
    given_up.touch()
    os.utime(given_up, (1, 1))
    let_sweep(cache.path)
    cache.get_or_create("other", fill).close()
    assert beginning.exists()
    assert not given_up.exists()


def test_one_process_sweeps_at_a_time(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    cache.get_or_create("key", fill).close()
    ended = statistics_of(cache.path) / "counts.host-1-ab"
    ended.write_bytes(bytes(8))
    let_sweep(cache.path)
    layout = CacheLayout(str(cache.path))
    sweeping = lock_within(layout.swept, should_wait=False, below=layout.root)
    assert sweeping is not None
    cache.get_or_create("other", fill).close()
    assert ended.exists()
    sweeping.release()
    cache.get_or_create("third", fill).close()
    assert not ended.exists()


def test_what_ended_processes_held_over_budget_is_told_no_more(
    start: Start, tmp_path: Path
) -> None:
    holding = start(
        """
        import sys
        from batten.cache.cache import Cache

        def fill(folder):
            (folder / "data").write_text("x")

        cache = Cache("cache", max_bytes=20000, disk_free_min=0)
        entries = [cache.get_or_create(key, fill) for key in "ab"]
        print("holding", flush=True)
        sys.stdin.read()
        """
    )
    assert holding.stdout.readline() == "holding\n"
    cache = Cache(tmp_path / "cache", max_bytes=None, disk_free_min=0)
    assert cache.statistics().total.held_over_budget > 0
    holding.kill()
    holding.wait(timeout=60)
    assert cache.statistics().total.held_over_budget == 0
    let_sweep(cache.path)
    cache.get_or_create("other", fill).close()
    assert cache.statistics().total.held_over_budget == 0
    assert cache.statistics().total.builds == 3


@pytest.mark.by_chance
@pytest.mark.parametrize("rounds", [2, pytest.param(100, marks=pytest.mark.crash)])
def test_who_clears_all_the_time_takes_nothing_from_readers(
    start: Start, tmp_path: Path, rounds: int
) -> None:
    sharing = start(SHARING, "4", "30", str(rounds), "0", os.environ["BATTEN_SEED"])
    while sharing.poll() is None:
        with suppress(RefusedError):
            clean_cache(tmp_path / "cache", max_bytes=0, is_any_age=True)
    assert sharing.stdout.read() == "done\n"
    assert Cache(tmp_path / "cache").statistics().total.failures == 0
    assert verify_cache(tmp_path / "cache").damaged == []


def test_a_build_that_begins_is_not_cleared(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    cache.get_or_create("key", fill).close()
    beginning = Path(CacheLayout(str(cache.path)).building) / f"{'0' * 64}.host-12-ab"
    beginning.mkdir()
    assert clean_cache(cache.path, is_any_age=True).leftovers == []
    os.utime(beginning, (1, 1))
    assert len(clean_cache(cache.path).leftovers) == 1
    assert not beginning.exists()


def test_an_entry_that_takes_the_place_of_half_of_one_stays(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    layout = CacheLayout(str(cache.path))
    cache.get_or_create("key", fill).close()
    for manifest in Path(layout.entries).glob(f"*/*/{MANIFEST}"):
        manifest.unlink()
    found = list(find_leftovers(layout, is_thorough=True, is_any_age=True))
    assert [each.kind for each in found] == [LeftoverKind.HALF_REMOVED]
    with cache.get_or_create("key", fill) as entry:
        remove_leftovers(layout, found)
        assert entry.read_files() == {"data": b"second"}


def test_caches_that_nobody_has_any_more_keep_no_file_open(tmp_path: Path) -> None:
    def count_open() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    def use(number: int) -> int:
        return Cache(tmp_path / str(number), disk_free_min=0).get_or_compute("key", lambda: number)

    use(0)
    before = count_open()
    assert [use(number) for number in range(1, 20)] == list(range(1, 20))
    assert count_open() == before
    assert Cache(tmp_path / "3").statistics().total.misses == 1
