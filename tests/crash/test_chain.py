"""A chain of three is killed around any call of what brings it up to date: the next run closes it,
from the first source to the last row."""

from __future__ import annotations

import random
import sys
import textwrap
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

from batten.chain.verifying import verify_chain
from batten.crashlab.changes import FolderChange, find_change, read_files, run_plainly
from batten.crashlab.sweeping import disturb
from batten.model.words import State

pytestmark = needs_tracing

BATTEN = str(Path(sys.executable).with_name("batten"))
FILES = 7
OUTPUTS = ("first", "second", "third.csv")
DONE = frozenset({State.COMPLETE, State.COMPLETE_WITH_ORPHANS})
"""One that was complete is not run again, so what a kill left of it is still there."""
UNHARMED = DONE | {State.INTERRUPTED, State.STALE}
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
            .options(batch_size=7)
        )
    """,
    "third.py": """
        import batten

        def end(row):
            return {"word": row["word"] + "!"}

        pipeline = (
            batten.from_dataset("second/").map(end).write_csv("third.csv").options(batch_size=7)
        )
    """,
}


def read(folder: Path) -> dict[str, bytes]:
    return {
        f"{name}/{each}": data
        for name in OUTPUTS
        for each, data in read_files(folder, name).items()
    }


def check_chain(folder: Path) -> None:
    chain = verify_chain(folder / OUTPUTS[-1])
    assert chain.status == "sound", chain.to_json()


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> FolderChange:
    """Three datasets, of which the source of the first has changed."""
    folder = tmp_path_factory.mktemp("chain") / "job"
    (folder / "texts").mkdir(parents=True)
    for name, text in JOBS.items():
        (folder / name).write_text(textwrap.dedent(text))
    for number in range(FILES):
        (folder / "texts" / f"{number}.txt").write_text(f"a{number} b{number}")
    for name in JOBS:
        run_plainly([BATTEN, "run", name, *WORDS], folder)
    before = read(folder)
    (folder / "texts" / "1.txt").write_text("changed")
    (folder / "texts" / "4.txt").unlink()
    (folder / "texts" / "more.txt").write_text("more")
    change = find_change(
        folder, COMMAND, OUTPUTS, read, before, unharmed=UNHARMED, done=DONE, check_more=check_chain
    )
    words = (folder.with_name("undisturbed") / "third.csv").read_text().split()
    assert len(words) == 1 + 5 * 2 + 2
    return change


@pytest.mark.parametrize("is_twice", [False, True])
@pytest.mark.parametrize("sample", [3, pytest.param(None, marks=pytest.mark.crash)])
def test_killed_around_any_call(
    behind: FolderChange, sample: int | None, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    experiment = behind.experiment(timeout_seconds=240.0)
    disturb(experiment, tmp_path, seeded=seeded, sample=sample, is_twice=is_twice, twice_max=60)
