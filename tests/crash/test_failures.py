"""Calls that fail: the run says so in three lines or does without, and the next one is done."""

from __future__ import annotations

import errno
import json
import random
import shutil
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.faults import Fail, KillBefore
from batten.crashlab.points import AtEachPlace, MakeFault
from batten.crashlab.sweeping import DISK_FAILURES, sweep
from batten.crashlab.tracing.laboratory import run_traced
from batten.crashlab.tracing.system_calls import ALL, CHANGING, CallKind

if TYPE_CHECKING:
    from conftest import Subject

pytestmark = needs_tracing

EXIT_ENVIRONMENT = 7
OUTPUT = "features"
CONTROL = "features.batten"

FAILURES: list[MakeFault] = [*DISK_FAILURES, AtEachPlace(partial(Fail, error=errno.EACCES))]


@pytest.mark.parametrize("sample", [5, pytest.param(None, marks=pytest.mark.crash, id="all")])
@pytest.mark.parametrize(
    ("subject", "jobs"), [("cheap", 1), ("dear", 2), ("awaited", 1)], indirect=["subject"]
)
def test_a_call_fails(
    subject: Subject, jobs: int, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    report = sweep(
        subject.experiment(jobs, other_codes=frozenset({EXIT_ENVIRONMENT})),
        tmp_path / "sweep",
        faults=FAILURES,
        sample=sample,
        seed=seeded.getrandbits(32),
    )
    report.raise_on_failures()


@pytest.mark.parametrize(
    "folder", [OUTPUT, f"{CONTROL}/commits", f"{CONTROL}/plan", f"{CONTROL}/quarantine", CONTROL]
)
def test_names_of_which_a_sync_failed_are_made_anew(
    dear: Subject, folder: str, tmp_path: Path
) -> None:
    """Another sync would claim that they are durable, and write nothing."""
    dear.prepare(tmp_path)
    folders = [tmp_path / OUTPUT, tmp_path / CONTROL]
    told: list[str] = []
    for number in count(1):
        fault = Fail(number, path=f"*/{folder}", error=errno.EIO, kinds=frozenset({CallKind.SYNC}))
        failed = run_traced(dear.command(1), folders=folders, working_folder=tmp_path, fault=fault)
        assert failed.was_triggered
        assert failed.returncode == EXIT_ENVIRONMENT
        # The first sync of an empty folder leaves nothing to make anew.
        if (record := tmp_path / CONTROL / "UNSYNCED").exists():
            told = json.loads(record.read_text())["names"]
            break
    diagnosis = batten.diagnose(tmp_path / OUTPUT)
    assert (diagnosis.state, diagnosis.exit_code) == ("RECOVERY_PENDING", 12)

    again = run_traced(dear.command(1), folders=folders, working_folder=tmp_path)

    dear.check_done(tmp_path)
    made = {
        str(Path(call.target or call.path).relative_to(tmp_path)): call.number
        for call in reversed(again.calls)
        if call.kind in (CallKind.LINK, CallKind.RENAME, CallKind.UNLINK)
    }
    synced = max(
        call.number
        for call in again.calls
        if call.kind is CallKind.SYNC and call.path.endswith(folder)
    )
    for name in told:
        assert made[name] < synced, name
    assert not list((tmp_path / CONTROL).glob("UNSYNCED*"))


@pytest.mark.parametrize("sample", [3, pytest.param(None, marks=pytest.mark.crash, id="all")])
def test_looking_fails_in_a_rerun(
    dear: Subject, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    """What a killed run left can't be looked at, listed or read."""
    template = tmp_path / "template"
    dear.prepare(template)
    experiment = dear.experiment(2, other_codes=frozenset({EXIT_ENVIRONMENT}), kinds=ALL - CHANGING)
    killed = run_traced(
        dear.command(2),
        folders=experiment.folders(template),
        working_folder=template,
        fault=KillBefore(1, path="*/part-000002.parquet"),
    )
    assert killed.was_triggered
    report = sweep(
        replace(experiment, prepare=lambda folder: _copy(template, folder)),
        tmp_path / "sweep",
        faults=[partial(Fail, error=errno.EIO), AtEachPlace(partial(Fail, error=errno.EACCES))],
        sample=sample,
        seed=seeded.getrandbits(32),
    )
    report.raise_on_failures()


def _copy(template: Path, folder: Path) -> None:
    shutil.copytree(template, folder, dirs_exist_ok=True)
