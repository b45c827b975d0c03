"""Rows of a hand-made job are adopted under kills, failing calls and power cuts.

Nothing that is finished is computed, and the accounts close.
"""

from __future__ import annotations

import errno
import json
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.tracing import needs_tracing

import batten
from batten.adopting.finished import FinishedFiles
from batten.adopting.row_files import open_rows
from batten.crashlab.faults import Fail, KillAfter, KillBefore, TearWrite
from batten.crashlab.points import AtEachPlace, MakeFault
from batten.crashlab.power import find_states, record_cuts, sample_states
from batten.crashlab.promises import Expected, find_broken, find_undone, read_parts
from batten.crashlab.sweeping import Experiment, Trail, disturb
from batten.drive.run import run_on
from batten.inspect.verifying.verify import verify
from batten.model.disk.names import Layout
from batten.model.disk.runs.job_calls import BATTEN as BY_BATTEN
from batten.model.disk.runs.job_calls import UNKNOWN_CALL, JobCall
from batten.pipeline.pipeline import Pipeline
from batten.run.run_options import RunOptions
from batten.storage.twin.memory import MemoryStorage

BATTEN = str(Path(sys.executable).with_name("batten"))
OUTPUT, CONTROL = "out", "out.batten"
UNHARMED = {"NEW", "INTERRUPTED", "COMPLETE", "COMPLETE_WITH_ORPHANS", "RECOVERY_PENDING"}
ITEMS, BATCH_ITEMS = 12, 3
ADOPTED = [number for number in range(ITEMS) if number % 2 == 0]
COMMAND = [
    *(BATTEN, "adopt", "rows.jsonl", "--key", "name", "--into", OUTPUT, "--job", "job.py"),
    *("--quiet", "--json"),
]
FAULTS: list[MakeFault] = [
    KillBefore,
    KillAfter,
    TearWrite,
    partial(Fail, error=errno.EIO),
    AtEachPlace(partial(Fail, error=errno.ENOSPC)),
]
EXIT_ENVIRONMENT = 7

PROGRAM = """
    import batten

    def name_items():
        return [{"name": f"item{number:02}", "number": number} for number in range(12)]

    def square(item):
        with open("calls", "a") as calls:
            calls.write(item["name"] + "\\n")
        return {"square": item["number"] ** 2}

    pipeline = (
        batten.from_items(name_items, key="name").map(square).write_parquet("out/")
        .options(batch_size=3)
    )
"""


def lines_of(numbers: Iterable[int]) -> str:
    rows = [{"name": f"item{number:02}", "square": number**2} for number in numbers]
    return "".join(json.dumps(row) + "\n" for row in rows)


def prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.py").write_text(textwrap.dedent(PROGRAM))
    (folder / "rows.jsonl").write_text(lines_of(ADOPTED) + '{"name": "item01", "squ')


def parts_in(folder: Path) -> dict[str, bytes]:
    output = folder / OUTPUT
    paths = sorted(output.iterdir()) if output.exists() else []
    assert all(pq.read_table(path) for path in paths)
    return {path.name: path.read_bytes() for path in paths}


@dataclass(frozen=True, kw_only=True)
class Undisturbed:
    """What an adoption makes, and then a run."""

    adopted: dict[str, bytes]
    done: dict[str, bytes]

    def check_always(self, folder: Path, trail: Trail) -> None:
        last = trail.last
        assert "Traceback" not in last.stderr, last.stderr
        was_killed = last.returncode < 0 and last.fault is not None
        assert was_killed or last.returncode in (0, EXIT_ENVIRONMENT), last.stderr
        diagnosis = batten.diagnose(folder / OUTPUT)
        assert diagnosis.state in UNHARMED, diagnosis
        found = parts_in(folder)
        assert found == dict(list(self.adopted.items())[: len(found)])
        assert (folder / "rows.jsonl").read_text().startswith(lines_of(ADOPTED))
        assert not (folder / "calls").exists()
        is_half = found and len(found) < len(self.adopted)
        if is_half and diagnosis.state == "INTERRUPTED":
            self.check_half(folder)

    def check_half(self, folder: Path) -> None:
        """A run does not compute what is finished, and says how to go on."""
        assert "batten adopt rows.jsonl" in batten.diagnose(folder / OUTPUT).next
        copy = folder.with_name(folder.name + "-run")
        shutil.copytree(folder, copy)
        refused = subprocess.run(
            [BATTEN, "run", "job.py"], cwd=copy, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 5, refused.stderr
        assert "batten adopt rows.jsonl" in refused.stderr
        assert not (copy / "calls").exists()
        shutil.rmtree(copy)

    def check(self, folder: Path, trail: Trail) -> None:
        """The adoption says that it is done, and the next run computes only the rest."""
        assert parts_in(folder) == self.adopted
        assert batten.diagnose(folder / OUTPUT).next.endswith("batten run job.py")
        copy = folder.with_name(folder.name + "-done")
        shutil.copytree(folder, copy)
        subprocess.run(
            [BATTEN, "run", "job.py", "--quiet", "--jobs", "1"],
            cwd=copy,
            capture_output=True,
            check=True,
        )
        assert parts_in(copy) == self.done
        check_done(copy)
        shutil.rmtree(copy)


def check_done(folder: Path) -> None:
    items = batten.diagnose(folder / OUTPUT).items
    assert (items.source, items.committed, items.adopted) == (ITEMS, ITEMS, len(ADOPTED))
    calls = (folder / "calls").read_text().split()
    assert calls == [f"item{n:02}" for n in range(ITEMS) if n not in ADOPTED]
    assert verify(folder / OUTPUT).is_sound
    left = [*(folder / CONTROL / "staging").iterdir(), *(folder / CONTROL / "staged").iterdir()]
    assert left == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    folder = tmp_path_factory.mktemp("adopted") / "job"
    prepare(folder)
    subprocess.run(COMMAND, cwd=folder, capture_output=True, check=True)
    adopted = parts_in(folder)
    assert len(adopted) == 2
    command = [BATTEN, "run", "job.py", "--quiet", "--jobs", "1"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    check_done(folder)
    rows = {row["key"]: row["square"] for row in pq.read_table(folder / OUTPUT).to_pylist()}
    assert rows == {f"item{number:02}": number**2 for number in range(ITEMS)}
    return Undisturbed(adopted=adopted, done=parts_in(folder))


@needs_tracing
@pytest.mark.parametrize("is_twice", [False, True])
@pytest.mark.parametrize("sample", [5, pytest.param(None, marks=pytest.mark.crash)])
def test_disturbed_around_any_call(
    undisturbed: Undisturbed,
    sample: int | None,
    is_twice: bool,
    tmp_path: Path,
    seeded: random.Random,
) -> None:
    if is_twice and sample is None:
        sample = 250
    experiment = Experiment(
        prepare=prepare,
        command=lambda folder: COMMAND,
        folders=lambda folder: [folder / OUTPUT, folder / CONTROL],
        check=undisturbed.check,
        check_always=undisturbed.check_always,
        is_forked=True,
        is_seen_whole=True,
    )
    disturb(
        experiment,
        tmp_path,
        seeded=seeded,
        faults=FAULTS,
        sample=sample,
        is_twice=is_twice,
    )


LAYOUT = Layout(OUTPUT)
CALLED: list[str] = []


def name_items() -> list[dict[str, Any]]:
    return [{"name": f"item{number:02}", "number": number} for number in range(ITEMS)]


def square(item: dict[str, Any]) -> dict[str, Any]:
    return {"square": item["number"] ** 2}


def make_pipeline() -> Pipeline:
    return (
        batten.from_items(name_items, key="name")
        .map(square)
        .write_parquet(OUTPUT)
        .options(batch_size=BATCH_ITEMS)
    )


@dataclass(frozen=True, kw_only=True)
class InMemory:
    """Adopts into a storage that loses power, and then runs what is left."""

    rows: Path

    def act(self, storage: MemoryStorage) -> None:
        pipeline = make_pipeline()
        finished = FinishedFiles([open_rows(str(self.rows))], "name", pipeline, None)
        finished.look_through(None)
        call = _call(self.rows)
        run_on(storage, pipeline, RunOptions(jobs=1, call=call), finished=finished)
        report = run_on(storage, pipeline, RunOptions(jobs=1, executor="serial"))
        assert report.accounts is not None
        assert report.accounts.adopted == len(ADOPTED)


def _call(rows: Path) -> JobCall:
    return replace(UNKNOWN_CALL, kind=BY_BATTEN, file="/job.py", rows=[str(rows)], rows_key="name")


@pytest.mark.parametrize("is_whole", [False, pytest.param(True, marks=pytest.mark.crash)])
def test_power_is_lost(is_whole: bool, tmp_path: Path, seeded: random.Random) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(lines_of(ADOPTED))
    subject = InMemory(rows=rows)
    storage = MemoryStorage()
    cuts = record_cuts(storage, subject.act, LAYOUT)
    expected = Expected(layout=LAYOUT, before={}, after=read_parts(storage, LAYOUT))
    assert list(find_undone(storage, expected)) == []
    states = find_states(cuts, LAYOUT, seeded) if is_whole else sample_states(cuts, seeded, 20)
    for found in states:
        assert not list(find_broken(found.storage, expected, found.committed)), found.how
        subject.act(found.storage)
        assert not list(find_undone(found.storage, expected)), found.how
