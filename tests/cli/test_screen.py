"""A diagnosis fits a terminal of 24 rows and 80 columns, in every state, whatever names are."""

from __future__ import annotations

import os
import pty
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest
from tests.terminals import read_rest

import batten
from batten.cli.looking.screen import count_rows, fit, fit_watch
from batten.cli.main import main
from batten.cli.text.diagnosis_text import list_lines
from batten.inspect.advising.refused import Choice, Refused
from batten.inspect.diagnosis import Contents, Diagnosis, NextRun, Orphan
from batten.model.disk.destinations.delivery import Delivery
from batten.model.disk.runs.holders import Holder
from batten.model.rules.accounting import Accounts
from batten.model.rules.findings import Code, Finding
from batten.model.rules.states import VERDICTS
from batten.model.words import State
from batten.sources.inputs import Input

LONG = "/srv/" + "/".join(["a folder with a long name"] * 8) + "/out"
ODD = "out\x1b[31m\u202e" + "漢字" * 40 + "\n" * 10
COMMAND = f"cd '{LONG}' && batten run job.py --jobs 8 --memory-max 2GB --param run_date=2026-04-24"


def make_full(state: State, path: str) -> Diagnosis:
    """One in which everything is told that can be."""
    counts = dict.fromkeys(
        ("source", "committed", "filtered", "quarantined", "duplicate", "staged", "pending"), 10**9
    )
    finding = Finding(code=Code.LOST_PART, path=f"{path}/part", evidence=f"{path} says so")
    delivery = Delivery(
        kind="sqlite",
        target=f"table t of {path}",
        batches=1,
        rows=1,
        content="",
        size=0,
        digest="",
        replaces="",
        run="r",
        time="t",
    )
    verdict = VERDICTS[state]
    return Diagnosis(
        state=state,
        path=path,
        action=verdict.action,
        exit_code=verdict.exit_code,
        next=COMMAND,
        risky=f"deleting {path}.batten: 713 finished items would be computed again",
        reason=f"{path}/part-000001.parquet: it is gone, and {path}.batten says that it was there",
        orphans=tuple(Orphan(path=path, bytes=1, age_seconds=1, owner="h-1") for _ in range(9)),
        holder=Holder(pid=1, host=path, since="2026-11-21T08:00:00Z", boot="b"),
        hints=tuple(f"{number}: {path}" for number in range(9)),
        missing=(path,),
        findings=(finding,) * 20,
        parameters={f"name{number}": path for number in range(5)},
        contents=Contents(
            items=Accounts(**counts),
            parts=10**5,
            rows=10**12,
            destinations=(delivery,) * 4,
        ),
        next_run=NextRun(
            inputs=(Input(path=path, bytes=1, problem=path),) * 9,
            refused=Refused(
                told="t", undo="undo the change", choices=(Choice(next=COMMAND, does="x"),)
            ),
        ),
        readers=f"what is in {path}",
    )


@pytest.mark.parametrize("path", ["out", LONG, ODD], ids=["short", "long", "odd"])
@pytest.mark.parametrize("state", State)
def test_every_state_fits(state: State, path: str) -> None:
    lines = fit(list_lines(make_full(state, path)), 80, 24)
    assert sum(count_rows(line, 80) for line in lines) <= 22
    labels = [line[2:10].strip() for line in lines[1:]]
    assert lines[0].startswith(state.value)
    assert [each for each in labels if each][:4] == ["why", "do", "next", "risky"]
    assert f"  next     {COMMAND}" in lines
    assert lines[-1].endswith("--json has them all")
    assert all(line.isprintable() for line in lines)


def test_nothing_is_left_out_where_there_is_room() -> None:
    lines = list(list_lines(make_full(State.INTERRUPTED, "out")))
    assert fit(lines, 200, 200) == lines


def test_in_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "漢字 it's\x1b[31m " + "long " * 8
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").write_text(
        "import batten\nmade = batten.from_range(6).map(lambda n: {'n': n})\n"
        f"pipeline = made.options(batch_size=2).write_parquet({name!r})\n"
    )
    assert main(["run", "job.py", "--quiet", "--jobs", "1"]) == 0
    (tmp_path / f"{name}.batten" / "COMPLETE").unlink()
    assert batten.diagnose(name).state == "INTERRUPTED"
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    ended = subprocess.run(
        [sys.executable, "-m", "batten", "diagnose", name],
        stdin=follower,
        stdout=follower,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(follower)
    told = read_rest(leader)
    assert ended.returncode == 10, ended.stderr
    lines = told.decode().replace("\r\n", "\n").splitlines()
    assert lines[0].startswith("INTERRUPTED")
    assert sum(count_rows(line, 80) for line in lines) <= 22
    assert "  next     batten run job.py --jobs 1" in lines


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_watch_tells_the_accounts_whole(columns: int) -> None:
    """What is quarantined was cut out of their middle."""
    counts = ("source", "committed", "filtered", "quarantined", "duplicate", "staged", "pending")
    told = Accounts(**dict.fromkeys(counts, 10**9)).show()
    lines = fit_watch([f"RUNNING  {LONG}", f"  items    {told}", f"  failed   {LONG}"], columns, 24)
    assert max(map(len, lines)) < columns
    items = lines[1:-1]
    assert " ".join(line.strip() for line in items) == f"items    {told}"
    assert fit_watch(lines, columns, 4) == lines[:2]
