"""Whatever lies in the place of a file of the cache: it is a miss, or damage that a command names;
never a hang, and nothing outside the cache is touched."""

from __future__ import annotations

import logging
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batten.cache.cache import Cache
from batten.cache.clearing import sweep
from batten.cli.main import main
from batten.errors import StorageError
from batten.model.cached.cache_names import MANIFEST, CacheLayout
from batten.model.cached.manifests import encode_value

HUGE_BYTES = 20 * 2**30


def make_huge(path: Path, start: bytes = b"") -> None:
    path.write_bytes(start)
    os.truncate(path, HUGE_BYTES)


STRANGE: dict[str, Callable[[Path, Path], None]] = {
    "a pipe": lambda path, victim: os.mkfifo(path),
    "a link to a file": lambda path, victim: path.symlink_to(victim / "precious"),
    "a link to a folder": lambda path, victim: path.symlink_to(victim),
    "a link to nothing": lambda path, victim: path.symlink_to("nothing"),
    "a link to a device": lambda path, victim: path.symlink_to("/dev/zero"),
    "a folder": lambda path, victim: path.mkdir(),
    "a huge file": lambda path, victim: make_huge(path),
    "a huge file of one line": lambda path, victim: make_huge(path, b'{"size": 4096'),
    "an empty file": lambda path, victim: path.touch(),
}

PLACES = (
    *("entries", "building", "set-aside", "locks", "checked", "statistics", "budget", "swept"),
    *("statistics/total", "statistics/counts.host-1-a", "an entry", "its manifest", "its files"),
    *("a shard", "a build", "its lock", "another generation", "the generation"),
)


def make_files(folder: Path) -> None:
    (folder / "data").write_bytes(b"x")


def exercise(folder: Path) -> None:
    """Use the cache and run every command on it, as if all that is left over were old."""
    # Beyond what the process of the tests has already.
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    most = pages * resource.getpagesize() + 2**30
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    signal.alarm(60)
    sweep._SWEEP_SECONDS = -1.0
    sweep.AGE_SECONDS.update(dict.fromkeys(sweep.AGE_SECONDS, -1e12))
    os.chdir(folder)
    cache = Cache("cache", disk_free_min=0)
    for _ in range(2):
        with cache.get_or_create(
            "files", lambda folder: (folder / "data").write_bytes(b"x")
        ) as made:
            assert made.read_files() == {"data": b"x"}
        assert cache.get_or_compute("value", lambda: [1]) == [1]
    cache.statistics()
    for words in ("show", "verify", "verify --set-aside", "clean --max-bytes 0", "clear"):
        assert main(["cache", *words.split(), "cache"]) not in (1, 6)


def run_apart(action: Callable[[Path], None], folder: Path) -> tuple[int, str]:
    """The status and what was told of a process that does it."""
    told = folder / "told"
    with told.open("wb") as file:
        pid = os.fork()
        if not pid:
            os.dup2(file.fileno(), 2)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            status = 1
            try:
                logging.basicConfig(force=True, stream=sys.stderr)
                action(folder)
                status = 0
            except BaseException:  # noqa: BLE001
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
    return os.waitpid(pid, 0)[1], told.read_text()


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *folder.rglob("*")]
    }


def make_cache(tmp_path: Path) -> CacheLayout:
    """With an entry of files and one that is a value, and things that are left over."""
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    with cache.get_or_create("files", make_files):
        pass
    cache.get_or_compute("value", lambda: [1])
    layout = CacheLayout(str(tmp_path / "cache"))
    Path(layout.set_aside, f"{'a' * 64}.host-1-a").mkdir(parents=True)
    Path(layout.building, f"{'b' * 64}.host-1-a").mkdir(parents=True, exist_ok=True)
    return layout


def make_victim(tmp_path: Path) -> Path:
    """Outside, with names in it that the cache itself gives."""
    victim = tmp_path / "victim"
    for name in ("precious", f"{'a' * 64}.host-1-a/deep/x", "c" * 64, f"{'0' * 36}/x", "total"):
        (victim / name).parent.mkdir(parents=True, exist_ok=True)
        (victim / name).write_text("precious")
    for name in ("ab", "statistics", "entries"):
        (victim / name / ("d" * 62)).mkdir(parents=True)
        (victim / name / ("d" * 62) / MANIFEST).write_text("precious")
        (victim / name / "counts.host-1-a").write_text("precious")
    for path in victim.rglob("*"):
        os.utime(path, (1, 1))
    return victim


def find_place(layout: CacheLayout, place: str) -> list[Path]:
    home = Path(layout.home)
    entries = sorted(Path(layout.entries).glob("*/*"))
    return {
        "an entry": entries,
        "its manifest": [entry / MANIFEST for entry in entries],
        "its files": [entry / "files" for entry in entries],
        "a shard": [entry.parent for entry in entries],
        "a build": sorted(Path(layout.building).iterdir()),
        "its lock": [Path(layout.lock(entry.parent.name + entry.name)) for entry in entries],
        "another generation": [Path(layout.root, "batten-cache-0")],
        "the generation": [home],
    }.get(place, [home / place])


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for folder in (path, *path.rglob("*")):
            folder.chmod(0o755)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", STRANGE)
def test_strange_files(tmp_path: Path, place: str, kind: str) -> None:
    layout, victim = make_cache(tmp_path), make_victim(tmp_path)
    for path in dict.fromkeys(find_place(layout, place)):
        clear(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        STRANGE[kind](path, victim)
    before = snapshot(victim)
    status, told = run_apart(exercise, tmp_path)
    assert status == 0, told
    assert "Traceback" not in told
    assert told.count("WARNING") <= 1
    assert snapshot(victim) == before


@pytest.mark.parametrize("place", PLACES)
def test_deep_folders(tmp_path: Path, place: str, make_deep: Callable[..., None]) -> None:
    layout = make_cache(tmp_path)
    for path in dict.fromkeys(find_place(layout, place)):
        clear(path)
        make_deep(path)
    status, told = run_apart(exercise, tmp_path)
    assert status == 0, told
    assert "Traceback" not in told


@dataclass
class Odd:
    """Not plain: it is pickled."""

    number: int


class Canary:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (self.path,))


@pytest.fixture
def forged(tmp_path: Path) -> tuple[Cache, CacheLayout, Path]:
    """A cache of which somebody replaced the value by a pickle that makes a folder."""
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    assert cache.get_or_compute("key", lambda: Odd(1)) == Odd(1)
    layout = CacheLayout(str(cache.path))
    (manifest,) = Path(layout.entries).glob("*/*/manifest")
    canary = tmp_path / "code-was-run"
    manifest.write_bytes(encode_value(pickle.dumps(Canary(str(canary))), boot=""))
    return cache, layout, canary


def give_away(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize("how", ["written by all", "another's"])
def test_a_pickle_that_others_may_have_written_is_not_used(
    forged: tuple[Cache, CacheLayout, Path],
    which: int,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache, layout, canary = forged
    (manifest,) = Path(layout.entries).glob("*/*/manifest")
    path = [manifest, *manifest.parents][which]
    if how == "another's":
        give_away(path)
    else:
        path.chmod(path.stat().st_mode | 0o002)
    assert cache.get_or_compute("key", lambda: Odd(2)) == Odd(2)
    assert cache.get_or_compute("key", lambda: Odd(3)) == Odd(3)
    assert not canary.exists()
    assert caplog.text.count("which is code") == 1
    assert cache.statistics().process.hits == 0


def test_the_canary_sings_where_it_may(forged: tuple[Cache, CacheLayout, Path]) -> None:
    cache, _, canary = forged
    cache.get_or_compute("key", lambda: Odd(2))
    assert canary.exists()


@pytest.mark.parametrize(("owner", "found"), [(0, Odd(1)), (65534, Odd(1)), (4711, Odd(2))])
def test_a_pickle_of_root_is_used_and_that_of_a_third_user_is_not(
    tmp_path: Path, owner: int, found: Odd
) -> None:
    """By user 65534, who may only read there."""
    give_away(tmp_path)
    with tempfile.TemporaryDirectory() as shared:
        os.chmod(shared, 0o755)
        Cache(f"{shared}/cache", disk_free_min=0).get_or_compute("key", lambda: Odd(1))
        (manifest,) = Path(CacheLayout(f"{shared}/cache").entries).glob("*/*/manifest")
        os.chown(manifest, owner, owner)

        def look_up(folder: Path) -> None:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            cache = Cache(f"{shared}/cache", disk_free_min=0)
            assert cache.get_or_compute("key", lambda: Odd(2)) == found

        status, told = run_apart(look_up, tmp_path)
    assert status == 0, told
    assert ("which is code" in told) == (found != Odd(1))


def test_plain_values_are_shared_with_whoever_owns_the_cache(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    value = {"a": [1, (2.5, None)], "b": b"x"}
    cache.get_or_compute("key", lambda: value)
    for path in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]:
        path.chmod(0o777)
    again = Cache(tmp_path / "cache", disk_free_min=0)
    assert again.get_or_compute("key", lambda: None) == value


def test_a_value_that_batten_0_1_pickled_is_still_found(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    cache.get_or_compute("key", lambda: [1])
    (manifest,) = Path(CacheLayout(str(cache.path)).entries).glob("*/*/manifest")
    manifest.write_bytes(encode_value(pickle.dumps([2], 5), boot=""))
    assert cache.get_or_compute("key", lambda: [1]) == [2]


@pytest.mark.parametrize("kind", ["pipe", "huge", "link"])
def test_files_of_an_entry_that_became_something_else(tmp_path: Path, kind: str) -> None:
    cache = Cache(tmp_path / "cache", disk_free_min=0)
    with cache.get_or_create("key", lambda folder: (folder / "data").write_bytes(b"data")) as entry:
        (entry.path / "data").unlink()
        if kind == "pipe":
            os.mkfifo(entry.path / "data")
        elif kind == "huge":
            (entry.path / "data").touch()
            os.truncate(entry.path / "data", 1 << 42)
        else:
            (entry.path / "data").symlink_to("/dev/zero")
        with pytest.raises(StorageError, match="can't be read"):
            entry.read_files()
