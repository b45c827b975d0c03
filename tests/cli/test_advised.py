"""Every command that `diagnose` advises, in every state and for every kind of output, is pasted
into a shell in the folder in which it was shown, and does what was promised. The names are odd, and
a job of the same name lies where it is typed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import batten
from batten.model.commands import as_path, quote
from batten.storage.local import LocalStorage
from batten.storage.locks import current_holder

NAME = "-out it's\n\x1b[31m"
JOB = """
import batten
pipeline = batten.from_range(6).map(lambda n: {{"n": n}}).options(batch_size=2).{sink}
"""
DECOY = 'open("the-decoy-ran", "w").close()'
DIES = """
import os
import sys
import batten

with batten.transaction(sys.argv[1]) as tx:
    tx.write("a", "x")
    os._exit(9)
"""
COMMAND = re.compile(r"(cd [^;&]+ && )?(batten|python) [a-z].*")

Make = Callable[[Path, str], None]


def run(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "batten").write_text(f'#!/bin/sh\nexec {sys.executable} -m batten "$@"\n')
    (tools / "batten").chmod(0o755)
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
        timeout=120,
    )


def diagnose(path: str, folder: Path) -> dict[str, Any]:
    ended = run(f"batten diagnose --json {quote(as_path(path))}", folder)
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def control(folder: Path, name: str) -> Path:
    return folder / f"{name}.batten"


def make_orphan(folder: Path, name: str) -> None:
    owner = f"{os.uname().nodename}-99999999-0123456789abcdef"
    (control(folder, name) / "staging" / f"part-000001.parquet.{owner}").write_text("half")


def lose_completion(folder: Path, name: str) -> None:
    (control(folder, name) / "COMPLETE").unlink()


def lose_part(folder: Path, name: str) -> None:
    found = sorted(path for path in folder.rglob("part-000001.parquet"))
    found[0].unlink()


def damage_part(folder: Path, name: str) -> None:
    found = sorted(path for path in folder.rglob("part-000001.parquet"))
    found[0].write_bytes(b"damaged")


def nothing(folder: Path, name: str) -> None:
    pass


SINKS = {"folder": f".write_parquet({NAME!r})", "file": f".write_csv({NAME!r})"}
CASES: list[tuple[str, Make, str, str]] = [
    # kind, what is done to it, the state, the state after what was advised
    *((kind, nothing, "COMPLETE", "COMPLETE") for kind in SINKS),
    *((kind, make_orphan, "COMPLETE_WITH_ORPHANS", "COMPLETE") for kind in SINKS),
    *((kind, lose_completion, "INTERRUPTED", "COMPLETE") for kind in SINKS),
    *((kind, lose_part, "INCONSISTENT", "INTERRUPTED") for kind in SINKS),
    *((kind, damage_part, "CORRUPT", "INTERRUPTED") for kind in SINKS),
]


@pytest.fixture(params=["beside", "elsewhere"])
def typed_in(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where the commands are typed: in the folder of the output, or in one that has a job of the
    same name."""
    made, other = tmp_path / "made", tmp_path / "elsewhere"
    for folder in (made, other):
        folder.mkdir()
    (other / "job.py").write_text(DECOY)
    return made if request.param == "beside" else other


@pytest.mark.parametrize(("kind", "change", "state", "after"), CASES)
def test_outputs_of_jobs(
    tmp_path: Path, typed_in: Path, kind: str, change: Make, state: str, after: str
) -> None:
    folder = tmp_path / "made"
    (folder / "job.py").write_text(JOB.format(sink=SINKS[kind][1:]))
    ended = run("batten run job.py --quiet --jobs 1", folder)
    assert ended.returncode == 0, ended.stderr
    change(folder, NAME)
    path = os.path.relpath(folder / NAME, typed_in)
    told = diagnose(path, typed_in)
    assert told["state"] == state, told
    line = told["next"]
    assert line.isprintable()
    assert COMMAND.fullmatch(line), line
    done = run(line, typed_in)
    assert done.returncode == 0, (line, done.stderr)
    assert diagnose(path, typed_in)["state"] == after
    if after == "INTERRUPTED":
        # What was lost is computed again by the command that is advised then.
        assert run(diagnose(path, typed_in)["next"], typed_in).returncode == 0
        assert diagnose(path, typed_in)["state"] == "COMPLETE"
    assert list(tmp_path.rglob("the-decoy-ran")) == []


def test_a_run_at_work(tmp_path: Path, typed_in: Path) -> None:
    folder = tmp_path / "made"
    (folder / "job.py").write_text(JOB.format(sink=SINKS["folder"][1:]))
    assert run("batten run job.py --quiet --jobs 1", folder).returncode == 0
    path = os.path.relpath(folder / NAME, typed_in)
    with LocalStorage(folder).lock(f"{NAME}.batten/lock", current_holder()):
        told = diagnose(path, typed_in)
    assert told["state"] == "RUNNING"
    words, _, line = told["next"].partition(": ")
    assert words == "when it has ended"
    assert run(line, typed_in).stdout.startswith("COMPLETE")


def test_a_tree(tmp_path: Path, typed_in: Path) -> None:
    """A change that was cut off, and what one that died left."""
    tree = tmp_path / "made" / NAME
    tree.mkdir()
    (tmp_path / "change.py").write_text(DIES)
    run(f"{sys.executable} change.py {quote(str(tree))}", tmp_path)
    path = os.path.relpath(tree, typed_in)
    told = diagnose(path, typed_in)
    assert told["state"] == "COMPLETE_WITH_ORPHANS", told
    assert run(told["next"], typed_in).returncode == 0
    assert diagnose(path, typed_in)["state"] == "COMPLETE"


def test_a_cache(tmp_path: Path, typed_in: Path) -> None:
    place = tmp_path / "made" / NAME
    with batten.Cache(place).get_or_create(1, lambda folder: (folder / "a").write_text("x")):
        pass
    path = os.path.relpath(place, typed_in)
    told = diagnose(path, typed_in)
    shown = run(told["next"], typed_in).stdout.split("\n")[1]
    assert shown.split()[:2] == ["entries", "1,"]
    next(place.rglob("files/a")).write_text("y2")
    found = run(f"batten cache verify {quote(as_path(path))}", typed_in)
    line = found.stdout.rstrip("\n").rpartition("next: ")[2]
    assert run(line, typed_in).returncode == 0
    assert run(f"batten cache verify {quote(as_path(path))}", typed_in).returncode == 0
