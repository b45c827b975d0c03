"""Killed at every system call, and each call failing once: a file of an item is whole or absent
under its name, and the next run ends as if nothing had been."""

from __future__ import annotations

import errno
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

import batten
from batten.crashlab.faults import Fail, KillAfter, KillBefore, TearWrite
from batten.crashlab.sweeping import Experiment, MakeFault, Trail, sweep
from batten.crashlab.tracing.laboratory import find_tracing_obstacle, is_tracing_possible
from batten.crashlab.tracing.system_calls import TAKING_SPACE, CallKind
from batten.inspect.verifying.verify import verify

pytestmark = pytest.mark.skipif(not is_tracing_possible(), reason=str(find_tracing_obstacle()))

BATTEN = str(Path(sys.executable).with_name("batten"))
JOB, OUTPUT, CONTROL = "job.py", "copies", "copies.batten"
UNHARMED = {"NEW", "INTERRUPTED", "COMPLETE", "COMPLETE_WITH_ORPHANS", "RECOVERY_PENDING"}
EXIT_ENVIRONMENT = 7
KILLS: list[MakeFault] = [KillBefore, KillAfter, TearWrite]
FAILURES: list[MakeFault] = [
    partial(Fail, error=errno.ENOSPC),
    partial(Fail, error=errno.ENOSPC, times=None, kinds=TAKING_SPACE),
    partial(Fail, error=errno.EIO),
    partial(Fail, error=errno.EIO, kinds=frozenset({CallKind.SYNC})),
    partial(Fail, error=errno.EIO, is_done=True),
    partial(Fail, error=errno.EACCES),
]
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


@dataclass(frozen=True, kw_only=True)
class Course:
    """A job folder, and its files before and after the next run."""

    folder: Path
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]

    def prepare(self, folder: Path) -> None:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    def check_always(self, folder: Path, trail: Trail) -> None:
        last = trail.last
        assert last.returncode < 0 or last.returncode in (0, EXIT_ENVIRONMENT), last.stderr
        assert "Traceback" not in last.stderr, last.stderr
        diagnosis = batten.diagnose(folder / OUTPUT)
        assert diagnosis.state in UNHARMED, diagnosis
        for name, data in read_files(folder).items():
            assert data in (self.before.get(name), self.after.get(name)), name

    def check(self, folder: Path, trail: Trail) -> None:
        assert read_files(folder) == self.after
        diagnosis = batten.diagnose(folder / OUTPUT)
        assert diagnosis.state == "COMPLETE", diagnosis
        assert verify(folder / OUTPUT).is_sound
        for name in ("made", "staging", "staged", "recompute"):
            found = folder / CONTROL / name
            assert not found.exists() or list(found.iterdir()) == [], name


def read_files(folder: Path) -> dict[str, bytes]:
    output = folder / OUTPUT
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }


def run(folder: Path) -> None:
    subprocess.run(COMMAND, cwd=folder, capture_output=True, check=True)


PLAIN = """
    import batten

    pipeline = (
        batten.from_files("texts/*.txt", removed="drop").map(lambda path: path.read_bytes() * 2)
        .options(batch_size=2).write_files("copies/{stem}.bin")
    )
"""


@pytest.fixture(scope="module", params=["first", "changed"])
def course(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Course:
    folder = tmp_path_factory.mktemp("files") / "job"
    return make_course(folder, PROGRAM, is_changed=request.param == "changed")


@pytest.fixture(scope="module", params=["first", "changed"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Course:
    folder = tmp_path_factory.mktemp("plain") / "job"
    return make_course(folder, PLAIN, is_changed=request.param == "changed")


def make_course(folder: Path, program: str, *, is_changed: bool) -> Course:
    (folder / "texts").mkdir(parents=True)
    (folder / JOB).write_text(textwrap.dedent(program))
    for number in range(FILES):
        (folder / "texts" / f"{number}.txt").write_text(f"text {number}")
    if is_changed:
        run(folder)
        (folder / "texts" / f"{CHANGED}.txt").write_text("another")
        (folder / "texts" / f"{GONE}.txt").unlink()
    before = read_files(folder)
    done = folder.with_name("undisturbed")
    shutil.copytree(folder, done)
    run(done)
    after = read_files(done)
    assert len(after) >= FILES - is_changed
    return Course(folder=folder, before=before, after=after)


def sweep_course(
    course: Course,
    folder: Path,
    faults: list[MakeFault],
    sample: int | None,
    seed: int,
    **more: bool,
) -> None:
    experiment = Experiment(
        prepare=course.prepare,
        command=lambda folder: COMMAND,
        folders=lambda folder: [folder / OUTPUT, folder / CONTROL],
        check=course.check,
        check_always=course.check_always,
        is_forked=True,
        is_seen_whole=True,
    )
    report = sweep(experiment, folder, faults=faults, sample=sample, seed=seed, **more)
    report.raise_on_failures()
    assert report.hit


@pytest.mark.parametrize("is_twice", [False, True])
@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash)])
def test_killed_around_any_call(
    course: Course, sample: int | None, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    if is_twice and sample is None:
        sample = 250
    seed = seeded.getrandbits(32)
    sweep_course(course, tmp_path / "sweep", KILLS, sample, seed, is_twice=is_twice)


@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash, id="all")])
def test_a_call_fails(
    plain: Course, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    """None is of a function's own: what fails there may be its item's failure."""
    seed = seeded.getrandbits(32)
    sweep_course(plain, tmp_path / "sweep", FAILURES, sample, seed)


RECOVER = [BATTEN, "recover", OUTPUT, "--recompute-missing", "--json"]


@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash)])
def test_a_recovery_is_killed_around_any_call(
    course: Course, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    damaged = tmp_path / "damaged"
    course.prepare(damaged)
    run(damaged)
    (damaged / OUTPUT / "0" / "copy.bin").unlink()
    (damaged / OUTPUT / "2" / "more" / "large.bin").write_bytes(b"?")

    def check_always(folder: Path, trail: Trail) -> None:
        assert "Traceback" not in trail.last.stderr, trail.last.stderr

    def check(folder: Path, trail: Trail) -> None:
        if read_files(folder) != course.after:
            run(folder)
        course.check(folder, trail)
        assert [
            path for path in (folder / CONTROL / "set-aside").iterdir() if path.stat().st_size == 1
        ]

    experiment = Experiment(
        prepare=lambda folder: shutil.copytree(damaged, folder, dirs_exist_ok=True) and None,
        command=lambda folder: RECOVER,
        folders=lambda folder: [folder / OUTPUT, folder / CONTROL],
        check=check,
        check_always=check_always,
        is_forked=True,
    )
    seed = seeded.getrandbits(32)
    report = sweep(experiment, tmp_path / "sweep", faults=KILLS, sample=sample, seed=seed)
    report.raise_on_failures()
    assert report.hit
