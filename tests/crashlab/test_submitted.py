"""The requests in batches that fuzzing begins with are what batten reads as such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batten.crashlab.fuzzing.jobs import lay_job
from batten.crashlab.fuzzing.submitted import add_answered, add_pending
from batten.crashlab.odd.records import Folder


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
