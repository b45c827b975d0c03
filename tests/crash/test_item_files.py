"""Killed at every system call, and each call failing once: a file of an item is whole or absent
under its name, and the next run ends as if nothing had been."""

from __future__ import annotations

import errno
import random
import sys
import textwrap
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

from batten.crashlab.changes import FolderChange, find_change, read_files, run_plainly
from batten.crashlab.faults import Fail
from batten.crashlab.points import AtEachPlace, MakeFault
from batten.crashlab.sweeping import DISK_FAILURES, Trail, disturb

pytestmark = needs_tracing

BATTEN = str(Path(sys.executable).with_name("batten"))
JOB, OUTPUT, CONTROL = "job.py", "copies", "copies.batten"
EXIT_ENVIRONMENT = 7
FAILURES: list[MakeFault] = [*DISK_FAILURES, AtEachPlace(partial(Fail, error=errno.EACCES))]
COMMAND = [BATTEN, "run", JOB, "--jobs", "1", "--quiet", "--json"]
FILES = 6
CHANGED, GONE = 1, 4

PROGRAM = """
    import batten

    def make(path, folder):
        text = path.read_bytes()
        if path.name == "5.txt":
            return {"copy": iter([text, text])}
        (folder / "large").write_bytes(text * 3)
        return {"copy": text * 2, "more/large": folder / "large"}

    pipeline = (
        batten.from_files("texts/*.txt", removed="drop").map(make)
        .options(batch_size=2).write_files("copies/{stem}/{name}.bin")
    )
"""


def read(folder: Path) -> dict[str, bytes]:
    return read_files(folder, OUTPUT)


PLAIN = """
    import batten

    pipeline = (
        batten.from_files("texts/*.txt", removed="drop").map(lambda path: path.read_bytes() * 2)
        .options(batch_size=2).write_files("copies/{stem}.bin")
    )
"""


@pytest.fixture(scope="module", params=["first", "changed"])
def course(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> FolderChange:
    folder = tmp_path_factory.mktemp("files") / "job"
    return make_course(folder, PROGRAM, is_changed=request.param == "changed")


@pytest.fixture(scope="module", params=["first", "changed"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FolderChange:
    folder = tmp_path_factory.mktemp("plain") / "job"
    return make_course(folder, PLAIN, is_changed=request.param == "changed")


def make_course(folder: Path, program: str, *, is_changed: bool) -> FolderChange:
    (folder / "texts").mkdir(parents=True)
    (folder / JOB).write_text(textwrap.dedent(program))
    for number in range(FILES):
        (folder / "texts" / f"{number}.txt").write_text(f"text {number}")
    if is_changed:
        run_plainly(COMMAND, folder)
        (folder / "texts" / f"{CHANGED}.txt").write_text("another")
        (folder / "texts" / f"{GONE}.txt").unlink()
    codes = frozenset({0, EXIT_ENVIRONMENT})
    change = find_change(folder, COMMAND, [OUTPUT], read, read(folder), codes=codes)
    assert len(change.after) >= FILES - is_changed
    return change


@pytest.mark.parametrize("is_twice", [False, True])
@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash)])
def test_killed_around_any_call(
    course: FolderChange, sample: int | None, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    experiment = course.experiment()
    disturb(experiment, tmp_path, seeded=seeded, sample=sample, is_twice=is_twice, twice_max=100)


@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash, id="all")])
def test_a_call_fails(
    plain: FolderChange, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    """None is of a function's own: what fails there may be its item's failure."""
    disturb(plain.experiment(), tmp_path, seeded=seeded, faults=FAILURES, sample=sample)


RECOVER = [BATTEN, "recover", OUTPUT, "--recompute-missing", "--json"]


@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash)])
def test_a_recovery_is_killed_around_any_call(
    course: FolderChange, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    damaged = tmp_path / "damaged"
    course.prepare(damaged)
    run_plainly(COMMAND, damaged)
    (damaged / OUTPUT / "0" / "copy.bin").unlink()
    (damaged / OUTPUT / "2" / "more" / "large.bin").write_bytes(b"?")

    def check_always(folder: Path, trail: Trail) -> None:
        assert "Traceback" not in trail.last.stderr, trail.last.stderr

    def check(folder: Path, trail: Trail) -> None:
        if read(folder) != course.after:
            run_plainly(COMMAND, folder)
        course.check(folder, trail)
        assert [
            path for path in (folder / CONTROL / "set-aside").iterdir() if path.stat().st_size == 1
        ]

    experiment = replace(course, folder=damaged).experiment(
        command=lambda folder: RECOVER,
        check=check,
        check_always=check_always,
        is_seen_whole=False,
    )
    disturb(experiment, tmp_path, seeded=seeded, sample=sample)
