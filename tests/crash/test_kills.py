"""Killed at every system call, and again in the rerun: the next run ends as if nothing had been."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.tracing import needs_tracing

from batten.crashlab.sweeping import KILLS, disturb, sweep

if TYPE_CHECKING:
    from conftest import Subject

pytestmark = needs_tracing


@pytest.mark.parametrize(
    ("subject", "jobs", "sample"),
    [
        ("cheap", 1, 3),
        ("dear", 2, 3),
        ("awaited", 1, 3),
        pytest.param("awaited", 1, None, marks=pytest.mark.crash),
        *(
            pytest.param(subject, jobs, None, marks=pytest.mark.crash)
            for subject in ("cheap", "dear")
            for jobs in (1, 2)
        ),
    ],
    indirect=["subject"],
)
def test_killed_around_any_call(
    subject: Subject, jobs: int, sample: int | None, tmp_path: Path, seeded: random.Random
) -> None:
    disturb(
        subject.experiment(jobs),
        tmp_path,
        seeded=seeded,
        sample=sample,
    )


@pytest.mark.parametrize("sample", [3, pytest.param(250, marks=pytest.mark.crash)])
@pytest.mark.parametrize("subject", ["cheap", "dear"], indirect=True)
def test_killed_again_in_the_rerun(
    subject: Subject, sample: int, tmp_path: Path, seeded: random.Random
) -> None:
    report = sweep(
        subject.experiment(2),
        tmp_path / "sweep",
        faults=KILLS,
        sample=sample,
        seed=seeded.getrandbits(32),
        is_twice=True,
    )
    report.raise_on_failures()
