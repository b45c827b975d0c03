"""Killed at every system call of a run that adds a column, or with that call failing: readers find
the old dataset whole or the new one whole, with one schema, and the next run ends as if nothing had
been."""

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
from batten.crashlab.sweeping import FAILURES, disturb

pytestmark = needs_tracing

BATTEN = str(Path(sys.executable).with_name("batten"))
JOB, OUTPUT = "job.py", "features"
EXIT_ENVIRONMENT = 7
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


def check_accounts(folder: Path) -> None:
    items = batten.diagnose(folder / OUTPUT).items
    assert (items.source, items.committed, items.filtered) == (11, 10, 1)


def read(folder: Path) -> dict[str, bytes]:
    """All parts have one schema."""
    parts = read_parts(folder, OUTPUT)
    assert len({tuple(pq.read_table(folder / OUTPUT / name).schema.names) for name in parts}) == 1
    return parts


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> FolderChange:
    """A dataset whose job has been mended since."""
    folder = tmp_path_factory.mktemp("mended") / "job"
    folder.mkdir()
    text = textwrap.dedent(PROGRAM)
    (folder / JOB).write_text(text)
    run_plainly(COMMAND, folder, code=3)
    before = read(folder)
    for old, new in MENDED:
        text = text.replace(old, new)
    (folder / JOB).write_text(text)
    change = find_change(
        folder,
        ADDING,
        [OUTPUT],
        read,
        before,
        is_at_once=True,
        check_more=check_accounts,
        codes=frozenset({0, EXIT_ENVIRONMENT}),
    )
    rows = pq.read_table(folder.with_name("undisturbed") / OUTPUT).to_pylist()
    assert [row["value"] for row in rows] == [n for n in range(11) if n != 2]
    assert [row["half"] for row in rows if row["half"] is not None] == [2.0, 4.5, 5.0]
    return change


@pytest.mark.parametrize("is_twice", [False, True])
@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash)])
def test_killed_around_any_call(
    mended: FolderChange, sample: int | None, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    experiment = mended.experiment()
    disturb(experiment, tmp_path, seeded=seeded, sample=sample, is_twice=is_twice, twice_max=100)


@pytest.mark.parametrize("sample", [4, pytest.param(None, marks=pytest.mark.crash)])
def test_a_call_fails(
    mended: FolderChange, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    disturb(mended.experiment(), tmp_path, seeded=seeded, faults=FAILURES, sample=sample)
