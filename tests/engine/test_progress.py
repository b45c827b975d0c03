"""How far a run is said to be, from its first item to its last."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

import batten
from batten.display.rate import finished_share
from batten.drive import showing
from batten.drive.publishing import waiting
from batten.run.progress import Status


class Seen:
    def __init__(self) -> None:
        self.statuses: list[Status] = []

    def show(self, status: Status) -> None:
        self.statuses.append(status)

    def note(self, text: str) -> None:
        """Not looked at."""

    def close(self) -> None:
        """Nothing to close."""


def test_it_goes_from_nothing_to_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "SHOW_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", 0.0)
    seen = Seen()
    pipeline = batten.from_range(40).map(lambda n: {"n": n}).options(batch_size=4)
    pipeline.write_parquet(tmp_path / "out").run(executor="serial", progress=seen)
    finished = [status.committed + status.staged for status in seen.statuses]
    assert finished == sorted(finished)
    assert len(set(finished)) >= 8
    assert {status.source for status in seen.statuses} == {40}
    assert finished[-1] == 40
    assert seen.statuses[-1].executed == 40
    shares = [finished_share(status) for status in seen.statuses]
    assert shares == [number / 40 for number in finished]


def test_what_was_there_before_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "SHOW_SECONDS", 0.0)
    pipeline = batten.from_range(40).map(lambda n: {"n": n}).options(batch_size=4)
    pipeline = pipeline.write_parquet(tmp_path / "out")
    pipeline.run(executor="serial", limit=20)
    seen = Seen()
    pipeline.run(executor="serial", progress=seen)
    assert seen.statuses[0].committed >= 20
    assert seen.statuses[-1].executed == 20


def fail_at_first(number: int) -> dict[str, int]:
    if number % 4 == 0 and "BATTEN_TEST_MENDED" not in os.environ:
        raise ValueError("not yet")
    return {"n": number}


def test_what_is_taken_up_again_is_not_finished_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing, "SHOW_SECONDS", 0.0)
    monkeypatch.setattr(waiting, "PUBLISH_SECONDS", 0.0)
    pipeline = batten.from_range(40).map(fail_at_first).options(batch_size=4, stop_when=None)
    pipeline = pipeline.write_parquet(tmp_path / "out")
    pipeline.run(executor="serial")
    monkeypatch.setenv("BATTEN_TEST_MENDED", "1")
    seen = Seen()
    pipeline.run(executor="serial", retry_quarantined=True, progress=seen)
    finished = [status.finished for status in seen.statuses]
    assert finished == sorted(finished)
    assert finished[-1] == 40


@pytest.mark.parametrize(
    ("source", "committed", "staged", "share"),
    [(0, 0, 0, 1.0), (10, 0, 0, 0.0), (10, 3, 2, 0.5), (10, 10, 0, 1.0), (4, 1, 0, 0.25)],
)
def test_the_share(source: int, committed: int, staged: int, share: float) -> None:
    status = Status(
        source=source,
        committed=committed,
        staged=staged,
        quarantined=0,
        executed=0,
        adopted=0,
        seconds=1.0,
    )
    assert finished_share(status) == share


def test_a_run_that_stops_says_so(tmp_path: Path) -> None:
    """The item in hand waits for a look that has seen it, so it is in hand when the run stops."""
    stopping = threading.Event()
    seen: list[Status] = []

    def work(number: int) -> dict[str, int]:
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stopping.wait(60)
        return {"n": number}

    def look(status: Status) -> None:
        seen.append(status)
        if status.is_stopping:
            stopping.set()

    pipeline = batten.from_range(40).map(work).options(batch_size=4).write_parquet(tmp_path / "out")
    with pytest.raises(batten.InterruptedRunError):
        pipeline.run(executor="threads", jobs=1, drain_seconds=60, progress=look)
    assert [each.is_stopping for each in seen][-1:] == [True]
    assert seen[-1].waits[0].startswith("stopping: ")
