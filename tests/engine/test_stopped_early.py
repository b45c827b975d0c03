"""A signal that comes while many batches are reopened is heeded at once."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.drive import reopened_batches
from batten.storage.changing import steps

BATCHES = 8


def fail_once(number: int) -> dict[str, Any]:
    if number % 2 and "BATTEN_TEST_MENDED" not in os.environ:
        raise ValueError("not yet")
    return {"number": number}


def job(folder: Path) -> batten.Pipeline:
    made = batten.from_range(2 * BATCHES).map(fail_once, version="1")
    return made.options(batch_size=2, stop_when=None).write_parquet(folder / "out")


@pytest.mark.parametrize(("folder", "together"), [("recompute", 2), ("staged", 1)])
def test_a_signal_while_batches_are_taken_up_again(
    folder: str, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While they are given up, some together, and while their rows are staged again."""
    monkeypatch.setattr(reopened_batches, "GIVEN_UP_BATCHES", 2)
    job(tmp_path).run(executor="serial")
    monkeypatch.setenv("BATTEN_TEST_MENDED", "1")
    taken: set[int] = set()

    def stop(moment: str, step: str, path: str) -> None:
        found = re.search(rf"{folder}/0000(\d\d)", path)
        if found and moment == "after":
            if not taken:
                signal.raise_signal(signal.SIGTERM)
            taken.add(int(found[1]))

    monkeypatch.setattr(steps, "observer", stop)
    with pytest.raises(batten.InterruptedRunError, match="Stopped by SIGTERM"):
        job(tmp_path).run(executor="serial", retry_quarantined=True)
    monkeypatch.setattr(steps, "observer", None)
    assert len(taken) == together
    report = job(tmp_path).run(executor="serial", retry_quarantined=True)
    assert report.rows == 2 * BATCHES
