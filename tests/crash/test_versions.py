"""Killed at every system call of a run that finds items changed and gone: each part is the old one
or the new one, and the next run ends as if nothing had been."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import batten
from batten.crashlab.faults import KillAfter, KillBefore, TearWrite
from batten.crashlab.sweeping import Experiment, Trail, sweep
from batten.crashlab.tracing.laboratory import find_tracing_obstacle, is_tracing_possible
from batten.inspect.verifying.verify import verify

pytestmark = pytest.mark.skipif(not is_tracing_possible(), reason=str(find_tracing_obstacle()))

BATTEN = str(Path(sys.executable).with_name("batten"))
JOB, OUTPUT, CONTROL = "job.py", "features", "features.batten"
UNHARMED = {"INTERRUPTED", "COMPLETE", "COMPLETE_WITH_ORPHANS"}
KILLS = [KillBefore, KillAfter, TearWrite]
COMMAND = [BATTEN, "run", JOB, "--jobs", "1", "--quiet", "--json"]
FILES = 10
CHANGED, GONE = (1, 9), 5
FILTERED = "nothing"

PROGRAM = """
    import batten

    def is_wanted(path):
        return path.read_text() != "nothing"

    def measure(path):
        return {"text": path.read_text()}

    pipeline = (
        batten.from_files("texts/*.txt", removed="drop").filter(is_wanted).map(measure)
        .write_parquet("features/").options(batch_size=4)
    )
"""


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A dataset whose source has changed since, and its parts before and after the next run."""

    folder: Path
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]

    def prepare(self, folder: Path) -> None:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    def check_always(self, folder: Path, trail: Trail) -> None:
        assert "Traceback" not in trail.last.stderr, trail.last.stderr
        diagnosis = batten.diagnose(folder / OUTPUT)
        assert diagnosis.state in UNHARMED, diagnosis
        for name, data in read_parts(folder).items():
            assert data in (self.before.get(name), self.after.get(name)), name

    def check(self, folder: Path, trail: Trail) -> None:
        assert read_parts(folder) == self.after
        diagnosis = batten.diagnose(folder / OUTPUT)
        assert diagnosis.state == "COMPLETE", diagnosis
        items = diagnosis.items
        assert (items.source, items.committed, items.filtered, items.removed) == (10, 9, 1, 1)
        assert verify(folder / OUTPUT).is_sound
        left = [*(folder / CONTROL / "staging").iterdir(), *(folder / CONTROL / "staged").iterdir()]
        assert left == []
        assert list((folder / CONTROL / "recompute").iterdir()) == []


def read_parts(folder: Path) -> dict[str, bytes]:
    """Each is read whole as Parquet as well."""
    paths = sorted((folder / OUTPUT).iterdir())
    assert all(pq.read_table(path) for path in paths)
    return {path.name: path.read_bytes() for path in paths}


def run(folder: Path) -> None:
    subprocess.run(COMMAND, cwd=folder, capture_output=True, check=True)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Changed:
    folder = tmp_path_factory.mktemp("changed") / "job"
    (folder / "texts").mkdir(parents=True)
    (folder / JOB).write_text(textwrap.dedent(PROGRAM))
    for number in range(FILES):
        (folder / "texts" / f"{number}.txt").write_text(str(number) if number != 2 else FILTERED)
    run(folder)
    before = read_parts(folder)
    for number in CHANGED:
        (folder / "texts" / f"{number}.txt").write_text("another")
    (folder / "texts" / f"{GONE}.txt").unlink()
    (folder / "texts" / "more.txt").write_text("more")
    done = folder.with_name("undisturbed")
    shutil.copytree(folder, done)
    run(done)
    texts = {n: "another" if n in CHANGED else str(n) for n in range(FILES) if n not in (2, GONE)}
    assert {row["key"]: row["text"] for row in pq.read_table(done / OUTPUT).to_pylist()} == {
        **{f"{number}.txt": text for number, text in texts.items()},
        "more.txt": "more",
    }
    return Changed(folder=folder, before=before, after=read_parts(done))


@pytest.mark.parametrize("is_twice", [False, True])
@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash)])
def test_killed_around_any_call(
    changed: Changed, sample: int | None, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    if is_twice and sample is None:
        sample = 250
    experiment = Experiment(
        prepare=changed.prepare,
        command=lambda folder: COMMAND,
        folders=lambda folder: [folder / OUTPUT, folder / CONTROL],
        check=changed.check,
        check_always=changed.check_always,
        is_forked=True,
        is_seen_whole=True,
    )
    report = sweep(
        experiment,
        tmp_path / "sweep",
        faults=KILLS,
        sample=sample,
        seed=seeded.getrandbits(32),
        is_twice=is_twice,
    )
    report.raise_on_failures()
    assert report.hit
