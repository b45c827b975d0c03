"""What an earlier run staged is taken over, however much of the work it is."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.faults import KillBefore
from batten.crashlab.sweeping import run_trail
from batten.drive.handing_out import open_batches
from batten.drive.publishing import waiting
from batten.storage.changing import steps

if TYPE_CHECKING:
    from conftest import Subject


@needs_tracing
def test_everything_staged_and_no_schema_pinned(cheap: Subject, tmp_path: Path) -> None:
    fault = KillBefore(1, path="*/features.batten/schema.json")
    outcome = run_trail(cheap.experiment(1), tmp_path / "killed", [fault])
    assert outcome.problem is None, outcome.problem
    assert outcome.trail.runs[0].was_triggered


def test_more_sealed_batches_than_may_be_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_to_publish(moment: str, step: str, name: str) -> None:
        if (moment, step, name) == ("before", "publish.link", "out/part-000000.parquet"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", float("inf"))
    pipeline = batten.from_range(20).map(as_row).write_parquet("out").options(batch_size=2)
    with monkeypatch.context() as failing:
        failing.setattr(steps, "observer", fail_to_publish)
        with pytest.raises(batten.StorageError):
            pipeline.run(executor="serial")

    monkeypatch.setattr(open_batches, "OPEN_BATCHES_MAX", 3)
    report = pipeline.run(executor="serial")
    assert (report.executed_items, report.adopted_items) == (0, 20)
    assert pq.read_table(tmp_path / "out").column("value").to_pylist() == list(range(20))


def test_more_batches_without_rows_than_may_be_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(open_batches, "OPEN_BATCHES_MAX", 3)
    pipeline = batten.from_range(20).flat_map(only_the_last).write_parquet("out")
    report = pipeline.options(batch_size=2).run(executor="serial")
    assert (report.status, report.rows) == ("complete", 1)


def as_row(number: int) -> dict[str, int]:
    return {"value": number}


def only_the_last(number: int) -> list[dict[str, int]]:
    return [as_row(number)] if number == 19 else []
