"""Two runs of one output at once: one works, the other says that it is busy, nothing is doubled."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

Start = Callable[..., subprocess.Popen[str]]

EXIT_BUSY = 6
PATIENCE_SECONDS = 60.0

WAITS_FOR_THE_TEST = """
import os
import batten

def wait(number):
    calls = os.open("calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(calls, b"%d\\n" % number)
    os.close(calls)
    if number == 0:
        open("go").close()  # a pipe, which opens when the test opens it as well
    return {"number": number}

pipeline = batten.from_range(10).map(wait).write_parquet("features/").options(batch_size=3)
"""


def test_one_of_two_is_busy(start: Start, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(WAITS_FOR_THE_TEST)
    os.mkfifo(tmp_path / "go")
    command = ("run", "job.py", "--jobs", "2", "--quiet", "--json")
    runs = [start(tmp_path, *command), start(tmp_path, *command)]
    busy = wait_for_first(runs)
    (working,) = (run for run in runs if run is not busy)
    told, errors = busy.communicate(timeout=PATIENCE_SECONDS)
    assert (busy.returncode, json.loads(told)["status"]) == (EXIT_BUSY, "busy")
    assert len(errors.splitlines()) == 3
    assert errors.startswith(f"'features' is in use by process {working.pid} ")

    late = start(tmp_path, *command)
    assert late.wait(PATIENCE_SECONDS) == EXIT_BUSY
    diagnosis = start(tmp_path, "diagnose", "features", "--json")
    told, _ = diagnosis.communicate(timeout=PATIENCE_SECONDS)
    assert (diagnosis.returncode, json.loads(told)["state"]) == (0, "RUNNING")
    assert json.loads(told)["holder"]["pid"] == working.pid

    (tmp_path / "go").open("w").close()
    told, errors = working.communicate(timeout=PATIENCE_SECONDS)
    assert (working.returncode, json.loads(told)["executed_items"]) == (0, 10), errors
    calls = (tmp_path / "calls").read_text().split()
    assert sorted(map(int, calls)) == list(range(10))
    assert pq.read_table(tmp_path / "features").column("number").to_pylist() == list(range(10))


def wait_for_first(runs: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """The one that ends first."""
    poll = select.poll()
    by_handle = {os.pidfd_open(run.pid): run for run in runs}
    for handle in by_handle:
        poll.register(handle, select.POLLIN)
    ended = poll.poll(1000 * PATIENCE_SECONDS)
    for handle in by_handle:
        os.close(handle)
    return by_handle[ended[0][0]]
