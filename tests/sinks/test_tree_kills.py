"""A job that puts items into a live tree, killed around its system calls, and again in the rerun;
calls that fail. Whatever is left, the tree holds a beginning of the items, each of them whole."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
from tests.tracing import needs_tracing

import batten
from batten.crashlab.faults import KillBefore
from batten.crashlab.promises import UNHARMED
from batten.crashlab.sweeping import DISK_FAILURES, Experiment, Trail, disturb, sweep
from batten.crashlab.tracing.laboratory import run_traced

pytestmark = needs_tracing

BATTEN = str(Path(sys.executable).with_name("batten"))
EXIT_QUARANTINED = 3
EXIT_ENVIRONMENT = 7
ITEMS = "0134"

JOB = """
    import batten

    def square(number):
        return {"square": number * number}

    def commit(change, number, prepared):
        log = change.read("log").decode() if change.exists("log") else ""
        change.write("log", log + str(number))
        change.write(f"{number}/square", str(prepared["square"]))
        if number == 2:
            raise RuntimeError("not this one")

    pipeline = batten.from_range(5).map(square).write_tree("tree", commit=commit)
"""


def check_always(folder: Path, trail: Trail, *, codes: frozenset[int]) -> None:
    last = trail.last
    assert (last.returncode < 0 and last.fault is not None) or last.returncode in codes, last.stderr
    assert "Traceback" not in last.stderr, last.stderr
    tree = folder / "tree"
    if tree.exists():
        with batten.read_lock(tree):
            log = (tree / "log").read_text() if (tree / "log").exists() else ""
            found = {path.parent.name: path.read_text() for path in tree.glob("*/square")}
        assert ITEMS.startswith(log)
        assert found == {number: str(int(number) ** 2) for number in log}
        assert {path.name for path in tree.iterdir()} <= {"log", *log}
    state = batten.diagnose(tree).state
    assert state in UNHARMED, state


def check_done(folder: Path, trail: Trail) -> None:
    assert (folder / "tree" / "log").read_text() == ITEMS
    diagnosis = batten.diagnose(folder / "tree")
    assert (diagnosis.state, diagnosis.items.quarantined) == ("COMPLETE", 1)


def experiment(*, other_codes: frozenset[int] = frozenset()) -> Experiment:
    done = frozenset({EXIT_QUARANTINED})
    return Experiment(
        prepare=put_job,
        command=lambda folder: [BATTEN, "run", "job.py", "--jobs", "1", "--quiet", "--json"],
        folders=lambda folder: [folder / "tree", folder / "tree.batten"],
        check=check_done,
        check_always=partial(check_always, codes=done | other_codes),
        done_codes=done,
        is_forked=True,
        is_seen_whole=True,
    )


def put_job(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.py").write_text(textwrap.dedent(JOB))


@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash)])
@pytest.mark.parametrize("is_twice", [False, True])
def test_killed_around_any_call(
    sample: int | None, is_twice: bool, tmp_path: Path, seeded: random.Random
) -> None:
    disturb(
        experiment(),
        tmp_path,
        seeded=seeded,
        sample=sample,
        is_twice=is_twice,
        twice_max=150,
    )


@pytest.mark.parametrize(
    ("path", "state"),
    [("*/tree.batten/tree/JOURNAL", "INTERRUPTED"), ("*/tree/3/square", "RECOVERY_PENDING")],
)
def test_diagnose_names_the_job_unless_the_tree_comes_first(
    path: str, state: str, tmp_path: Path
) -> None:
    """What a crash left in staging goes with the next run. A journal is for recover, after which
    there is the job to be run."""
    put_job(tmp_path)
    trial = experiment()
    killed = run_traced(
        trial.command(tmp_path),
        folders=trial.folders(tmp_path),
        fault=KillBefore(1, path=path),
        working_folder=tmp_path,
    )
    assert killed.hit is not None
    assert batten.diagnose(tmp_path / "tree").state == state
    recover = [BATTEN, "recover", "tree", "--json"]
    done = subprocess.run(recover, cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stdout)["state"] == "INTERRUPTED"
    again = subprocess.run(trial.command(tmp_path), cwd=tmp_path, capture_output=True, check=False)
    assert again.returncode == EXIT_QUARANTINED
    check_done(tmp_path, Trail())
    assert not list((tmp_path / "tree.batten" / "tree" / "staging").iterdir())


@pytest.mark.parametrize("sample", [2, pytest.param(None, marks=pytest.mark.crash)])
def test_a_call_fails(sample: int | None, tmp_path: Path, seeded: random.Random) -> None:
    report = sweep(
        experiment(other_codes=frozenset({EXIT_ENVIRONMENT})),
        tmp_path / "sweep",
        faults=DISK_FAILURES,
        sample=sample,
        seed=seeded.getrandbits(32),
    )
    report.raise_on_failures()
