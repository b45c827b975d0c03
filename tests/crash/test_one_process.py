"""One process dies alone: a worker costs nothing but its item's time, and a driver leaves nobody
behind who could harm the next run."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.tracing import needs_tracing

from batten.crashlab.faults import KillAfter, KillBefore, Meanwhile, TearWrite, Victims
from batten.crashlab.points import MakeFault
from batten.crashlab.random_kills import run_with_random_kills
from batten.crashlab.sweeping import Trail, run_trail, sweep
from batten.crashlab.tracing.system_calls import CallKind

if TYPE_CHECKING:
    from conftest import Subject

SIZES = [pytest.param(3), pytest.param(None, marks=pytest.mark.crash, id="all")]
KILLS: list[MakeFault] = [
    partial(kill, victims=Victims.CALLER) for kill in (KillBefore, KillAfter, TearWrite)
]


@needs_tracing
@pytest.mark.parametrize("sample", SIZES)
@pytest.mark.parametrize("subject", ["cheap", "dear"], indirect=True)
def test_whoever_makes_a_call_dies_alone(
    subject: Subject, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    """A worker, or the driver. A worker's death must not even need a rerun."""

    def check_death(folder: Path, trail: Trail) -> None:
        last = trail.last
        was_worker = last.hit is not None and last.hit.process != 0
        assert not was_worker or last.returncode == subject.done_code
        subject.check_trail(folder, trail, codes=frozenset({subject.done_code}))

    report = sweep(
        replace(subject.experiment(2), check_always=check_death),
        tmp_path / "sweep",
        faults=KILLS,
        sample=sample,
        seed=seeded.getrandbits(32),
    )
    report.raise_on_failures()


@needs_tracing
def test_what_a_dead_worker_left_half_written_is_cleared_away(
    cheap: Subject, tmp_path: Path
) -> None:
    fault = KillBefore(
        1, kinds=frozenset({CallKind.WRITE}), path="*/staging/000000-*", victims=Victims.CALLER
    )
    outcome = run_trail(cheap.experiment(1), tmp_path / "trail", [fault])
    assert outcome.problem is None, outcome.problem
    assert outcome.trail.runs[0].returncode == 0


@needs_tracing
@pytest.mark.parametrize("sample", SIZES)
@pytest.mark.parametrize("subject", ["cheap", "dear"], indirect=True)
def test_a_run_begun_while_the_workers_of_a_dead_driver_live(
    subject: Subject, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    """The next run does all the work while a worker is held in the middle of a call."""

    def check_meanwhile(folder: Path, trail: Trail) -> None:
        meanwhile = trail.last.meanwhile
        assert meanwhile is None or meanwhile.returncode == subject.done_code, meanwhile
        subject.check_trail(folder, trail, codes=frozenset({subject.done_code}))

    orphaned = partial(
        Meanwhile, path="*/stag*", victims=Victims.DRIVER, command=tuple(subject.command(2))
    )
    report = sweep(
        replace(subject.experiment(2), check_always=check_meanwhile),
        tmp_path / "sweep",
        faults=[orphaned],
        sample=sample,
        seed=seeded.getrandbits(32),
    )
    report.raise_on_failures()


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.crash)])
def test_killed_at_random_moments(
    dear: Subject, kills: int, tmp_path: Path, seeded: random.Random
) -> None:
    """At full speed, with no tracer in between."""
    dear.prepare(tmp_path)
    runs = run_with_random_kills(
        dear.command(2),
        kills=kills,
        delay_seconds_max=1.0,
        seed=seeded.getrandbits(32),
        done_codes=frozenset({dear.done_code}),
        working_folder=tmp_path,
    )
    assert runs.survivors == 0
    dear.check_done(tmp_path)
