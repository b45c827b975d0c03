"""Files that a pattern names, whatever they are called and wherever links lead."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batten.errors import StorageError, UsageError
from batten.sources.base import ItemsWanted, Unavailable
from batten.sources.files.files import FileSource
from batten.sources.files.pattern import Pattern, find_files

NAMES = st.sampled_from(
    ["a", "a-b", "a0", "b", "é", ".hidden", "x.mp4", "x.MP4", "[1]", "line\nend", "\udcff", "**"]
)
COMPONENTS = st.sampled_from(
    ["**", "*", "a", "a*", "?", "*.mp4", "[ab]", "[!a]*", ".*", "[[]1]", "**.mp4", "x.[mM]*"]
)


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def keys_of(folder: Path, pattern: str, sources: Any) -> list[str]:
    return sources.plan(FileSource(pattern, folder=folder)).keys or []


@given(
    files=st.lists(st.lists(NAMES, min_size=1, max_size=3), max_size=12),
    components=st.lists(COMPONENTS, min_size=1, max_size=4),
)
def test_finds_what_glob_finds_in_the_order_of_bytes(
    files: list[list[str]], components: list[str], sources: Any
) -> None:
    pattern = "/".join(["base", *components])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "base").mkdir()
        for parts in files:
            path = folder.joinpath("base", *parts)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            except (FileExistsError, NotADirectoryError):
                continue
        found = glob.glob(pattern, root_dir=folder, recursive=True)
        found = [each for each in found if not each.endswith("/")]  # "file/" for "file/**"
        expected = sorted({folder / each for each in found}, key=os.fsencode)
        expected = [path for path in expected if path.is_file()]
        source = FileSource(pattern, folder=folder)
        if expected or glob.has_magic(components[0]):
            assert sources.read(source) == expected
        else:  # the fixed folder may be missing, which is an error and not an empty scan
            with contextlib.suppress(UsageError, StorageError):
                assert sources.read(source) == []


def test_the_key_is_relative_to_the_fixed_folder(tmp_path: Path, sources: Any) -> None:
    make_files(tmp_path, "data/clips/b/x.mp4", "data/clips/a.mp4", "data/other.mp4")
    for pattern in ("data/clips/**/*.mp4", "./data//clips/**/*.mp4", f"{tmp_path}/data/clips/**"):
        assert keys_of(tmp_path, pattern, sources) == ["a.mp4", "b/x.mp4"]
    assert keys_of(tmp_path / "data" / "clips", "../*.mp4", sources) == ["other.mp4"]


def test_order_is_that_of_whole_keys(tmp_path: Path, sources: Any) -> None:
    make_files(tmp_path, "a/x", "a-b/x", "a0", "a.b", "aé", "a/b/c", "a/b-c", "Z", "a b/ ")
    keys = keys_of(tmp_path, "**", sources)
    assert keys == sorted(keys, key=str.encode)
    assert len(keys) == 9


WEIRD = [
    "new\nline.mp4",
    "quote'\".mp4",
    "clip 🎞.mp4",
    "caf\udce9.mp4",
    "caf\\xe9.mp4",
    "caf\udce9\\.mp4",
    "tab\t.mp4",
    "-rf.mp4",
    "\x01.mp4",
    "[a].mp4",
    "folder\udcff/\n.mp4",
]


def test_weird_names_are_read_back(tmp_path: Path, sources: Any) -> None:
    make_files(tmp_path, *WEIRD)
    source = FileSource("**/*.mp4", folder=tmp_path)
    plan = sources.plan(source)
    assert len(set(plan.keys)) == len(WEIRD)
    for key in plan.keys:
        key.encode()
    paths = sources.read(source)
    assert {str(path.relative_to(tmp_path)) for path in paths} == set(WEIRD)
    assert all(path.is_file() and path.is_absolute() for path in paths)


def test_hidden_names_are_passed_over_unless_asked_for(tmp_path: Path, sources: Any) -> None:
    make_files(tmp_path, ".a", ".git/x", "b/.c", "b/d")
    assert keys_of(tmp_path, "**", sources) == ["b/d"]
    assert keys_of(tmp_path, "**/.*", sources) == [".a", "b/.c"]
    assert keys_of(tmp_path, ".git/*", sources) == ["x"]


def test_a_pattern_without_magic_names_one_file(tmp_path: Path, sources: Any) -> None:
    make_files(tmp_path, "data/one.mp4", "data/two.mp4")
    source = FileSource("data/one.mp4", folder=tmp_path)
    assert sources.pairs(source) == [("one.mp4", tmp_path / "data/one.mp4")]


def test_nothing_that_matches_is_an_empty_scan(tmp_path: Path, sources: Any) -> None:
    assert list(FileSource("*.mp4", folder=tmp_path).scan()) == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("missing/*.mp4", "missing"),
        ("missing.mp4", "missing.mp4"),
        ("file/*.mp4", "not a folder"),
        ("folder", "'folder/**/*'"),
    ],
)
def test_a_wrong_path_is_said(tmp_path: Path, pattern: str, text: str) -> None:
    make_files(tmp_path, "file", "folder/x")
    with pytest.raises(StorageError if text.startswith("missing") else UsageError) as caught:
        list(FileSource(pattern, folder=tmp_path).scan())
    assert text in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("pattern", ["", "/", "clips/", "clips/*/../x", ".", "..", "a\0b", 7, b"a"])
def test_a_pattern_that_names_no_files_is_refused(tmp_path: Path, pattern: Any) -> None:
    with pytest.raises(UsageError):
        FileSource(pattern, folder=tmp_path)


def test_a_vanished_file_is_unavailable(tmp_path: Path, sources: Any) -> None:
    make_files(tmp_path, "a", "b", "c")
    source = FileSource("*", folder=tmp_path)
    plan = sources.plan(source)
    (tmp_path / "b").unlink()
    first, second, third = source.open().read(plan.wanted())
    assert (first, third) == (tmp_path / "a", tmp_path / "c")
    assert isinstance(second, Unavailable)
    assert isinstance(second.error, FileNotFoundError)
    assert str(tmp_path / "b") in str(second.error)


def test_links_are_followed_but_not_round_in_circles(tmp_path: Path, sources: Any) -> None:
    make_files(tmp_path, "real/a.mp4", "elsewhere/b.mp4")
    (tmp_path / "real" / "up").symlink_to(tmp_path)
    (tmp_path / "real" / "again").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "real" / "c.mp4").symlink_to(tmp_path / "elsewhere" / "b.mp4")
    keys = keys_of(tmp_path, "real/**/*.mp4", sources)
    assert keys == ["a.mp4", "c.mp4", "linked/b.mp4", "up/elsewhere/b.mp4"]


def test_links_to_nothing_are_unavailable_and_not_passed_over(tmp_path: Path, sources: Any) -> None:
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    shown = dict(sources.pairs(FileSource("*.mp4", folder=tmp_path)))
    assert shown["gone.mp4"][:2] == ("unavailable", "FileNotFoundError")
    assert shown["loop.mp4"][:2] == ("unavailable", "OSError")


def test_what_is_no_file_is_passed_over(tmp_path: Path, sources: Any) -> None:
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "link.mp4").symlink_to("pipe.mp4")
    assert keys_of(tmp_path, "*.mp4", sources) == []


def test_a_folder_that_cannot_be_listed_fails_the_scan(tmp_path: Path, sources: Any) -> None:
    long = "n" * 250
    deep = tmp_path
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(17):  # beyond the longest path that the kernel takes
        os.mkdir(long, dir_fd=descriptor)
        inner = os.open(long, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
        deep = deep / long
    os.close(descriptor)
    with pytest.raises(StorageError) as caught:
        keys_of(tmp_path, "**", sources)
    assert caught.value.errno is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_without_permission_fails_the_scan(tmp_path: Path, sources: Any) -> None:
    make_files(tmp_path, "locked/a")
    (tmp_path / "locked").chmod(0)
    with pytest.raises(StorageError):
        keys_of(tmp_path, "**", sources)
    (tmp_path / "locked").chmod(0o700)


def test_memory_follows_the_largest_folder(tmp_path: Path) -> None:
    for folder in range(10):
        (tmp_path / f"{folder:02}").mkdir()
        for number in range(100):
            os.mknod(tmp_path / f"{folder:02}" / f"{number:0100}")
    few = observe_peak(tmp_path, ["00", "*"], count=100)
    assert observe_peak(tmp_path, ["*", "*"], count=1000) < 1.2 * few


def observe_peak(folder: Path, components: list[str], *, count: int) -> int:
    """Bytes held at the most on the way through the files."""
    pattern = Pattern(components)
    tracemalloc.start()
    assert sum(1 for _ in find_files(str(folder), pattern)) == count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_reading_needs_keys(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keys"):
        list(FileSource("*", folder=tmp_path).open().read(ItemsWanted(first_ordinal=0, count=1)))
