"""Killed at every system call of a run that adds a column: readers find the old dataset whole or
the new one whole, with one schema, and the next run ends as if nothing had been."""

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
UNHARMED = {"INTERRUPTED", "COMPLETE", "COMPLETE_WITH_ORPHANS", "RECOVERY_PENDING"}
COMMAND = [BATTEN, "run", JOB, "--jobs", "1", "--quiet", "--json"]
ADDING = [*COMMAND, "--accept-change", "--add-columns", "--retry-quarantined"]

PROGRAM = """
    import batten

    FAILS = 4

    def work(number):
        if number == FAILS:
            raise ValueError("broken")
        return {"value": number}

    pipeline = (
        batten.from_range(9).filter(lambda number: number != 2).map(work)
        .write_parquet("features/").options(batch_size=3)
    )
"""
MENDED = (
    ("FAILS = 4", "FAILS = -1"),
    ("from_range(9)", "from_range(11)"),
    ('"value": number', '"value": number, "half": number / 2'),
)


@dataclass(frozen=True, kw_only=True)
class Mended:
    """A dataset whose job has been mended since, and its parts before and after the next run."""

    folder: Path
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]

    def prepare(self, folder: Path) -> None:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    def check_always(self, folder: Path, trail: Trail) -> None:
        assert "Traceback" not in trail.last.stderr, trail.last.stderr
        diagnosis = batten.diagnose(folder / OUTPUT)
        assert diagnosis.state in UNHARMED, diagnosis
        assert read_parts(folder) in (self.before, self.after)

    def check(self, folder: Path, trail: Trail) -> None:
        assert read_parts(folder) == self.after
        diagnosis = batten.diagnose(folder / OUTPUT)
        assert diagnosis.state == "COMPLETE", diagnosis
        items = diagnosis.items
        assert (items.source, items.committed, items.filtered) == (11, 10, 1)
        assert verify(folder / OUTPUT).is_sound
        left = [*(folder / CONTROL / "staging").iterdir(), *(folder / CONTROL / "staged").iterdir()]
        assert left == []
        assert not (folder / CONTROL / "fresh").exists()


def read_parts(folder: Path) -> dict[str, bytes]:
    """Each is read whole as Parquet as well."""
    paths = sorted((folder / OUTPUT).iterdir())
    assert len({tuple(pq.read_table(path).schema.names) for path in paths}) == 1
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> Mended:
    folder = tmp_path_factory.mktemp("mended") / "job"
    folder.mkdir()
    text = textwrap.dedent(PROGRAM)
    (folder / JOB).write_text(text)
    subprocess.run(COMMAND, cwd=folder, capture_output=True, check=False)
    before = read_parts(folder)
    for old, new in MENDED:
        text = text.replace(old, new)
    (folder / JOB).write_text(text)
    done = folder.with_name("undisturbed")
    shutil.copytree(folder, done)
    subprocess.run(ADDING, cwd=done, capture_output=True, check=True)
    rows = pq.read_table(done / OUTPUT).to_pylist()
    assert [row["value"] for row in rows] == [n for n in range(11) if n != 2]
    assert [row["half"] for row in rows if row["half"] is not None] == [2.0, 4.5, 5.0]
    return Mended(folder=folder, before=before, after=read_parts(done))


@pytest.mark.parametrize("is_twice", [False, True])
@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash)])
def test_killed_around_any_call(
    mended: Mended, sample: int | None, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    if is_twice and sample is None:
        sample = 250
    experiment = Experiment(
        prepare=mended.prepare,
        command=lambda folder: ADDING,
        folders=lambda folder: [folder / OUTPUT, folder / CONTROL],
        check=mended.check,
        check_always=mended.check_always,
        is_forked=True,
        is_seen_whole=True,
    )
    report = sweep(
        experiment,
        tmp_path / "sweep",
        faults=[KillBefore, KillAfter, TearWrite],
        sample=sample,
        seed=seeded.getrandbits(32),
        is_twice=is_twice,
    )
    report.raise_on_failures()
    assert report.hit
