"""The requests in batches that fuzzing begins with are what batten reads as such."""

from __future__ import annotations

import random
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.crashlab.fuzzing.jobs import lay_job
from batten.crashlab.fuzzing.submitted import add_answered, add_pending
from batten.crashlab.odd.records import Folder, mutate_record
from batten.crashlab.odd.values import change_bytes
from batten.jobs.loading.job_file import load_job
from batten.pipeline.pipeline import Pipeline


@pytest.fixture
def begun(job: Any) -> Any:
    """A job of which nothing could be handed in."""
    lay_job(job.path)
    assert job.run(job="job.py:submitted").code
    return job


def lay(folder: Path, added: Folder) -> None:
    for name, node in added.items():
        assert isinstance(node, bytes)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(node)


def test_answered_ones_are_taken_without_the_vendor(begun: Any) -> None:
    lay(begun.path, add_answered({}))
    assert begun.run(job="job.py:submitted").code == 3
    assert [row["key"] for row in begun.rows()] == ["0", "1", "2", "4", "5", "6", "7"]
    assert [row["said"] for row in begun.rows()] == ["yes"] * 7
    assert list(begun.quarantined()) == ["3"]


def test_diagnose_says_of_pending_ones_what_is_known(begun: Any) -> None:
    for path in (begun.path / "out.batten" / "submissions").iterdir():
        path.unlink()
    lay(begun.path, add_pending({}))
    told = " ".join(begun.batten("diagnose", "out").out.split())
    assert "3 requests for http://127.0.0.1:9/v1, since b: no batch was asked for yet" in told
    assert "may have 3 requests in batches, since b: asked for, and not seen yet" in told
    assert "has 2 requests in batches, since b: in_progress" in told


CHANGED = 20
"""Of each kind, in `make test`."""


@pytest.mark.parametrize("lay_more", [add_answered, add_pending])
def test_a_run_that_goes_on_from_a_changed_record(
    lay_more: Any,
    begun: Any,
    monkeypatch: pytest.MonkeyPatch,
    seeded: random.Random,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """It refuses, or asks where nobody listens, or makes the very rows; nothing else is raised."""
    monkeypatch.chdir(begun.path)
    submissions = begun.path / "out.batten" / "submissions"
    for path in submissions.iterdir():
        path.unlink()
    kept = tmp_path_factory.mktemp("begun") / "job"
    shutil.copytree(begun.path, kept)
    given = lay_more({})
    records = sorted(name for name in given if name.endswith(".json"))
    ended: set[str] = set()
    for _ in range(CHANGED):
        changed, name = dict(given), seeded.choice(records)
        if seeded.random() < 0.8:
            mutate_record(changed, name, seeded, b"")
        else:
            changed[name] = change_bytes(given[name], seeded)
        shutil.rmtree(begun.path)
        shutil.copytree(kept, begun.path)
        monkeypatch.chdir(begun.path)
        lay(begun.path, changed)
        ended.add(go_on(changed[name]))
    assert len(ended) > 1, "each record was refused alike"


def go_on(record: bytes) -> str:
    job = load_job("job.py:submitted", {}, Pipeline)
    refused: list[batten.BattenError] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", batten.QuarantinedWarning)
            job.pipeline.run(executor="serial", progress=False)
    except batten.BattenError as error:
        refused.append(error)
    for each in refused:
        assert "was not understood" not in each.what, (record, each)
        return type(each).__name__
    rows = batten.open("out").to_arrow()
    assert rows.column("key").to_pylist() == ["0", "1", "2", "4", "5", "6", "7"], record
    assert rows.column("said").to_pylist() == ["yes"] * 7, record
    return "complete"
