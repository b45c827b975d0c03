"""An item that is in hand whenever the whole run crashes is not tried for ever."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.tracing import needs_tracing

from batten.crashlab.faults import KillBefore
from batten.crashlab.tracing.laboratory import (
    Traced,
    run_traced,
)

pytestmark = needs_tracing

EXIT_QUARANTINED = 3
FATAL = 7
ITEMS = 12

KILLS_THE_MACHINE = f"""
import batten

def work(number):
    if number == {FATAL}:
        open("fatal", "w").close()
    return {{"number": number}}

pipeline = batten.from_range({ITEMS}).map(work).write_parquet("features/").options(batch_size=5)
"""


@pytest.mark.parametrize(("jobs", "way"), [(1, "fork"), (2, "fork"), (2, "spawn")])
def test_in_hand_at_three_crashes_of_the_whole_run(jobs: int, way: str, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(KILLS_THE_MACHINE)
    batten = str(Path(sys.executable).with_name("batten"))

    def run() -> Traced:
        return run_traced(
            [batten, "run", "job.py", "--jobs", str(jobs), "--workers", way, "--quiet", "--json"],
            folders=[tmp_path / "fatal"],
            working_folder=tmp_path,
            fault=KillBefore(1),
        )

    crashes = [run() for _ in range(3)]
    assert [each.returncode for each in crashes] == [-9, -9, -9]
    last = run()
    assert (last.was_triggered, last.returncode) == (False, EXIT_QUARANTINED), last.stderr
    items = json.loads(last.stdout)["items"]
    assert (items["committed"], items["quarantined"]) == (ITEMS - 1, 1)
    (quarantined,) = pq.read_table(tmp_path / "features.batten" / "quarantine").to_pylist()
    assert (quarantined["key"], quarantined["attempts"]) == (str(FATAL), 3)
    assert "in hand at 3 crashes of the whole run" in quarantined["error"]
    numbers = pq.read_table(tmp_path / "features").column("number").to_pylist()
    assert numbers == [number for number in range(ITEMS) if number != FATAL]
    again = run()
    assert (again.returncode, json.loads(again.stdout)["status"]) == (3, "nothing-to-do")


BECOMES_FATAL = """
import batten

def work(item):
    if item["state"] == "fatal":
        open("fatal", "w").close()
    if item["state"] == "bad":
        raise ValueError("bad")
    return {"state": item["state"]}

source = batten.from_jsonl("items.jsonl", key="id", changed="CHANGED")
pipeline = source.map(work).write_parquet("features/").options(batch_size=5)
"""


@pytest.mark.parametrize(
    ("is_changed", "is_mended"),
    [(True, False), (True, True), (False, False)],
    ids=["changed", "changed and mended", "retried"],
)
def test_an_item_of_a_published_batch_that_crashes_the_run(
    is_changed: bool, is_mended: bool, tmp_path: Path
) -> None:
    """Once it was taken up again, it is taken up by every run. When it changes once more, what was
    in hand at the crashes was another."""
    job = BECOMES_FATAL.replace("CHANGED", "content" if is_changed else "ignore")
    (tmp_path / "job.py").write_text(job)
    batten = str(Path(sys.executable).with_name("batten"))

    def write(state: str) -> None:
        states = [state if number == FATAL else "good" for number in range(ITEMS)]
        lines = (json.dumps({"id": n, "state": each}) for n, each in enumerate(states))
        (tmp_path / "items.jsonl").write_text("\n".join(lines) + "\n")

    def run(*options: str) -> Traced:
        return run_traced(
            [batten, "run", "job.py", "--jobs", "1", "--quiet", "--json", *options],
            folders=[tmp_path / "fatal"],
            working_folder=tmp_path,
            fault=KillBefore(1),
        )

    write("good" if is_changed else "bad")
    assert run().returncode == (0 if is_changed else EXIT_QUARANTINED)
    write("fatal")
    first = run() if is_changed else run("--retry-quarantined")
    assert [each.returncode for each in (first, run(), run())] == [-9, -9, -9]
    if is_mended:
        write("mended")
        assert run().returncode == 0
        assert "mended" in pq.read_table(tmp_path / "features").column("state").to_pylist()
        return
    last = run()
    assert (last.was_triggered, last.returncode) == (False, EXIT_QUARANTINED), last.stderr
    (quarantined,) = pq.read_table(tmp_path / "features.batten" / "quarantine").to_pylist()
    assert (quarantined["key"], quarantined["attempts"]) == (str(FATAL), 3)
