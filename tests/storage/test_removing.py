"""A folder is removed however deep it is, with few open files, and nothing that takes its name."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from batten.storage.beneath import Beneath
from batten.storage.changing import steps
from batten.storage.changing.removing import OPEN_MAX, remove_tree

MakeDeep = Callable[..., None]


@pytest.fixture
def few_open_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = len(os.listdir("/proc/self/fd")) + OPEN_MAX + 4
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("few_open_files")
def test_a_deep_folder_is_removed_with_few_open_files(tmp_path: Path, make_deep: MakeDeep) -> None:
    make_deep(tmp_path / "deep")
    before = os.listdir("/proc/self/fd")
    assert remove_tree(Beneath(str(tmp_path)), "deep")
    assert list(tmp_path.iterdir()) == []
    assert os.listdir("/proc/self/fd") == before


def test_many_folders_with_protected_ones_among_them(tmp_path: Path, make_deep: MakeDeep) -> None:
    for number in range(40):
        make_deep(tmp_path / f"wide/{number}", number)
        (tmp_path / f"wide/{number}").chmod(0o555)
    assert remove_tree(Beneath(str(tmp_path)), "wide", first="file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("level", [1, OPEN_MAX, OPEN_MAX + 1, 2 * OPEN_MAX, 3 * OPEN_MAX])
def test_where_a_folder_is_moved_away_meanwhile_nothing_beside_it_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int, make_deep: MakeDeep
) -> None:
    make_deep(tmp_path / "deep", 4 * OPEN_MAX)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_text("kept")
    moved = []

    def move_away(moment: str, step: str, name: str) -> None:
        """Once the removal is at the bottom."""
        if not moved and step == "folder.remove" and moment == "before":
            moved.append(name)
            (tmp_path / "deep" / "/".join("d" * level)).rename(tmp_path / "elsewhere" / "moved")

    monkeypatch.setattr(steps, "observer", move_away)
    with suppress(OSError):
        remove_tree(Beneath(str(tmp_path)), "deep")
    assert moved
    assert (tmp_path / "elsewhere" / "kept").read_text() == "kept"


JOB = """
    def scale(n):
        return {"value": n}

    pipeline = batten.from_range(4).map(scale).options(batch_size=2).write_parquet("out")
"""

PLACES = (
    *("out.batten/staging/hostile", "out.batten/staging/part-000000.parquet", "out.batten/fresh"),
    *("out.batten/set-aside/hostile", "out.batten/hostile", "out/hostile"),
)
COMMANDS = [
    *(["diagnose", "out"], ["verify", "out"], ["clean", "--older-than", "0", "out"]),
    *(["recover", "out"], ["diagnose", "."], ["run", "job.py"], ["run", "job.py", "--fresh"]),
    *(["report", "out", "-o", "page.html"], ["diagnose", "out"]),
]


@pytest.mark.parametrize("place", PLACES)
def test_every_command_stands_a_deep_folder(job: Any, place: str, make_deep: MakeDeep) -> None:
    job.write(JOB)
    assert job.run("--quiet").code == 0
    make_deep(job.path / place)
    for words in COMMANDS:
        ended = job.batten(*words)
        assert "Traceback" not in ended.err, (words, ended.err)
        assert ended.code in (0, 2, 4, 5, 7, 10, 11, 12), (words, ended.code, ended.err)
