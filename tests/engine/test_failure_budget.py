"""Too many failures end the run; what its message advises brings the dataset to its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import batten
from batten.storage.changing import steps
from batten.work import bench, work_sizes


def measure(number: int) -> dict[str, int]:
    """Fails while the cause is not mended."""
    if number % 2 and not Path(os.environ["MENDED"]).exists():
        raise ConnectionError("nobody answers")
    return {"number": number}


def test_a_run_that_failed_too_often_is_mended_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = tmp_path / "mended"
    monkeypatch.setenv("MENDED", str(mended))
    output = tmp_path / "out"
    job = batten.from_range(20).map(measure).options(quarantine_max=2).write_parquet(output)
    with pytest.raises(batten.FailedRunError) as caught:
        job.run(executor="serial")
    assert "quarantine_max is 2. The last: ConnectionError: nobody answers" in caught.value.what
    assert "run the pipeline again with retry_quarantined=True" in caught.value.next

    mended.touch()
    with pytest.raises(batten.FailedRunError):
        job.run(executor="serial")
    retried = job.run(executor="serial", retry_quarantined=True)
    assert retried.status == "complete"
    assert batten.open(output).count_rows() == 20


class Killed(BaseException):
    """Nobody catches it."""


def test_a_retry_that_was_killed_counts_each_failure_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of what it had sealed, which goes with the marker that the next run goes on by."""
    monkeypatch.setenv("MENDED", str(tmp_path / "never"))
    made = batten.from_range(4).map(measure)
    options = made.options(quarantine_max=2, batch_size=4, stop_when=None)
    job = options.write_parquet(tmp_path / "out")
    job.run(executor="serial")

    def kill(moment: str, step: str, name: str) -> None:
        if step in ("publish.link", "replace.rename") and name == "out/part-000000.parquet":
            raise Killed

    monkeypatch.setattr(steps, "observer", kill)
    with pytest.raises(Killed):
        job.run(executor="serial", retry_quarantined=True)
    monkeypatch.setattr(steps, "observer", None)
    report = job.run(executor="serial")
    assert report.status == "complete"
    assert report.accounts is not None
    assert report.accounts.quarantined == 2


class Endless(BaseException):
    """Ends a test that would not end."""


def test_what_is_staged_and_damaged_again_and_again_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call is paid, and its answer is lost with what is staged."""
    monkeypatch.setattr(bench, "CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(work_sizes, "CHUNK_SECONDS", 0.0)
    calls: list[int] = []

    def damage(number: int) -> dict[str, int]:
        calls.append(number)
        if len(calls) > 100:
            raise Endless
        for path in (tmp_path / "out.batten/staged").iterdir():
            path.write_bytes(b"")
        return {"number": number}

    job = batten.from_range(4).map(damage, version="1").options(batch_size=4)
    with pytest.raises(batten.StorageError, match="could not be read"):
        job.write_parquet(tmp_path / "out").run(executor="serial")
    assert len(calls) <= 8
