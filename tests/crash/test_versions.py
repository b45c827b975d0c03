"""Killed at every system call of a run that finds items changed and gone: each part is the old one
or the new one, and the next run ends as if nothing had been."""

from __future__ import annotations

import random
import sys
import textwrap
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.changes import FolderChange, find_change, read_parts, run_plainly
from batten.crashlab.sweeping import disturb
from batten.model.words import State

pytestmark = needs_tracing

BATTEN = str(Path(sys.executable).with_name("batten"))
JOB, OUTPUT = "job.py", "features"
UNHARMED = frozenset({State.INTERRUPTED, State.COMPLETE, State.COMPLETE_WITH_ORPHANS})
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


def read(folder: Path) -> dict[str, bytes]:
    return read_parts(folder, OUTPUT)


def check_accounts(folder: Path) -> None:
    items = batten.diagnose(folder / OUTPUT).items
    assert (items.source, items.committed, items.filtered, items.removed) == (10, 9, 1, 1)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> FolderChange:
    """A dataset whose source has changed since."""
    folder = tmp_path_factory.mktemp("changed") / "job"
    (folder / "texts").mkdir(parents=True)
    (folder / JOB).write_text(textwrap.dedent(PROGRAM))
    for number in range(FILES):
        (folder / "texts" / f"{number}.txt").write_text(str(number) if number != 2 else FILTERED)
    run_plainly(COMMAND, folder)
    before = read(folder)
    for number in CHANGED:
        (folder / "texts" / f"{number}.txt").write_text("another")
    (folder / "texts" / f"{GONE}.txt").unlink()
    (folder / "texts" / "more.txt").write_text("more")
    change = find_change(
        folder, COMMAND, [OUTPUT], read, before, unharmed=UNHARMED, check_more=check_accounts
    )
    done = folder.with_name("undisturbed")
    texts = {n: "another" if n in CHANGED else str(n) for n in range(FILES) if n not in (2, GONE)}
    assert {row["key"]: row["text"] for row in pq.read_table(done / OUTPUT).to_pylist()} == {
        **{f"{number}.txt": text for number, text in texts.items()},
        "more.txt": "more",
    }
    return change


@pytest.mark.parametrize("is_twice", [False, True])
@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash)])
def test_killed_around_any_call(
    changed: FolderChange, sample: int | None, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    experiment = changed.experiment()
    disturb(experiment, tmp_path, seeded=seeded, sample=sample, is_twice=is_twice, twice_max=100)
