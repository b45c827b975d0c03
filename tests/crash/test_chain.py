"""A chain of three is killed around any call of what brings it up to date: the next run closes it,
from the first source to the last row."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import batten
from batten.chain.verifying import verify_chain
from batten.crashlab.faults import KillAfter, KillBefore, TearWrite
from batten.crashlab.sweeping import Experiment, Trail, sweep
from batten.crashlab.tracing.laboratory import find_tracing_obstacle, is_tracing_possible

pytestmark = pytest.mark.skipif(not is_tracing_possible(), reason=str(find_tracing_obstacle()))

BATTEN = str(Path(sys.executable).with_name("batten"))
KILLS = [KillBefore, KillAfter, TearWrite]
FILES = 7
OUTPUTS = ("first", "second", "third.csv")
UNHARMED = {"INTERRUPTED", "COMPLETE", "COMPLETE_WITH_ORPHANS", "STALE"}
WORDS = ["--jobs", "1", "--quiet", "--json"]
COMMAND = [BATTEN, "run", "third.py", "--with-upstream", *WORDS]

JOBS = {
    "first.py": """
        import batten

        def split(path):
            return [{"word": word} for word in path.read_text().split()]

        pipeline = (
            batten.from_files("texts/*.txt", removed="drop").flat_map(split)
            .write_parquet("first/").options(batch_size=3)
        )
    """,
    "second.py": """
        import batten

        def shout(row):
            return {"word": row["word"].upper()}

        pipeline = (
            batten.from_dataset("first/").map(shout).write_parquet("second/")
            .options(batch_size=4)
        )
    """,
    "third.py": """
        import batten

        def end(row):
            return {"word": row["word"] + "!"}

        pipeline = (
            batten.from_dataset("second/").map(end).write_csv("third.csv").options(batch_size=4)
        )
    """,
}


@dataclass(frozen=True, kw_only=True)
class BehindChain:
    """Three datasets, of which the source of the first has changed; the files of each of them
    before the chain is brought up to date and after."""

    folder: Path
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]

    def prepare(self, folder: Path) -> None:
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    def check_always(self, folder: Path, trail: Trail) -> None:
        assert "Traceback" not in trail.last.stderr, trail.last.stderr
        for name in OUTPUTS:
            diagnosis = batten.diagnose(folder / name)
            assert diagnosis.state in UNHARMED, diagnosis
        for name, data in read_outputs(folder).items():
            assert data in (self.before.get(name), self.after.get(name)), name

    def check(self, folder: Path, trail: Trail) -> None:
        assert read_outputs(folder) == self.after
        for name in OUTPUTS:
            # One that was complete is not run again, so what a kill left of it is still there.
            diagnosis = batten.diagnose(folder / name)
            assert diagnosis.state in ("COMPLETE", "COMPLETE_WITH_ORPHANS"), diagnosis
        chain = verify_chain(folder / OUTPUTS[-1])
        assert chain.status == "sound", chain.to_json()


def read_outputs(folder: Path) -> dict[str, bytes]:
    paths = [*(folder / "first").iterdir(), *(folder / "second").iterdir(), folder / "third.csv"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def run(folder: Path, *words: str) -> None:
    subprocess.run([BATTEN, "run", *words, *WORDS], cwd=folder, capture_output=True, check=True)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> BehindChain:
    folder = tmp_path_factory.mktemp("chain") / "job"
    (folder / "texts").mkdir(parents=True)
    for name, text in JOBS.items():
        (folder / name).write_text(textwrap.dedent(text))
    for number in range(FILES):
        (folder / "texts" / f"{number}.txt").write_text(f"a{number} b{number}")
    for name in JOBS:
        run(folder, name)
    before = read_outputs(folder)
    (folder / "texts" / "1.txt").write_text("changed")
    (folder / "texts" / "4.txt").unlink()
    (folder / "texts" / "more.txt").write_text("more")
    done = folder.with_name("undisturbed")
    shutil.copytree(folder, done)
    run(done, "third.py", "--with-upstream")
    words = (done / "third.csv").read_text().split()
    assert len(words) == 1 + 5 * 2 + 2
    return BehindChain(folder=folder, before=before, after=read_outputs(done))


@pytest.mark.parametrize("is_twice", [False, True])
@pytest.mark.parametrize("sample", [3, pytest.param(None, marks=pytest.mark.crash)])
def test_killed_around_any_call(
    behind: BehindChain, sample: int | None, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    if is_twice and sample is None:
        sample = 120
    experiment = Experiment(
        prepare=behind.prepare,
        command=lambda folder: COMMAND,
        folders=lambda folder: [
            folder / each for name in OUTPUTS for each in (name, f"{name}.batten")
        ],
        check=behind.check,
        check_always=behind.check_always,
        timeout_seconds=240.0,
        is_forked=True,
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
