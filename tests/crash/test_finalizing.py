"""Wherever finalizing is cut off, readers find the old dataset whole or the new one whole, and the
first dataset untouched; the next run ends with the new one."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from tests.tracing import needs_tracing

import batten
from batten import from_range
from batten.crashlab.faults import KillAfter, KillBefore, TearWrite
from batten.crashlab.power import MetStates
from batten.crashlab.sweeping import Experiment, Trail, disturb
from batten.drive.run import run_on
from batten.finalize import finalize
from batten.inspect.verifying.verify import verify
from batten.model.disk.names import Layout
from batten.pipeline.pipeline import Pipeline
from batten.run.report import Report
from batten.run.run_options import RunOptions
from batten.storage.changing.publishing import create
from batten.storage.twin.memory import MemoryStorage
from batten.storage.twin.power_cuts import CutPower, PowerLost
from batten.storage.twin.volatile import Model

BATTEN = str(Path(sys.executable).with_name("batten"))
JOB = "job.py"
STATES = {"INTERRUPTED", "COMPLETE", "COMPLETE_WITH_ORPHANS", "RECOVERY_PENDING"}
"""What may be found of an output that was there before, wherever a run was stopped."""

Contents = dict[str, bytes]


def first_rows(table: pa.Table) -> pa.Table:
    return table.slice(0, 5)


def newest_first(table: pa.Table) -> pa.Table:
    return table.sort_by([("key", "descending")])


def describe(folder: Path, function: Callable[[pa.Table], pa.Table]) -> Pipeline:
    made = from_range(6).map(lambda number: {"square": number * number})
    return made.write_parquet(folder / "out").finalize(function, into=folder / "final")


def finish(storage: MemoryStorage, pipeline: Pipeline) -> Report:
    return run_on(storage, pipeline, RunOptions(jobs=1, executor="serial"))


def contents_of(storage: MemoryStorage, folder: str) -> Contents:
    return {
        name: data
        for name, data in storage.snapshot().items()
        if name.startswith(folder + "/") and data is not None
    }


def load(folder: Path) -> MemoryStorage:
    """A storage in memory that holds the folder, durably."""
    storage = MemoryStorage()
    storage.ensure_folder("loading")
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir():
            storage.ensure_folder(name)
        else:
            create(storage, "loading", name, path.read_bytes())
    return storage


@pytest.mark.parametrize("model", ["kill", "ordered"])
@pytest.mark.parametrize("has_old", [False, True], ids=["first time", "again"])
def test_power_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model, has_old: bool
) -> None:
    sweep_power(tmp_path, monkeypatch, model, has_old, stride=7 if model == "kill" else 67)


@pytest.mark.crash
@pytest.mark.parametrize("model", ["kill", "ordered", "weak"])
@pytest.mark.parametrize("has_old", [False, True], ids=["first time", "again"])
def test_power_is_lost_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model, has_old: bool
) -> None:
    # A weak filesystem leaves some hundreds of states at each step, each run to its end.
    sweep_power(tmp_path, monkeypatch, model, has_old, stride=23 if model == "weak" else 1)


def sweep_power(
    folder: Path, monkeypatch: pytest.MonkeyPatch, model: Model, has_old: bool, stride: int
) -> None:
    monkeypatch.setattr(finalize, "PART_ROWS_MAX", 2)
    describe(folder, first_rows).run(executor="serial")
    if not has_old:
        shutil.rmtree(folder / "final")
        shutil.rmtree(folder / "final.batten")
    pipeline = describe(folder, newest_first)
    undisturbed = load(folder)
    first, old = contents_of(undisturbed, "out"), contents_of(undisturbed, "final")
    assert finish(undisturbed, pipeline).finalized[0].status == "complete"
    new = contents_of(undisturbed, "final")
    assert len(new) == 3
    met, cut = MetStates(Layout("final")), 1
    while True:
        storage = load(folder)
        storage.observer = CutPower(cut)
        try:
            finish(storage, pipeline)
        except PowerLost:
            for state in filter(met.is_new, storage.surviving_states(model)):
                assert contents_of(state, "final") in (old, new), cut
                assert finish(state, pipeline).finalized[0].rows == 6
                assert contents_of(state, "final") == new, cut
                assert contents_of(state, "out") == first, cut
                assert not any("/fresh" in name for name in state.snapshot())
            cut += stride
            continue
        break
    assert cut > 50


PROGRAM = """
    import batten

    def square(number):
        return {{"square": number * number}}

    def last(table):
        return table.slice({start})

    pipeline = (
        batten.from_range(10).map(square).options(batch_size=4)
        .write_parquet("out/").finalize(last, into="final/")
    )
"""


def run_job(folder: Path) -> None:
    command = [BATTEN, "run", JOB, "--jobs", "1", "--quiet"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=60)


def write_job(folder: Path, start: int) -> None:
    (folder / JOB).write_text(textwrap.dedent(PROGRAM.format(start=start)))


def contents(folder: Path, name: str) -> Contents:
    found = folder / name
    return {each.name: each.read_bytes() for each in found.iterdir()} if found.exists() else {}


@needs_tracing
@pytest.mark.parametrize("sample", [3, pytest.param(None, marks=pytest.mark.crash, id="all")])
def test_killed_around_any_call(tmp_path: Path, sample: int | None, seeded: random.Random) -> None:
    template = tmp_path / "template"
    template.mkdir()
    write_job(template, 0)
    run_job(template)
    first, old = contents(template, "out"), contents(template, "final")
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(template, undisturbed)
    write_job(undisturbed, 7)
    run_job(undisturbed)
    new = contents(undisturbed, "final")
    assert len({b"".join(each.values()) for each in (first, old, new)}) == 3

    def prepare(folder: Path) -> None:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        write_job(folder, 7)

    def check(folder: Path, trail: Trail) -> None:
        assert contents(folder, "final") == new
        assert verify(folder / "final").is_sound
        assert batten.diagnose(folder / "final").state == "COMPLETE"
        assert not (folder / "final.batten/fresh").exists()

    def check_always(folder: Path, trail: Trail) -> None:
        assert contents(folder, "final") in (old, new)
        assert contents(folder, "out") == first
        for name in ("final", "out"):
            state = batten.diagnose(folder / name).state
            assert state in STATES
            # Before its journal is rolled forward, nobody verifies it.
            assert state == "RECOVERY_PENDING" or verify(folder / name).is_sound

    disturb(
        Experiment(
            prepare=prepare,
            command=lambda folder: [BATTEN, "run", JOB, "--jobs", "1", "--quiet"],
            folders=lambda folder: [folder / "final", folder / "final.batten"],
            check=check,
            check_always=check_always,
            is_forked=True,
            is_seen_whole=True,
        ),
        tmp_path,
        seeded=seeded,
        faults=[KillBefore, KillAfter, TearWrite],
        sample=sample,
    )
