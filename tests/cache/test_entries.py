"""What an entry is to its reader, and what becomes of one that is not as it was written."""

from __future__ import annotations

import os
import random
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from batten.cache.cache import Cache
from batten.cache.clearing.inspection import verify_cache
from batten.errors import UsageError
from batten.model.cached.cache_names import FILES, MANIFEST, CacheLayout
from batten.model.cached.manifests import decode_manifest
from batten.model.disk.records import encode_record

CONTENT = {"a": b"first " * 2000, "b": b"second", "sub/c": b"third", "empty": b""}

Damage = Callable[[Path], object]


def layout_of(cache: Cache) -> CacheLayout:
    return CacheLayout(str(cache.path))


def entries(cache: Cache) -> list[Path]:
    """The folders of all entries."""
    return sorted(Path(layout_of(cache).entries).glob("*/*"))


class Build:
    """Fills a folder with `CONTENT`, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        for name, data in CONTENT.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)


def read(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_it_is_built_once_and_read_from_then_on(cache: Cache) -> None:
    build = Build()
    for number in range(3):
        with cache.get_or_create("key", build) as entry:
            assert read(entry.path) == CONTENT
            assert entry.is_hit == (number > 0)
    assert build.count == 1
    with Cache(cache.path).get_or_create("key", build) as entry:
        assert entry.is_hit


def test_get_is_for_hits_only(cache: Cache) -> None:
    assert cache.get("key") is None
    cache.get_or_create("key", Build()).close()
    found = cache.get("key")
    assert found is not None
    with found as entry:
        assert read(entry.path) == CONTENT
    assert cache.get_or_compute("key", lambda: 5) == 5, "values have keys of their own"


def test_what_was_kept_is_not_to_be_written_to(cache: Cache) -> None:
    with cache.get_or_create("key", Build()) as entry:
        for path in (entry.path, *entry.path.rglob("*")):
            assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


def test_a_build_that_fails_leaves_nothing(cache: Cache) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise ValueError("no such frame")

    with pytest.raises(ValueError, match="no such frame"):
        cache.get_or_create("key", fail)
    assert list(Path(layout_of(cache).building).iterdir()) == []
    assert list(Path(layout_of(cache).locks).iterdir()) == []
    with cache.get_or_create("key", Build()) as entry:
        assert not entry.is_hit


def test_an_empty_build_is_not_kept(cache: Cache) -> None:
    for _ in range(2):
        with cache.get_or_create("key", lambda folder: None) as entry:
            assert list(entry.path.iterdir()) == []
            assert not entry.is_hit
        assert not entry.path.exists()
    assert entries(cache) == []


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "pipe"])
def test_what_can_not_be_kept_whole_is_not_kept(
    cache: Cache, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    make = {
        "symbolic link": lambda path: path.symlink_to(outside),
        "hard link": lambda path: path.hardlink_to(outside),
        "pipe": lambda path: os.mkfifo(path),
    }[kind]
    mode = outside.stat().st_mode
    with cache.get_or_create("key", lambda folder: make(folder / "x")) as entry:
        assert os.path.lexists(entry.path / "x")
    assert entries(cache) == []
    assert outside.stat().st_mode == mode
    assert "x is a" in caplog.text


def test_inputs_that_change_during_the_build_are_noticed(cache: Cache, tmp_path: Path) -> None:
    source = tmp_path / "clip"
    source.write_text("one")

    def build(folder: Path) -> None:
        (folder / "frame").write_text(source.read_text())
        source.write_text("two")

    with cache.get_or_create(source, build) as entry:
        assert (entry.path / "frame").read_text() == "one"
    assert entries(cache) == []


def test_a_build_that_asks_for_itself_is_an_error(cache: Cache) -> None:
    def build(folder: Path) -> None:
        cache.get_or_create("key", build)

    with pytest.raises(UsageError, match="asked for that entry itself"):
        cache.get_or_create("key", build)
    with cache.get_or_create("key", Build()) as entry:
        assert read(entry.path) == CONTENT


def test_threads_build_once(cache: Cache) -> None:
    build = Build()
    found = []

    def use() -> None:
        with cache.get_or_create("key", build) as entry:
            found.append(read(entry.path))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 8
    assert build.count == 1


def make_writable(entry: Path) -> None:
    for folder, _, names in os.walk(entry):
        os.chmod(folder, 0o755)
        for name in names:
            os.chmod(Path(folder, name), 0o644)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


NOTICED_AT_ONCE: dict[str, Damage] = {
    "no files": lambda entry: shutil.rmtree(entry / FILES),
    "emptied": lambda entry: [
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (entry / FILES).iterdir()
    ],
    "a file is gone": lambda entry: (entry / FILES / "b").unlink(),
    "a file too many": lambda entry: (entry / FILES / "other").write_text("x"),
    "no manifest": lambda entry: (entry / MANIFEST).unlink(),
    "empty manifest": lambda entry: (entry / MANIFEST).write_bytes(b""),
    "half a manifest": lambda entry: os.truncate(entry / MANIFEST, 400),
    "flipped head": lambda entry: (entry / MANIFEST).write_bytes(
        (entry / MANIFEST).read_bytes().replace(b"true", b"TRUE").replace(b"false", b"falsf")
    ),
    "a file instead": lambda entry: (shutil.rmtree(entry), entry.write_text("x")),
    "an empty folder instead": lambda entry: (shutil.rmtree(entry), entry.mkdir()),
}
NOTICED_BY_READING: dict[str, Damage] = {
    "flipped": lambda entry: flip(entry / FILES / "a"),
    "truncated": lambda entry: os.truncate(entry / FILES / "a", 5),
    "emptied file": lambda entry: os.truncate(entry / FILES / "b", 0),
    "grown": lambda entry: (entry / FILES / "empty").write_text("x"),
    "gone deep within": lambda entry: (entry / FILES / "sub" / "c").unlink(),
    "renamed": lambda entry: (entry / FILES / "b").rename(entry / FILES / "bb"),
    "flipped listing": lambda entry: flip(entry / MANIFEST),
}


@pytest.mark.parametrize("damage", NOTICED_AT_ONCE.values(), ids=NOTICED_AT_ONCE)
def test_an_entry_that_can_not_be_used_is_replaced(cache: Cache, damage: Damage) -> None:
    cache.get_or_create("key", Build()).close()
    make_writable(entries(cache)[0])
    damage(entries(cache)[0])
    build = Build()
    for _ in range(2):
        with cache.get_or_create("key", build) as entry:
            assert read(entry.path) == CONTENT
    assert build.count == 1
    assert verify_cache(cache.path).damaged == []


@pytest.mark.parametrize("damage", NOTICED_BY_READING.values(), ids=NOTICED_BY_READING)
def test_damage_within_is_found_by_reading(cache: Cache, damage: Damage) -> None:
    cache.get_or_create("key", Build()).close()
    make_writable(entries(cache)[0])
    damage(entries(cache)[0])
    assert verify_cache(cache.path).damaged == [str(entries(cache)[0])]
    assert cache.get("key", should_check=True) is None
    build = Build()
    with cache.get_or_create("key", build, should_check=True) as entry:
        assert read(entry.path) == CONTENT
    assert build.count == 1
    assert verify_cache(cache.path).damaged == []
    assert len(list(Path(layout_of(cache).set_aside).iterdir())) == 1


def of_another_start(cache: Cache) -> Cache:
    """Let all entries be from before the machine was started; the cache as a new process has it."""
    for entry in entries(cache):
        manifest, body = decode_manifest((entry / MANIFEST).read_bytes())
        earlier = type(manifest)(**{**vars(manifest), "boot": "0" * 8 + manifest.boot[8:]})
        (entry / MANIFEST).write_bytes(encode_record(earlier) + body)
    return Cache(cache.path, disk_free_min=0)


def test_after_a_restart_entries_are_read_through_once(cache: Cache) -> None:
    build = Build()
    cache.get_or_create("key", build).close()
    cache = of_another_start(cache)
    with cache.get_or_create("key", build) as entry:
        assert entry.is_hit
    # From now on it is known to be whole; so what is flipped now goes unnoticed.
    make_writable(entries(cache)[0])
    flip(entries(cache)[0] / FILES / "a")
    with Cache(cache.path, disk_free_min=0).get_or_create("key", build) as entry:
        assert entry.is_hit
    assert build.count == 1


def tear(entry: Path, chooser: random.Random) -> None:
    """What a power cut may leave of a folder that was not synced: each name and each block may be
    lost alone."""
    make_writable(entry)
    for path in sorted(entry.rglob("*"), reverse=True):
        fate = chooser.randrange(6)
        if path.is_dir():
            if fate == 0:
                shutil.rmtree(path)
        elif fate == 0:
            path.unlink()
        elif fate == 1:
            os.truncate(path, chooser.randrange(path.stat().st_size + 1))
        elif fate == 2:
            size = path.stat().st_size
            start = chooser.randrange(size + 1)
            with path.open("r+b") as file:
                file.seek(start)
                file.write(bytes(size - start))


@pytest.mark.parametrize("rounds", [60, pytest.param(3000, marks=pytest.mark.crash)])
def test_what_a_power_cut_tore_is_never_served(
    cache: Cache, rounds: int, seeded: random.Random
) -> None:
    hits = 0
    for _ in range(rounds):
        build = Build()
        cache.get_or_create("key", build).close()
        cache = of_another_start(cache)
        shutil.rmtree(layout_of(cache).checked, ignore_errors=True)
        if seeded.randrange(4):
            tear(entries(cache)[0], seeded)
        with cache.get_or_create("key", build) as entry:
            assert read(entry.path) == CONTENT
            hits += entry.is_hit
    assert 0 < hits < rounds


def test_all_files_are_read_at_once(cache: Cache) -> None:
    for _ in range(2):
        with cache.get_or_create("key", Build()) as entry:
            assert entry.read_files() == CONTENT
    with pytest.raises(UsageError, match="closed"):
        entry.read_files()
