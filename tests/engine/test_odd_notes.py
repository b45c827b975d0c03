"""What batten notes beside its data may have become something else: it is told, nothing hangs."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import batten
from batten.cli.main import main
from batten.errors import BattenError, CorruptError
from batten.model.disk.landed import REACHED
from batten.pipeline.topics.landing import TopicPlace, find_reached
from batten.sources.landed_uses import find_uses_folder, list_uses


def huge_file(path: Path) -> None:
    path.touch()
    os.truncate(path, 20 << 30)


KINDS: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a link": lambda path: path.symlink_to(path.parent / "elsewhere"),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": os.mkdir,
    "a huge file": huge_file,
    "no object": lambda path: path.write_text("[1]") and None,
}


@pytest.fixture(autouse=True)
def within_a_minute() -> Iterator[None]:
    """Whatever hangs, or reads without end, ends the test."""
    before = signal.signal(signal.SIGALRM, _stop)
    signal.alarm(60)
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    most = pages * resource.getpagesize() + 2**31
    resource.setrlimit(resource.RLIMIT_DATA, (most, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, limits)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _stop(number: int, frame: object) -> None:
    raise RuntimeError("it hangs")


def put(path: Path, kind: str) -> None:
    """In the place of what is there, whose bytes lie beside it."""
    path.rename(path.parent / "elsewhere")
    KINDS[kind](path)


@pytest.mark.parametrize("kind", KINDS)
def test_the_note_of_who_reads_what_was_landed(tmp_path: Path, kind: str) -> None:
    landed = tmp_path / "landed"
    batten.land(lambda offset: range(offset, 8), into=landed, items_max=4, seconds_max=1e9)
    source = batten.from_landed(landed).map(lambda n: {"n": n}, version="1")
    source.write_parquet(tmp_path / "out").run(executor="serial")
    (note,) = find_uses_folder(landed).iterdir()
    put(note, kind)
    (note.parent / "elsewhere").rename(tmp_path / "moved")
    if kind == "a link":
        note.unlink()
        note.symlink_to(tmp_path / "moved")
    with pytest.raises(CorruptError, match=f"{note.name} can't be read"):
        list_uses(landed)
    assert main(["clean", "--landed", str(landed)]) == 4
    for command in ("diagnose", "verify", "clean"):
        assert main([command, str(landed)]) in (0, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_how_far_a_topic_was_read(tmp_path: Path, kind: str) -> None:
    place = TopicPlace(
        topic="t", servers="none", into=tmp_path, group="", config={}, timeout_seconds=1
    )
    (tmp_path / REACHED).write_text('{"id": "a", "offsets": {"0": 5}}')
    assert find_reached(place).offsets == {0: 5}
    put(tmp_path / REACHED, kind)
    with pytest.raises(CorruptError, match=f"{REACHED} can't be read"):
        find_reached(place)


@pytest.mark.parametrize("kind", ["a pipe", "a link to a device", "a folder"])
@pytest.mark.parametrize("name", ["files.json", "0"])
def test_the_files_of_an_item_in_the_cache(tmp_path: Path, kind: str, name: str) -> None:
    def make(number: int) -> dict[str, bytes]:
        return {"a": b"%d" % number}

    cache = batten.Cache(tmp_path / "cache", disk_free_min=0)
    step = batten.from_range(1).map(make, version="1", cache=cache)  # type: ignore[arg-type]
    step.write_files(tmp_path / "first/{key}-{name}.bin").run(executor="serial")
    (path,) = (tmp_path / "cache").rglob(f"files/{name}")
    path.parent.chmod(0o755)
    put(path, kind)
    (path.parent / "elsewhere").rename(tmp_path / "moved")
    second = step.write_files(tmp_path / "second/{key}-{name}.bin")
    with pytest.raises(BattenError):
        second.run(executor="serial")
